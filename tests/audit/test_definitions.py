"""What is written wrongly is told at collection: where it stands, what is wrong, and the line to write."""

from __future__ import annotations

import sys
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_rltask.audit.definitions import check_definition, doubts
from pytest_rltask.audit.returned import unholdable
from pytest_rltask.task import Episode, Task
from pytest_rltask.tools import DefinitionError, check_tools
from tests.conftest import Suite
from tests.plugin.test_usage_errors import assert_usage_error

HEAD = """
from __future__ import annotations
import math
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar
from pytest_rltask import Band, Episode, Grade, Task, call, tool
if TYPE_CHECKING:
    from elsewhere import Frame
class Plain: ...

class E(Episode):
    {prompt}
    {tools}
    {grade}

@dataclass(frozen=True)
class T(Task):
    {fields}
    {opens}
"""
PROMPT = "prompt = 'Work.'"
GRADE = "def grade(self) -> Grade: return Grade(1.0)"
OPENS = "def open(self, seed: int) -> E: return E()"
TOOL = '@tool\n    def look(self, path: str = "") -> {}:\n        "Look."'
HIDDEN = "@{}\n    @tool\n    def look({}) -> str:\n        'Look.'"
TAKES = '''@tool
    def look({}) -> str:
        """Look.

        Args:
            {}
        """'''


def check(tmp_path: Path, **parts: str) -> None:
    """Look at a module of one task and its episode, of which some parts are given."""
    usual = {"prompt": PROMPT, "tools": "", "grade": GRADE, "fields": "", "opens": OPENS}
    path = tmp_path / "written.py"
    path.write_text(HEAD.format(**usual | parts))
    module = types.ModuleType("written")
    module.__file__ = str(path)
    sys.modules["written"] = module
    try:
        exec(compile(path.read_text(), str(path), "exec"), vars(module))
        check_definition(module.T(), [module.E])
        check_tools(module.E)
    finally:
        del sys.modules["written"]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        # Grades
        ({"grade": "def grade(self) -> float: return 1.0"}, "E.grade returns float, not a Grade; write `-> Grade`"),
        ({"grade": "def grade(self) -> None: pass"}, "E.grade returns None, not a Grade"),
        ({"grade": "def grade(self) -> type[Grade]: return Grade"}, "E.grade returns type, not a Grade"),
        ({"grade": "def grade(self): return Grade"}, "E.grade returns the class Grade itself, not a Grade; write"),
        ({"grade": "def grade(self): return 0.5"}, "E.grade returns 0.5, not a Grade"),
        ({"grade": "def grade(self): return self.a == 3"}, "E.grade returns whether something holds"),
        ({"grade": "def grade(self): return (1.0, True)"}, "E.grade returns a tuple"),
        ({"grade": "def grade(self): return"}, "E.grade returns None"),
        ({"grade": "def grade(self): Grade(1.0)"}, "E.grade returns nothing; write `return Grade(score="),
        ({"grade": "def grade(self): return Grade()"}, "E.grade: Grade needs a score"),
        ({"grade": "def grade(self): return Grade(True)"}, "score=True is no number; write Grade(score=1.0, passed"),
        ({"grade": "def grade(self): return Grade('0.5')"}, "score='0.5' is no number"),
        ({"grade": "def grade(self): return Grade(None)"}, "score=None is no number"),
        ({"grade": "def grade(self): return Grade(1, threshold='x')"}, "threshold='x' is no number; write"),
        ({"grade": "def grade(self): return Grade(1, threshold=True)"}, "threshold=True is no number"),
        ({"grade": "def grade(self): return Grade(1, treshold=1)"}, "Grade has no 'treshold': it has score, threshold"),
        ({"grade": "def grade(self): return Grade(1, passed='yes')"}, "passed='yes' is neither True nor False"),
        ({"grade": "def grade(self): yield Grade(1)"}, "E.grade yields, and so returns nothing; write `def"),
        ({"grade": "async def grade(self): return 0.5"}, "E.grade returns 0.5, not a Grade"),
        ({"tools": "async def close(self): pass"}, "E.close is a coroutine, which nobody awaits"),
        ({"grade": "def grade(self, seed): return Grade(1)"}, "E.grade is called without arguments, and cannot be"),
        # The episode's own
        ({"prompt": "prompt = 3"}, "E.prompt is int, not a string; write `def prompt(self) -> str:` below @property"),
        ({"prompt": "@property\n    def prompt(self) -> bytes: return b''"}, "E.prompt is bytes, not a string"),
        ({"tools": "system = None"}, "E.system is None, not a string"),
        ({"tools": "def observe(self): pass"}, "E.observe is called with reply, and cannot be; write `def"),
        ({"tools": "async def remind(self): return ''"}, "E.remind is a coroutine"),
        # Tools
        ({"tools": TOOL.format("bytes")}, "tool E.look returns bytes, which JSON cannot hold; write -> str,"),
        ({"tools": TOOL.format("list[Plain]")}, "tool E.look returns Plain, which JSON cannot hold; write -> str or"),
        ({"tools": TOOL.format("str") + "\n        yield"}, "tool E.look yields, so that it returns no result"),
        ({"tools": HIDDEN.format("property", "self")}, "the tool E.look is a property"),
        ({"tools": HIDDEN.format("staticmethod", "")}, "the tool E.look is a staticmethod"),
        ({"tools": TAKES.format("number: int", "number: It.")}, "look does not take the episode; write `def look(self"),
        ({"tools": TOOL.format("str") + "\n    " + TOOL.format("str")}, "E has a tool look already, in line 15, which"),
        (
            {"tools": TAKES.format("self, frame: Frame", "frame: It.")},
            "look: the type of 'frame' says nothing: name 'Frame' is not defined; type hints must name",
        ),
        ({"tools": TAKES.format("self, n: 'in t'", "n: It.")}, "the type of 'n' says nothing: that is no"),
        (
            {"tools": TAKES.format("self, n: int", "m: It.")},
            "its docstring describes 'm', which is no parameter: it has n; write",
        ),
        (
            {"tools": TAKES.format("self, n: int", "It.")},
            "its docstring cannot be read: Expected a colon in 'It.'",
        ),
        # The task
        ({"opens": "def open(self) -> E: return E()"}, "T.open is called with seed, and cannot be; write `def"),
        ({"opens": "async def open(self, seed) -> E: return E()"}, "T.open is a coroutine"),
        ({"opens": "def open(self, seed) -> Grade: return E()"}, "T.open returns Grade, which is no Episode"),
        ({"fields": "band = (0.1, 0.4)"}, "T.band is (0.1, 0.4); write `band: ClassVar = Band(0.10, 0.40)`"),
        ({"fields": "def name(self): return 'x'"}, "T.name is no string; write @property"),
        ({"fields": "policies = [1]"}, "T.policies is [1], not policies by name"),
        ({"fields": "policies = {'null': (call('x') for _ in ())}"}, "the policy 'null' of T is called already"),
        ({"fields": "policies = {'null': lambda: (yield)}"}, "the policy 'null' of T must take the view alone"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place_and_what_to_write(tmp_path: Path, parts: dict[str, str], said: str):
    with pytest.raises(DefinitionError) as error:
        check(tmp_path, **parts)

    text = str(error.value)
    assert said in text
    assert text.startswith(f"{tmp_path}/written.py:")


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"grade": "def grade(self):\n        if self.a: raise ValueError\n        return self._graded()"},
        {"grade": "def grade(self):\n        def inner(): return 3\n        return Grade(float('nan'), **{})"},
        {"grade": "def grade(self): return Grade(self.a == 3, threshold=1)"},
        {"grade": "async def grade(self) -> Grade: return Grade(await self.ask('judge'))"},
        {"grade": "def grade(self) -> Awaitable[Grade]: return self._graded()"},
        {"tools": "async def nudge(self): return await self.ask('judge')"},
        {"tools": TOOL.format("Frame")},
        {"tools": TOOL.format("None")},
        {"tools": TOOL.format("str").replace("def", "async def")},
        {"tools": "def close(self, now=False): pass"},
        {"fields": "limit: ClassVar[int] = 3"},
        {"fields": "band = Band(0.2, 0.3)\n    policies = {'null': print}"},
    ],
)
def test_what_may_be_right_is_left_alone(tmp_path: Path, parts: dict[str, str]):
    check(tmp_path, **parts)


class Opens(Task, abstract=True):
    def open(self, seed: int) -> Episode:
        raise NotImplementedError


def test_fields_of_a_class_that_is_no_dataclass_are_told():
    class Forgotten(Opens):
        bugs: int = 3

    with pytest.raises(
        DefinitionError, match=r"task Forgotten has the field bugs but is no dataclass, .*; write @dataclass"
    ):
        check_definition(Forgotten(), [])


@dataclass(frozen=True)
class Held(Opens):
    value: object


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1], "the field value of task Held is a list, which one trial may change for all others; write a tuple"),
        ({1}, "write a frozenset"),
        ({"a": 1}, "is a dict"),
        (lambda: None, "task Held cannot be pickled"),
    ],
)
def test_what_a_field_should_not_hold_is_doubted(value: object, said: str):
    assert said in " ".join(doubts(Held(value)))


def test_a_field_of_plain_values_is_not():
    assert list(doubts(Held((1, "a", frozenset({2}), None)))) == []


@dataclass
class Node:
    children: list[Node]
    name: str


class Shape(typing.Protocol): ...


@pytest.mark.parametrize(
    "hint",
    [str, None, dict[str, object], list[Node], typing.Any, object, Node, tuple[int, ...], set[str], Path, Shape,
     typing.Literal["a", 3], str | None, typing.Annotated[int, "n"], dict[int, float], typing.TypeVar("T")],
)  # fmt: skip
def test_what_json_can_hold_is_returned_by_whom_it_pleases(hint: object):
    assert unholdable(hint) == ""


@pytest.mark.parametrize(
    ("hint", "said"),
    [
        (bytes, "bytes, which"),
        (str | bytes, "bytes, which"),
        (dict[str, list[complex]], "complex, which"),
        (dict[tuple[int, int], str], "a dict whose keys are tuple"),
        (Iterator[str], "Iterator, which"),
        (type, "type, which"),
        (Suite, "Suite, which"),
    ],
)
def test_what_json_cannot_hold_is_named(hint: object, said: str):
    assert unholdable(hint).startswith(said)


def test_collection_tells_it_as_a_usage_error(suite: Suite):
    tasks = (suite.pytester.path / "tasks.py").read_text()
    suite.write(
        tasks=tasks.replace("number: The sum.", "sum: The sum.").replace(
            "def open(self, seed)", "def open(self, seed) -> SumEpisode"
        )
    )

    result = suite.run("--collect-only")

    assert_usage_error(
        result, "tasks.py:14: tool SumEpisode.submit: its docstring describes 'sum'", "write `number: ...`"
    )
