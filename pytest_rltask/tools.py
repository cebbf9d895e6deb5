"""Tools: typed methods of an episode that the model may call.

``@tool`` only marks a method and checks that it is fully annotated. Its JSON schema is derived with pydantic
from the signature and the Google-style docstring the first time it is needed, and every call is validated
strictly against the same model: a bad call becomes a sentence the model can act on, never an exception.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import json
import re
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pytest_rltask.source.written import hint, written_at

if typing.TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

__all__ = [
    "DefinitionError",
    "InvalidCall",
    "Tool",
    "ToolCall",
    "ToolError",
    "ToolResult",
    "call",
    "check_tools",
    "has_tools",
    "is_tool",
    "tool",
    "tool_names",
    "tools_of",
]

_MARK = "__rltask_tool__"
_TOOL_NAME, _KEY = re.compile("[a-zA-Z0-9_-]{1,128}"), re.compile("[a-zA-Z0-9_.-]{1,64}")
"""What the Messages API takes for names of tools and for keys of their arguments; anything else is HTTP 400."""
_NAME_RULE = "write a name of ASCII letters, digits and underscores, of at most {} characters"
_F = TypeVar("_F", bound=Callable[..., Any])


class DefinitionError(Exception):
    """A task, episode or tool is written wrongly. The message says what to write; pytest exits with status 4."""


class ToolError(Exception):
    """Raised by a tool to refuse a call: the model receives the message as an error and may try again."""


class InvalidCall(Exception):
    """The model's arguments do not fit the tool; the message tells it what does."""


@dataclass(frozen=True)
class ToolCall:
    """A request of a model to run a tool."""

    name: str
    arguments: Mapping[str, Any]
    id: str = ""


def call(name: str, **arguments: Any) -> ToolCall:
    """Return a tool call, as a scripted policy yields it.

    Example:
        >>> call("run_python", path="train.py").arguments
        {'path': 'train.py'}
    """
    return ToolCall(name, arguments)


@dataclass(frozen=True)
class ToolResult:
    """What came back to the model for one call."""

    text: str
    """The text the model reads, cut at the limit."""
    is_error: bool = False
    """True for an unknown tool, invalid arguments, a refusal (:class:`ToolError`) or a spent limit."""
    content: tuple[dict[str, Any], ...] = ()
    """Its blocks where it is more than text: text, images and documents, each of which has a line in `text`."""

    def json(self) -> Any:
        """Parse the text as JSON, as returned by tools whose result is not a string."""
        return json.loads(self.text)


@typing.overload
def tool(method: _F, /) -> _F: ...


@typing.overload
def tool() -> Callable[[_F], _F]: ...


def tool(*method: Any, **options: Any) -> Any:
    """Mark a method of an episode as a tool the model may call; written ``@tool`` or ``@tool()``.

    The method's name is the tool's name, its docstring the description; parameters need type hints
    (``Annotated[float, Field(gt=0, lt=1)]`` states a range), and a Google-style ``Args:`` section describes
    them. Return a string, or anything JSON can hold. Raise :class:`ToolError` to refuse a call.

    Raises:
        DefinitionError: a parameter has no type hint, cannot be passed by name, or there is no docstring; or it is
            given arguments.
    """
    if options or len(method) > 1 or not all(inspect.isfunction(one) for one in method):
        got = ", ".join([*map(repr, method), *(f"{name}={value!r}" for name, value in options.items())])
        raise DefinitionError(
            f"@tool got {got}; it takes a method and nothing else: its name and docstring are what the model is told; "
            "write `@tool` directly above `def`"
        )
    return _marked(*method) if method else _marked


def _marked(method: _F) -> _F:
    where = _where(method)
    if not _TOOL_NAME.fullmatch(method.__name__):
        raise DefinitionError(f"{where}: the Messages API takes no such name; {_NAME_RULE.format(128)}")
    for parameter in _parameters(method):
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise DefinitionError(f"{where}: parameter {parameter} cannot be passed by name; write it as `name: type`")
        if not _KEY.fullmatch(parameter.name):
            raise DefinitionError(
                f"{where}: the Messages API takes no parameter {parameter.name!r}; {_NAME_RULE.format(64)}"
            )
        if parameter.annotation is parameter.empty:
            raise DefinitionError(
                f"{where}: parameter {parameter.name!r} has no type hint; write `{parameter.name}: str`"
            )
    if not inspect.getdoc(method):
        raise DefinitionError(f"{where} has no docstring; its first line tells the model what the tool does")
    setattr(method, _MARK, True)
    return method


@dataclass(frozen=True)
class Tool:
    """A tool bound to an episode: what the model is told of it, and how to call it."""

    name: str
    description: str
    input_schema: dict[str, Any]
    _arguments: TypeAdapter[dict[str, Any]]
    _method: Callable[..., Any]
    native: Mapping[str, Any] | None = None
    """What the Messages API takes in place of it where the model is Claude, which knows it by a type."""

    @property
    def param(self) -> dict[str, Any]:
        """The tool as the Messages API takes it."""
        return {"name": self.name, "description": self.description, "input_schema": self.input_schema}

    @property
    def entry(self) -> dict[str, Any]:
        """The tool as a record and a request hold it: ``param``, and ``native`` if there is one."""
        return self.param | ({"native": dict(self.native)} if self.native else {})

    def bind(self, arguments: object) -> Callable[[], Any]:
        """Validate a call's arguments and return the call itself, to be run without arguments.

        Raises:
            InvalidCall: the arguments do not fit; the message says what does.
        """
        from pydantic import ValidationError

        try:
            # Through JSON, since only then strict mode takes a list for a tuple but no string for a number.
            given = json.dumps(_whole_numbers(arguments, self.input_schema, self.input_schema.get("$defs", {})))
            values = self._arguments.validate_json(given, strict=True)
        except ValidationError as error:
            raise InvalidCall(self._explain(error)) from None
        except (TypeError, ValueError, RecursionError):
            raise InvalidCall(f"{self.name}: the arguments must be a JSON object") from None
        return lambda: self._method(**values)

    def _explain(self, error: ValidationError) -> str:
        problems = []
        for detail in error.errors(include_url=False, include_input=False)[:5]:
            place = ".".join(str(part) for part in detail["loc"]) or "arguments"
            problems.append(f"{place}: {detail['msg']}")
        takes = ", ".join(f"{name}: {_kind(spec)}" for name, spec in self.input_schema["properties"].items())
        return f"{self.name} was not run. {'; '.join(problems)}. It takes {takes or 'no arguments'}."


def _whole_numbers(value: Any, schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Return a value with whole numbers as such where its schema asks for them: to JSON Schema 10.0 is an integer.

    Example:
        >>> _whole_numbers({"n": 10.0, "of": [1.5, 2.0]}, {"additionalProperties": {"type": "integer"}}, {})
        {'n': 10, 'of': [1.5, 2.0]}
    """
    if not isinstance(schema, Mapping) or not isinstance(value, float | list | dict):
        return value
    if reference := str(schema.get("$ref", "")).removeprefix("#/$defs/"):
        return _whole_numbers(value, definitions.get(reference), definitions)
    if options := schema.get("anyOf"):
        kinds = {one.get("type") for one in options if isinstance(one, Mapping)}
        for one in options if not (isinstance(value, float) and "number" in kinds) else ():
            value = _whole_numbers(value, one, definitions)
        return value
    if isinstance(value, float):
        return int(value) if schema.get("type") == "integer" and value.is_integer() else value
    if isinstance(value, list):
        first, rest = schema.get("prefixItems", []), schema.get("items")
        return [
            _whole_numbers(one, first[at] if at < len(first) else rest, definitions) for at, one in enumerate(value)
        ]
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    return {key: _whole_numbers(one, properties.get(key, others), definitions) for key, one in value.items()}


def _kind(spec: Mapping[str, Any]) -> str:
    """Return what an argument's schema takes, in words: its type and its range.

    Example:
        >>> _kind({"type": "number", "exclusiveMinimum": 0, "maximum": 1})
        'number > 0 and <= 1'
    """
    specs = [one for one in spec.get("anyOf", [spec]) if one.get("type") != "null"]
    if len(specs) != 1:
        return "value"
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    ends = [f"{sign} {specs[0][key]}" for key, sign in signs.items() if key in specs[0]]
    return " ".join([str(specs[0].get("type", "value")), " and ".join(ends)]).strip()


def tools_of(episode: object) -> dict[str, Tool]:
    """Return the tools of an episode by name: in the order in which its class defines them, then those of its `tools`.

    Raises:
        DefinitionError: a tool's schema cannot be derived, two have one name, or what `tools` names has none.
    """
    found = {name: _bind(getattr(episode, name)) for name in tool_names(type(episode))}
    kits = getattr(episode, "tools", ())
    for kit in kits if isinstance(kits, list | tuple) else [kits]:
        names = tool_names(type(kit))
        where = f"episode {type(episode).__name__}: tools"
        if not names:
            raise DefinitionError(
                f"{where} names {kit!r}, which has no tool; write self.tools = [BashTool(self.sandbox)], or objects "
                "with methods marked @tool"
            )
        if taken := [name for name in names if name in found]:
            raise DefinitionError(f"{where} names a second tool {taken[0]!r}; each needs a name of its own")
        found |= {name: replace(_bind(getattr(kit, name)), native=getattr(kit, "native", None)) for name in names}
    return found


def check_tools(episode: type) -> None:
    """Derive the schemas of an episode's tools, to find what is wrong with them.

    Raises:
        DefinitionError: a tool's schema cannot be derived.
    """
    for name in tool_names(episode):
        _schema(getattr(episode, name))


def has_tools(episode: type) -> bool:
    """Say whether a class of episodes has a tool, or names others in `tools`."""
    own = [cls for cls in episode.__mro__ if cls.__module__ != "pytest_rltask.task" and cls is not object]
    names_some = any("tools" in vars(cls) or "tools" in _names_in(vars(cls).get("__init__")) for cls in own)
    return names_some or bool(tool_names(episode))


def _names_in(function: object) -> tuple[str, ...]:
    """Return the attributes that a function's code names."""
    return function.__code__.co_names if inspect.isfunction(function) else ()


def tool_names(episode: type) -> list[str]:
    """Return the names of the tools of a class of episodes, in the order in which they are defined."""
    names: dict[str, None] = {}
    for cls in reversed(episode.__mro__):
        names |= dict.fromkeys(name for name, value in vars(cls).items() if getattr(value, _MARK, False))
    # A subclass may take a tool away by giving its name to something else.
    return [name for name in names if getattr(getattr(episode, name), _MARK, False)]


def _parameters(method: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(method).parameters.values())[1:]  # without self


def _bind(method: Any) -> Tool:
    return Tool(method.__func__.__name__, *_schema(method.__func__), method)


@functools.lru_cache(maxsize=256)
def _schema(function: Callable[..., Any]) -> tuple[str, dict[str, Any], TypeAdapter[dict[str, Any]]]:
    """Return description, JSON schema and validator of a tool."""
    from pydantic import PydanticUserError

    try:
        description, arguments = _derive(function)
        schema = _plain_schema(arguments)
        if wrong := next((key for key in _keys(schema) if not _KEY.fullmatch(key)), None):
            raise DefinitionError(
                f"{_where(function)}: the Messages API takes no key {wrong!r} in what a tool takes; "
                f"{_NAME_RULE.format(64)}"
            )
        return description, schema, arguments
    except PydanticUserError as error:
        said = str(error).splitlines()[0]
        raise DefinitionError(f"{_where(function)}: {said}; parameters must be what JSON can hold") from None


def _keys(schema: Any) -> Iterator[str]:
    """Yield the keys of all objects that a schema describes, at any depth."""
    if isinstance(schema, list):
        for part in schema:
            yield from _keys(part)
    elif isinstance(schema, dict):
        properties = schema.get("properties")
        yield from properties if isinstance(properties, dict) else ()
        for name, part in schema.items():
            if name not in ("default", "const", "enum", "examples"):  # values, not schemas
                yield from _keys(part)


def _derive(function: Callable[..., Any]) -> tuple[str, TypeAdapter[dict[str, Any]]]:
    """Build the validator of a tool's arguments from its signature, and its description from the docstring."""
    from docstring_parser import DocstringStyle, ParseError, parse
    from pydantic import ConfigDict, Field, TypeAdapter, with_config
    from typing_extensions import NotRequired, TypedDict  # pydantic takes typing's own only from Python 3.12 on

    try:
        document = parse(inspect.getdoc(function) or "", style=DocstringStyle.GOOGLE)
    except ParseError as error:
        raise DefinitionError(
            f"{_where(function)}: its docstring cannot be read: {str(error).splitlines()[0]} "
            "Write `name: what it is`, and indent what goes on"
        ) from None
    said = {entry.arg_name: entry.description for entry in document.params if entry.args[0] != "attribute"}
    _check_described(function, said)
    try:
        hints = {(name := parameter.name): hint(function, name) for parameter in _parameters(function)}
    except ValueError as error:
        raise DefinitionError(
            f"{_where(function)}: the type of {name!r} says nothing: {error}; type hints must name importable types: "
            "import it outside of `if TYPE_CHECKING:`, or define it at the top of the module"
        ) from None
    annotated: Any = typing.Annotated  # types made at run time, which no type checker follows
    typed_dict: Any = TypedDict
    fields: dict[str, Any] = {}
    for parameter in _parameters(function):
        optional = parameter.default is not parameter.empty
        extra = {"default": parameter.default} if optional and parameter.default is not None else None
        described = Field(description=said.get(parameter.name), json_schema_extra=extra)
        typed = annotated[hints[parameter.name], described]
        fields[parameter.name] = NotRequired[typed] if optional else typed
    # A TypedDict, not a BaseModel: a parameter may then be called `schema` or `copy`.
    shape = with_config(ConfigDict(extra="forbid", allow_inf_nan=False))(typed_dict(function.__name__, fields))
    adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(shape)
    lines = [document.short_description or "", document.long_description or ""]
    return "\n\n".join(line for line in lines if line), adapter


def _check_described(function: Callable[..., Any], said: Collection[str]) -> None:
    """Make sure that what a docstring describes are the tool's parameters: a model would be told of what is not there.

    Raises:
        DefinitionError: it describes another.
    """
    names = [parameter.name for parameter in _parameters(function)]
    for name in said:
        if name not in names:
            has = f"it has {', '.join(names)}" if names else "it has none"
            left = [one for one in names if one not in said]
            near = left if len(left) == 1 else difflib.get_close_matches(name, left or names, n=1)
            instead = f"`{near[0]}: ...`" if near else "nothing of it there, or indent what goes on from the line above"
            raise DefinitionError(
                f"{_where(function)}: its docstring describes {name!r}, which is no parameter: {has}; write {instead}"
            )


def _where(function: Callable[..., Any]) -> str:
    return f"{written_at(function)}: tool {function.__qualname__}"


def is_tool(method: object) -> bool:
    """Say whether something is marked as a tool."""
    return bool(getattr(method, _MARK, False))


def _plain_schema(arguments: TypeAdapter[dict[str, Any]]) -> dict[str, Any]:
    """Return the JSON schema without pydantic's generated titles, which only cost tokens."""
    schema = arguments.json_schema()
    schema.pop("title", None)
    schema.setdefault("properties", {})
    for spec in schema["properties"].values():
        spec.pop("title", None)
    return schema
