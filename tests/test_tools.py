"""Tools: what the model is told of them, which calls are let through, and what is wrong with a definition."""

from __future__ import annotations

import contextlib
import enum
import json
from typing import Annotated, Any, Literal, Optional

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from pytest_rltask import DefinitionError, call, tool
from pytest_rltask.tools import InvalidCall, Tool, tools_of


class Point(TypedDict):
    x: float
    y: float


class Colour(enum.Enum):
    RED = "red"


class Shape(BaseModel):
    """A model as a type hint."""

    points: list[Point]
    colour: Colour = Colour.RED


class Kit:
    """Tools with every kind of parameter."""

    @tool
    def train(
        self,
        path: str,
        rate: Annotated[float, Field(gt=0, lt=1)],
        mode: Literal["fast", "slow"] = "fast",
        seed: int | None = None,
        layers: list[int] = [8, 8],  # noqa: B006 - what an author may write
    ) -> dict[str, Any]:
        """Train a network.

        It is written to `path` as ONNX,
        and its accuracy is returned.

        Args:
            path: Where to write it.
            rate: Learning rate, between
                0 and 1.
            mode: How thoroughly.
        """
        return {"path": path, "rate": rate, "mode": mode, "seed": seed, "layers": layers}

    @tool
    def odd_names(self, schema: str, copy: int, json: bool, model_fields: str = "") -> str:
        """Take parameters whose names a pydantic model could not have."""
        return f"{schema} {copy} {json} {model_fields}"

    @tool
    def draw(self, shape: Shape, at: Point, size: tuple[int, int], tags: Optional[list[str]] = None) -> str:  # noqa: UP045
        """Draw a shape."""
        return f"{shape.colour.value} {at['x']} {size} {tags}"

    @tool
    def nothing(self) -> None:
        """Do nothing."""

    @tool
    def anything(self, value: Any, more: dict[str, Any] | None = None) -> Any:
        """Take anything."""
        return value


TOOLS = tools_of(Kit())


@pytest.fixture
def kit() -> dict[str, Tool]:
    """The tools of an episode, by name."""
    return TOOLS


# ---- what the model is told ----


def test_tools_come_in_the_order_of_their_definition(kit: dict[str, Tool]):
    assert list(kit) == ["train", "odd_names", "draw", "nothing", "anything"]


def test_name_and_description_are_those_of_the_method(kit: dict[str, Tool]):
    param = kit["train"].param

    assert param["name"] == "train"
    assert param["description"] == (
        "Train a network.\n\nIt is written to `path` as ONNX,\nand its accuracy is returned."
    )


def test_the_schema_says_ranges_choices_defaults_and_descriptions(kit: dict[str, Tool]):
    schema = kit["train"].input_schema

    assert schema["properties"]["path"] == {"type": "string", "description": "Where to write it."}
    assert schema["properties"]["rate"] == {
        "type": "number",
        "exclusiveMinimum": 0,
        "exclusiveMaximum": 1,
        "description": "Learning rate, between\n0 and 1.",
    }
    assert schema["properties"]["mode"] == {
        "type": "string",
        "enum": ["fast", "slow"],
        "default": "fast",
        "description": "How thoroughly.",
    }
    assert schema["properties"]["seed"] == {"anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert schema["properties"]["layers"] == {"type": "array", "items": {"type": "integer"}, "default": [8, 8]}
    assert schema["required"] == ["path", "rate"]
    assert schema["additionalProperties"] is False


def test_a_tool_without_parameters_takes_an_empty_object(kit: dict[str, Tool]):
    assert kit["nothing"].input_schema == {"type": "object", "properties": {}, "additionalProperties": False}


def test_every_schema_is_a_valid_json_schema_and_plain_json(kit: dict[str, Tool]):
    for each in kit.values():
        jsonschema.Draft202012Validator.check_schema(each.input_schema)
        assert json.loads(json.dumps(each.param)) == each.param
        assert each.input_schema["type"] == "object"


# ---- calls ----


def test_a_call_gets_its_arguments_and_the_defaults_of_the_others(kit: dict[str, Tool]):
    assert kit["train"].bind({"path": "a.onnx", "rate": 0.5})() == {
        "path": "a.onnx",
        "rate": 0.5,
        "mode": "fast",
        "seed": None,
        "layers": [8, 8],
    }


def test_binding_runs_nothing():
    class Counting:
        runs = 0

        @tool
        def run(self) -> None:
            """Run."""
            self.runs += 1

    episode = Counting()
    bound = tools_of(episode)["run"].bind({})

    assert episode.runs == 0
    bound()
    assert episode.runs == 1


def test_parameters_may_have_names_that_pydantic_uses_itself(kit: dict[str, Tool]):
    arguments = {"schema": "a", "copy": 2, "json": True, "model_fields": "b"}

    assert kit["odd_names"].bind(arguments)() == "a 2 True b"


def test_nested_types_arrive_as_themselves(kit: dict[str, Tool]):
    point = {"x": 1, "y": 2.5}  # a whole number is a number

    drawn = kit["draw"].bind({"shape": {"points": [point], "colour": "red"}, "at": point, "size": [3, 4]})()

    assert drawn == "red 1.0 (3, 4) None"


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("train", {"path": "a"}, "rate: Field required"),
        ("train", {"path": 1, "rate": 0.5}, "path: Input should be a valid string"),
        ("train", {"path": "a", "rate": "0.5"}, "rate: Input should be a valid number"),
        ("train", {"path": "a", "rate": 1.0}, "rate: Input should be less than 1"),
        ("train", {"path": "a", "rate": float("nan")}, "rate: Input should be a finite number"),
        ("train", {"path": "a", "rate": 0.5, "mode": "FAST"}, "mode: Input should be 'fast' or 'slow'"),
        ("train", {"path": "a", "rate": 0.5, "seed": 1.5}, "seed: Input should be a valid integer"),
        ("train", {"path": "a", "rate": 0.5, "seed": True}, "seed: Input should be a valid integer"),
        ("train", {"path": "a", "rate": 0.5, "layers": [1, "2"]}, "layers.1: Input should be a valid integer"),
        ("train", {"path": "a", "rate": 0.5, "depth": 1}, "depth: Extra inputs are not permitted"),
        ("draw", {"shape": {"points": [{"x": 1}]}, "at": {}, "size": [1]}, "shape.points.0.y: Field required"),
        ("nothing", {"a": 1}, "It takes no arguments."),
        ("nothing", None, "arguments: Input should be an object"),
        ("nothing", [], "arguments: Input should be an object"),
        ("nothing", {1: object()}, "the arguments must be a JSON object"),
    ],
)
def test_a_call_that_does_not_fit_is_told_what_does(kit: dict[str, Tool], name: str, arguments: Any, told: str):
    with pytest.raises(InvalidCall) as caught:
        kit[name].bind(arguments)

    assert told in str(caught.value)
    assert str(caught.value).startswith(name)


def test_the_explanation_lists_what_the_tool_takes_and_few_problems(kit: dict[str, Tool]):
    with pytest.raises(InvalidCall) as caught:
        kit["train"].bind({f"extra{n}": n for n in range(100)})

    assert str(caught.value).count("Extra inputs") < 6
    takes = "path: string, rate: number > 0 and < 1, mode: string, seed: integer, layers: array"
    assert str(caught.value).endswith(f"It takes {takes}.")


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=6,
)
near_misses = st.fixed_dictionaries(
    {"path": st.text(max_size=3) | anything, "rate": st.floats() | anything},
    optional={"mode": anything, "seed": anything, "layers": st.lists(anything, max_size=2)},
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["train", "odd_names", "draw", "nothing", "anything"]), anything | near_misses)
def test_no_arguments_make_binding_raise_anything_but_invalid_call(name: str, arguments: Any):
    with contextlib.suppress(InvalidCall):
        TOOLS[name].bind(arguments)


def test_arguments_nested_without_end_are_an_invalid_call(kit: dict[str, Tool]):
    nested: Any = []
    for _ in range(20_000):
        nested = [nested]

    with pytest.raises(InvalidCall):
        kit["anything"].bind({"value": nested})


# ---- definitions ----


def test_a_parameter_needs_a_type_hint():
    with pytest.raises(DefinitionError, match=r"parameter 'path' has no type hint; write `path: str`"):

        @tool
        def read(self, path):
            """Read."""


@pytest.mark.parametrize("kind", ["positional", "args", "kwargs"])
def test_a_parameter_must_be_passable_by_name(kind: str):
    def positional(self: Any, path: str, /) -> None:
        """Read."""

    def args(self: Any, *path: str) -> None:
        """Read."""

    def kwargs(self: Any, **path: str) -> None:
        """Read."""

    with pytest.raises(DefinitionError, match="cannot be passed by name"):
        tool({"positional": positional, "args": args, "kwargs": kwargs}[kind])


def test_a_tool_needs_a_docstring():
    with pytest.raises(DefinitionError, match="has no docstring"):

        @tool
        def read(self, path: str) -> None:
            pass


def test_the_decorator_may_be_written_with_empty_parentheses():
    class Both:
        @tool
        def read(self, path: str) -> None:
            """Read."""

        @tool()
        def write(self, path: str) -> None:
            """Write."""

    read, write = tools_of(Both()).values()

    assert (write.name, write.description) == ("write", "Write.")
    assert write.input_schema == read.input_schema
    with pytest.raises(DefinitionError, match="has no docstring"):

        @tool()
        def silent(self: Both) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "options", "got"),
    [
        (("read",), {}, "'read'"),
        ((), {"name": "read"}, "name='read'"),
        ((Kit.train, 1), {}, "Kit.train.*, 1"),
        ((Kit,), {}, "Kit"),
        ((property(len),), {}, "property"),
    ],
)
def test_the_decorator_takes_no_arguments(arguments: tuple[Any, ...], options: dict[str, Any], got: str):
    said = f"@tool got .*{got}.*; it takes a method and nothing else: .*; write `@tool` directly above `def`"
    with pytest.raises(DefinitionError, match=said):
        tool(*arguments, **options)


def test_a_type_hint_that_names_nothing_is_told():
    class Broken:
        @tool
        def read(self, path: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
            """Read."""

    with pytest.raises(DefinitionError, match="'Nowhere' is not defined; type hints must name importable types"):
        tools_of(Broken())


def test_a_type_that_json_cannot_hold_is_told():
    class Broken:
        @tool
        def read(self, path: Kit) -> None:
            """Read."""

    with pytest.raises(DefinitionError, match="read"):
        tools_of(Broken())


def test_the_marked_method_stays_an_ordinary_method():
    assert Kit().train("a", 0.5)["layers"] == [8, 8]


# ---- inheritance ----


class Base:
    @tool
    def first(self) -> str:
        """Be first."""
        return "base"

    @tool
    def second(self) -> str:
        """Be second."""
        return "base"


class Derived(Base):
    @tool
    def third(self) -> str:
        """Be third."""
        return "derived"

    @tool
    def first(self) -> str:
        """Be first, otherwise."""
        return "derived"


def test_inherited_tools_come_first_and_an_override_keeps_its_place():
    tools = tools_of(Derived())

    assert list(tools) == ["first", "second", "third"]
    assert tools["first"].description == "Be first, otherwise."
    assert tools["first"].bind({})() == "derived"


def test_each_episode_has_its_own_tools():
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        @tool
        def tell(self) -> str:
            """Tell."""
            return self.name

    one, other = tools_of(Named("one")), tools_of(Named("other"))

    assert (one["tell"].bind({})(), other["tell"].bind({})()) == ("one", "other")


def test_a_call_of_a_policy_is_a_name_and_arguments():
    assert call("train", path="a").arguments == {"path": "a"}
