"""A conversation part by part, as every report shows it: who said what, which tool was called, what came back."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pytest_rltask.media.attached import content_text, media_line, references
from pytest_rltask.run.asked import Asked
from pytest_rltask.run.record import Record

__all__ = ["Part", "arguments_text", "asked_in", "result_text", "said", "said_in"]


@dataclass(frozen=True)
class Part:
    """A block of a message, or the system prompt."""

    kind: Literal["system", "prompt", "model", "thinking", "call", "result", "error", "harness", "judge"]
    """Who speaks."""
    title: str
    """The same, with the turn and the tool."""
    text: str
    shown: tuple[Mapping[str, Any], ...] = ()
    """Blocks of its images and documents, each of which has a line in the text."""


def said(record: Record) -> Iterator[Part]:
    """Yield what was said in a trial, in order."""
    if record.system:
        yield Part("system", "system", record.system)
    yield from said_in(record.messages, between=lambda place: asked_in(record, place))
    yield from asked_in(record, len(record.messages))


def said_in(
    messages: Sequence[Mapping[str, Any]],
    since: int = 0,
    between: Callable[[int], Iterable[Part]] = lambda place: (),
) -> Iterator[Part]:
    """Yield the parts of messages, from one of them on.

    Args:
        messages: of a conversation from its beginning, as the Messages API takes them.
        since: place of the first that is told; those before say which turn it is, and which tools were called.
        between: returns what was asked of judges before the message at a place.
    """
    turn = 0
    tools: dict[str, str] = {}
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            turn += 1
            tools = {block["id"]: block["name"] for block in message["content"] if block.get("type") == "tool_use"}
        if place >= since:
            yield from between(place)
            for block in message["content"]:
                part = _part(message["role"], turn, block, tools)
                yield part if place or part.kind != "harness" else Part("prompt", "prompt", part.text, part.shown)


def asked_in(record: Record, place: int) -> Iterator[Part]:
    """Yield what judges were asked, and answered, between the message at a place and the one before."""
    for one in list(record.asked):  # others may be added meanwhile
        if one.after == place:
            who = f"judge {one.judge}" + ("" if one.model == one.judge else f" ({one.model})")
            yield Part("judge", f"{who} · is asked", _question(one))
            told = said_in([{"role": "assistant", "content": one.reply}])
            yield Part("judge", f"{who} · answers", "\n".join(_answer(part) for part in told))


def _question(asked: Asked) -> str:
    told = [f"[system]\n{asked.system}"] if asked.system else []
    told += [f"[{asked.repeats} messages as in its question before]"] if asked.repeats else []
    for message in asked.messages:
        parts = said_in([message])
        told.append("\n".join([f"[{message['role']}]", *(_answer(part) for part in parts)]))
    return "\n\n".join(told)


def _answer(part: Part) -> str:
    return f"{part.title.partition(' · ')[2]}\n{part.text}" if part.kind == "call" else part.text


def _part(role: str, turn: int, block: dict[str, Any], tools: Mapping[str, str]) -> Part:
    match block.get("type"):
        case "text" if role == "assistant":
            return Part("model", f"turn {turn} · model", block["text"])
        case "text":
            return Part("harness", "harness", block["text"])
        case "image" | "document" if role == "user":
            return Part("harness", "harness", media_line(block), (block,))
        case "thinking":
            return Part("thinking", f"turn {turn} · thinking", block.get("thinking") or "(not shown by the API)")
        case "tool_use":
            return Part("call", f"turn {turn} · calls {block['name']}", arguments_text(block["input"]))
        case "tool_result":
            kind: Literal["error", "result"] = "error" if block.get("is_error") else "result"
            tool = tools.get(block.get("tool_use_id", ""))
            shown = tuple(references([{"content": [block]}]))
            return Part(kind, f"{kind} of {tool}" if tool else kind, result_text(block["content"]), shown)
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
    if isinstance(content, list):
        return "\n".join(result_text(content_text([block])) for block in content)
    try:
        data = json.loads(content)
    except (TypeError, ValueError):
        return str(content)
    return arguments_text(data) if isinstance(data, dict) else str(content)
