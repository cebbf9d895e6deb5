"""A recorded conversation in the words that other systems share: chat messages with tool calls, as OpenAI named them.

Records hold what the Messages API takes: a user message may answer several calls and go on with a reminder. Here each
result is a message of its own. What a model wrote is made such that any reader of JSON takes it: no half surrogates, no
NaN, no number beyond 64 bits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pytest_rltask.media.attached import content_text, is_reference, media_line
from pytest_rltask.run.record import Record, RequestLog, clean_text

__all__ = [
    "Said",
    "arguments_of",
    "blocks_of",
    "chat",
    "exchanges",
    "functions",
    "plain",
    "result_of",
    "text_of",
    "thinking_of",
]


@dataclass(frozen=True)
class Said:
    """One message of a conversation."""

    role: str
    """``user`` or ``assistant``."""
    blocks: list[dict[str, Any]]
    """In the form of the Messages API; empty for a reply without content."""
    request: RequestLog | None = None
    """What is known of the request that a reply answers."""


def exchanges(record: Record) -> Iterator[Said]:
    """Yield what was said in a trial, each reply with its request, those too that had no content."""
    requests = list(record.requests)
    before = ""
    for message in record.messages:
        answers_none = before == message["role"] == "user"  # to what is in no history: the API would not take it back
        while requests and requests[0].empty and (answers_none or message["role"] == "assistant"):
            yield Said("assistant", [], requests.pop(0))
            if answers_none:
                break
        before = message["role"]
        request = requests.pop(0) if before == "assistant" and requests else None
        yield Said(before, blocks_of(message), request)
    for request in requests:
        yield Said("assistant", [], request)


def blocks_of(message: dict[str, Any], kind: str = "") -> list[dict[str, Any]]:
    """Return the blocks of a message, of one kind or all."""
    content = message["content"]
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return [block for block in blocks if not kind or block.get("type") == kind]


def text_of(blocks: list[dict[str, Any]]) -> str:
    """Return the text among blocks, and a line for each image and document."""
    lines = (
        media_line(one) if is_reference(one) else one["text"] if one.get("type") == "text" else "" for one in blocks
    )
    return clean_text("\n\n".join(str(line) for line in lines if line))


def thinking_of(blocks: list[dict[str, Any]]) -> str:
    """Return the thoughts among blocks, as far as the API showed them."""
    return clean_text("\n\n".join(str(one["thinking"]) for one in blocks if one.get("thinking")))


def chat(record: Record) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return a conversation as chat messages: what came before the model's first reply, and all since."""
    prompt: list[dict[str, Any]] = [{"role": "system", "content": clean_text(record.system)}] if record.system else []
    completion: list[dict[str, Any]] = []
    names = _tool_names(record)
    has_begun = False
    for message in record.messages:
        blocks = blocks_of(message)
        has_begun |= message["role"] == "assistant"
        own = [_reply(blocks)] if message["role"] == "assistant" else _answers(blocks, names)
        (completion if has_begun else prompt).extend(own)
    return prompt, completion


def _reply(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text_of(blocks)}
    if thinking := thinking_of(blocks):
        message["reasoning_content"] = thinking
    calls = [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": arguments_of(block)},
        }
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    return message | ({"tool_calls": calls} if calls else {})


def arguments_of(call: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call; what is no object, which a model may write as well, becomes one."""
    given = plain(call.get("input"))
    return given if isinstance(given, dict) else {"input": given}


def _answers(blocks: list[dict[str, Any]], names: dict[str, str]) -> Iterator[dict[str, Any]]:
    for block in blocks:
        if block.get("type") == "tool_result":
            called = block["tool_use_id"]
            content = result_of(block)
            yield {"role": "tool", "tool_call_id": called, "name": names.get(called, ""), "content": content}
    if text := text_of(blocks):
        yield {"role": "user", "content": text}


def result_of(block: dict[str, Any]) -> str:
    """Return the text that answered a call."""
    content = block.get("content")
    return clean_text(content_text(content))


def _tool_names(record: Record) -> dict[str, str]:
    return {use["id"]: use["name"] for message in record.messages for use in blocks_of(message, "tool_use")}


def functions(record: Record) -> list[dict[str, Any]]:
    """Return the tools of a trial as function definitions."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool["name"],
                "description": clean_text(str(tool.get("description", ""))),
                "parameters": plain(tool.get("input_schema", {})),
            },
        }
        for tool in record.tools
    ]


def plain(value: Any) -> Any:
    """Return JSON data that every reader takes.

    Example:
        >>> plain({"a": float("nan"), "b": [2**70, "x"]})
        {'a': None, 'b': ['1180591620717411303424', 'x']}
    """
    match value:
        case str():
            return clean_text(value)
        case float():
            return value if math.isfinite(value) else None
        case bool() | None:
            return value
        case int():
            return value if -(2**63) <= value < 2**63 else str(value)
        case dict():
            return {clean_text(str(name)): plain(one) for name, one in value.items()}
        case list() | tuple():
            return [plain(one) for one in value]
    return clean_text(str(value))
