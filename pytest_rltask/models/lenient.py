"""Answers of servers that speak the Messages API almost: what they leave out or spell otherwise, where it is plain.

What may mean two things stays as it came, and is malformed: then the server is at fault, and never the model.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from pytest_rltask.models.message import STOP_REASONS, TOKEN_COUNTS

__all__ = ["mended"]

SAME = {
    "stop": "end_turn",
    "eos": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""Stop reasons of other protocols, by the one that means the same."""
COUNTS = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}
"""Counts that other protocols call otherwise."""


def mended(answer: Any) -> Any:
    """Return an answer as the API would have sent it, as far as that is plain; what is no message stays as it is.

    Example:
        >>> mended({"content": "hello", "stop_reason": None})["stop_reason"]
        'end_turn'
    """
    if not isinstance(answer, dict) or "content" not in answer or answer.get("error"):
        return answer
    blocks = _blocks(answer["content"])
    if not isinstance(blocks, list):
        return answer
    calls = [block for block in blocks if isinstance(block, dict) and block.get("type") == "tool_use"]
    return {
        **answer,
        "type": "message",
        "role": "assistant" if answer.get("role") is None else answer["role"],
        "content": blocks,
        "usage": _usage(answer.get("usage")),
        "stop_reason": _stop_reason(answer.get("stop_reason"), has_calls=bool(calls), is_empty=not blocks),
    }


def _blocks(content: Any) -> Any:
    """Return the blocks of a reply; what holds none as it came."""
    match content:
        case None:
            return []
        case str():
            return [{"type": "text", "text": content}] if content.strip() else []
        case list():
            taken: set[str] = set()
            return [_block(block, taken) for block in content]
    return content


def _block(block: Any, taken: set[str]) -> Any:
    match block:
        case {"type": "text", "text": None}:
            return {**block, "text": ""}
        case {"type": "thinking", "thinking": None}:
            return {**block, "thinking": ""}
        case {"type": "tool_use"}:
            own = block.get("id")
            if not isinstance(own, str) or not own.strip() or own in taken:
                own = f"call_{secrets.token_hex(8)}"  # the server keeps nothing: what it is sent next is all it knows
            taken.add(own)
            return {**block, "id": own, "input": _input(block.get("input"))}
    return block


def _input(value: Any) -> Any:
    """Return the arguments of a call; some servers send the text in which the model wrote them."""
    if value is None or value == "":
        return {}
    if isinstance(value, str):
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return read if isinstance(read, dict) else value
    return value


def _usage(usage: Any) -> dict[str, Any]:
    """Return the counts of tokens, 0 where there is none."""
    given = usage if isinstance(usage, dict) else {}
    counts = {name: _count(given.get(name, given.get(COUNTS.get(name, "")))) for name in TOKEN_COUNTS}
    return {**given, **counts}


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < 1e15 else 0


def _stop_reason(said: Any, *, has_calls: bool, is_empty: bool) -> Any:
    reason = SAME.get(said, said) if isinstance(said, str) else said
    if reason in (None, "") and not is_empty:
        return "tool_use" if has_calls else "end_turn"
    if has_calls and isinstance(reason, str) and STOP_REASONS.get(reason) == "none" and reason != "pause_turn":
        return "tool_use"  # it calls tools and is not cut: they are to be run
    return reason
