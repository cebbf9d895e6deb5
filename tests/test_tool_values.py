"""Names that the Messages API takes, whole numbers as JSON Schema has them, and what a tool may return."""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import TypedDict

from pytest_rltask import DefinitionError, Episode, Grade, tool
from pytest_rltask.tools import InvalidCall, check_tools, tools_of
from tests.support.workbench import Bench, play_bench


class Point(TypedDict):
    x: int
    y: float


class Kit:
    @tool
    def count(
        self,
        n: int = 0,
        some: list[int] | None = None,
        pair: tuple[int, float] = (0, 0.0),
        at: Point | None = None,
        by_name: dict[str, int] | None = None,
        either: int | float = 0,
    ) -> Any:
        """Count."""
        return {"n": n, "some": some, "pair": pair, "at": at, "by_name": by_name, "either": either}


COUNT = tools_of(Kit())["count"]


@pytest.mark.parametrize(
    "given",
    [
        {"n": 10.0},
        {"some": [1.0, 2]},
        {"pair": [1.0, 2.5]},
        {"at": {"x": 3.0, "y": 3.0}},
        {"by_name": {"a": 4.0}},
        {"either": 5.0},
    ],
)
def test_a_whole_number_may_be_written_as_any_number(given: dict[str, Any]) -> None:
    (name,) = given
    value = COUNT.bind(given)()[name]
    assert value == given[name] or list(value) == given[name]
    assert "10.0" not in json.dumps(value)


@pytest.mark.parametrize("given", [{"n": 10.5}, {"n": "10"}, {"n": True}, {"some": [1.5]}, {"at": {"x": 0.5, "y": 1}}])
def test_what_is_no_whole_number_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidCall, match="Input should be a valid integer"):
        COUNT.bind(given)


@given(st.integers(-(2**53), 2**53))
def test_whole_numbers_arrive_as_such(number: int) -> None:
    value = COUNT.bind({"n": float(number)})()["n"]
    assert (value, type(value)) == (number, int)


@pytest.mark.parametrize("name", ["größe", "a" * 129])
def test_a_name_that_the_api_refuses_is_a_definition_error(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def {name}(self, n: int) -> str:\n    'Do it.'\n", namespace)
    with pytest.raises(DefinitionError, match="the Messages API takes no such name; write a name of ASCII letters"):
        tool(namespace[name])


@pytest.mark.parametrize("name", ["größe", "a" * 65])
def test_a_parameter_that_the_api_refuses_is_a_definition_error(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def do(self, {name}: int) -> str:\n    'Do it.'\n", namespace)
    with pytest.raises(DefinitionError, match=f"the Messages API takes no parameter '{name}'"):
        tool(namespace["do"])


def test_a_key_that_the_api_refuses_is_found_at_any_depth() -> None:
    class Deep:
        @tool
        def place(self, at: list[Sized]) -> str:
            """Place it."""
            return ""

    with pytest.raises(DefinitionError, match="takes no key 'größe' in what a tool takes"):
        check_tools(Deep)


class Sized(TypedDict):
    größe: int


@pytest.mark.parametrize("hook", ["finish", "close", "observe", "remind", "nudge", "grade", "done", "prompt", "info"])
def test_a_tool_that_would_replace_a_hook_is_a_definition_error(hook: str) -> None:
    def method(self: Any) -> str:
        """Do it."""
        return ""

    method.__name__ = hook
    body = {"prompt": property(lambda self: "Work."), "grade": lambda self: Grade(1.0), hook: tool(method)}
    said = (
        f"the tool Hooked.{hook} would replace the episode's own {hook}, "
        ".*all are free but artifacts, ask, ask_sync, close, done, finish, grade,"
    )
    with pytest.raises(DefinitionError, match=said):
        type("Hooked", (Episode,), body)


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Result:
    loss: float
    at: Path


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ({"a": 1}, '{"a": 1}'),
        (float("nan"), "null"),
        ([1.0, float("inf"), -float("inf")], "[1.0, null, null]"),
        ({"loss": {"val": float("nan")}}, '{"loss": {"val": null}}'),
        (np.array([1.5, np.nan]), "[1.5, null]"),
        (np.float32(2), "2.0"),
        ({"n": np.int64(3)}, '{"n": 3}'),
        ({3, 1, 2}, "[1, 2, 3]"),
        (frozenset("ba"), '["a", "b"]'),
        (Result(float("nan"), Path("a/b")), '{"loss": null, "at": "a/b"}'),
        (Colour.RED, '"red"'),
        (datetime.date(2026, 1, 2), '"2026-01-02"'),
        (decimal.Decimal("0.10"), '"0.10"'),
    ],
)
def test_what_a_tool_returns_reaches_the_model_as_json(value: Any, text: str) -> None:
    record = play_bench(Bench({"work": lambda: value}))
    (result,) = [block for block in record.messages[2]["content"] if block["type"] == "tool_result"]
    assert result["content"] == text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (object(), "it returned object, which is neither a string nor what JSON can hold"),
        (b"bytes", "it returned bytes, .*; write .decode\\(\\) behind it"),
        ({"a": [object()]}, "it returned object"),
        ({(1, 2): 3}, "keys must be str"),
    ],
)
def test_what_json_cannot_hold_is_a_fault_of_the_task(value: Any, said: str) -> None:
    record = play_bench(Bench({"work": lambda: value}))
    assert (record.outcome, record.label) == ("errored", "task fault")
    assert record.fault is not None
    assert re.search(f"tool work: TypeError: .*{said}", record.fault.message)


@pytest.mark.parametrize(("what", "value"), [("prompt", None), ("prompt", 5), ("remind", 5), ("nudge", ["go on"])])
def test_a_text_that_is_none_is_named(what: str, value: object) -> None:
    record = play_bench(Bench({what: lambda: value}))
    assert record.fault is not None
    name = what if what == "prompt" else f"{what}()"
    assert f"{name} is {value!r}; it must be a string" in record.fault.message
