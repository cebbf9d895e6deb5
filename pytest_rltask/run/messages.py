"""A conversation part by part, as every report shows it: who said what, which tool was called, what came back."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pytest_rltask.run.record import Record

__all__ = ["Part", "arguments_text", "parts", "result_text", "said"]


@dataclass(frozen=True)
class Part:
    """A block of a message, or the system prompt."""

    kind: Literal["system", "model", "thinking", "call", "result", "error", "harness"]
    """Who speaks."""
    title: str
    """The same, with the turn and the tool."""
    text: str


def said(record: Record) -> Iterator[Part]:
    """Yield what was said in a trial, in order."""
    if record.system:
        yield Part("system", "system", record.system)
    turn = 0
    for message in record.messages:
        turn += message["role"] == "assistant"
        yield from parts(message, turn)


def parts(message: dict[str, Any], turn: int) -> Iterator[Part]:
    """Yield the parts of one message.

    Args:
        message: as the Messages API takes it.
        turn: how many messages of the assistant there are up to it.
    """
    for block in message["content"]:
        yield _part(message["role"], turn, block)


def _part(role: str, turn: int, block: dict[str, Any]) -> Part:
    match block.get("type"):
        case "text" if role == "assistant":
            return Part("model", f"turn {turn} · model", block["text"])
        case "text":
            return Part("harness", "harness", block["text"])
        case "thinking":
            return Part("thinking", f"turn {turn} · thinking", block.get("thinking") or "(not shown by the API)")
        case "tool_use":
            return Part("call", f"turn {turn} · calls {block['name']}", arguments_text(block["input"]))
        case "tool_result" if block.get("is_error"):
            return Part("error", "error", result_text(block["content"]))
        case "tool_result":
            return Part("result", "result", result_text(block["content"]))
        case other:
            return Part("model", f"turn {turn} · {other}", arguments_text(block))


def arguments_text(arguments: Any) -> str:
    """Show short arguments in a line each, and long ones, such as a program, as they are."""
    if not isinstance(arguments, dict):
        return json.dumps(arguments)
    return "\n".join(_argument(name, value) for name, value in arguments.items())


def _argument(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"{name}: {text}" if "\n" not in text else f"{name}:\n{textwrap.indent(text.rstrip(), '    ')}"


def result_text(content: Any) -> str:
    """Show a JSON object's fields like arguments, so that program output keeps its lines."""
    try:
        data = json.loads(content)
    except (TypeError, ValueError):
        return str(content)
    return arguments_text(data) if isinstance(data, dict) else str(content)
