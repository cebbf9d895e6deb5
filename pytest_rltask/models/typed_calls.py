"""What a person types, as calls of tools: ``guess number=500; look``. Pure functions, but that ``=@FILE`` reads one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_rltask.tools import ToolCall

__all__ = ["HELP", "completions", "described", "parse_calls"]

HELP = """\
TOOL name=value name=value      call a tool; values with spaces in quotes, others than strings as JSON
TOOL ...; TOOL ...              several calls in one reply
name=@FILE                      the value is what the file holds; @@ for a value that begins with @
name=<<                         the value is what you type next, up to a line with a single dot
> some words                    say something, without a call
?   ?TOOL                       the tools; one of them in full
Tab completes; an empty line does nothing; Ctrl-D ends your turn for good."""

_TYPED_ON = "<<"


def parse_calls(
    line: str, tools: Mapping[str, Mapping[str, Any]], more: Callable[[], str] = lambda: ""
) -> list[ToolCall]:
    """Parse a line of calls.

    Args:
        line: what was typed.
        tools: the JSON schema of each tool's arguments, by its name.
        more: returns the text that is typed for a value ``<<``.

    Raises:
        ValueError: the line is none; the message says what to write.

    Example:
        >>> schema = {"properties": {"number": {"type": "integer"}, "why": {"type": "string"}}}
        >>> [dict(call.arguments) for call in parse_calls("guess number=5 why=5; guess number=6", {"guess": schema})]
        [{'number': 5, 'why': '5'}, {'number': 6}]
    """
    calls = []
    for name, *words in _commands(line):
        if name not in tools:
            known = ", ".join(tools) or "none"
            raise ValueError(f"there is no tool {name!r}; the tools are: {known} (> to say something)")
        calls.append(ToolCall(name, dict(_argument(word, tools[name], more) for word in words)))
    return calls


def _commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";")
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    for word in lexer:  # raises ValueError: "No closing quotation"
        if word.strip(";"):
            words.append(word)
        elif words:
            yield words
            words = []
    if words:
        yield words


def _argument(word: str, schema: Mapping[str, Any], more: Callable[[], str]) -> tuple[str, Any]:
    name, separator, text = word.partition("=")
    if not separator:
        takes = ", ".join(schema.get("properties", {})) or "no arguments"
        raise ValueError(f"{word!r} gives no argument a value; write name=value (it takes {takes})")
    if text == _TYPED_ON:
        return name, more()
    if text.startswith("@@"):
        text = text[1:]
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{name}={text}: {error}") from None
    return name, _value(text, schema.get("properties", {}).get(name, {}))


def _value(text: str, spec: Mapping[str, Any]) -> Any:
    """Return what a text stands for where the schema has this type; what fits no type goes along as it is."""
    kinds = {one.get("type") for one in spec.get("anyOf", [spec])}
    if "string" in kinds and text != "null":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def completions(line: str, tools: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return what the last word of a line may become: tools, arguments not yet given, and their few values.

    Example:
        >>> completions("guess n", {"guess": {"properties": {"number": {"type": "integer"}}}})
        ['number=']
    """
    *before, last = line.rpartition(";")[2].lstrip().split(" ")
    if not before:
        return [f"{name} " for name in tools if name.startswith(last)]
    given = {word.partition("=")[0] for word in before[1:]}
    properties = tools.get(before[0], {}).get("properties", {})
    name, separator, text = last.partition("=")
    if not separator:
        return [f"{one}=" for one in properties if one.startswith(last) and one not in given]
    return [f"{name}={value}" for value in _few_values(properties.get(name, {})) if value.startswith(text)]


def _few_values(spec: Mapping[str, Any]) -> list[str]:
    if spec.get("type") == "boolean":
        return ["true", "false"]
    return [str(value) for value in spec.get("enum", ())]


def described(tools: Sequence[Mapping[str, Any]], name: str = "") -> str:
    """Return the tools as a person reads them: a line each; or one of them, with its arguments."""
    if not name:
        lines = []
        for tool in tools:
            arguments = " ".join(f"{one}=" for one in tool["input_schema"].get("properties", {}))
            lines.append(f"{tool['name']} {arguments}".rstrip() + f"   {tool['description'].splitlines()[0]}")
        return "\n".join(lines) or "(there are no tools)"
    found = next((tool for tool in tools if tool["name"] == name), None)
    if found is None:
        return f"there is no tool {name!r}"
    required = found["input_schema"].get("required", ())
    lines = [f"{found['name']}: {found['description']}"]
    for argument, spec in found["input_schema"].get("properties", {}).items():
        rest = {key: value for key, value in spec.items() if key != "description"}
        must = "" if argument in required else " (may be left out)"
        lines.append(f"  {argument}: {spec.get('description') or ''}{must} {json.dumps(rest)}")
    return "\n".join(lines)
