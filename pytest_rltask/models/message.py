"""What the API may answer: one table of stop reasons, one of blocks; whatever else it sends is malformed.

A server, or a proxy before it, that breaks the protocol is at fault, never the model: such a reply is sampled anew,
and errs the trial if that does not help. What the protocol leaves open (blocks and fields still to come, nulls in the
usage) is taken as it is. A model's mistakes within the protocol, such as arguments that do not fit, are its own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pytest_rltask.models.too_long import said

__all__ = ["STOP_REASONS", "TOKEN_COUNTS", "Malformed", "Message", "parsed"]

Message = dict[str, Any]
"""An assistant message as the API sent it, its shape checked."""

TOKEN_COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""Fields of a reply's usage, in the order of :class:`~pytest_rltask.run.record.Usage`."""
NEVER_NULL = TOKEN_COUNTS[:2]

STOP_REASONS: Mapping[str, Literal["some", "any", "none"]] = {
    "tool_use": "some",
    "end_turn": "none",
    "stop_sequence": "none",  # none is asked for: so some servers name the token that ends a turn
    "pause_turn": "none",
    "max_tokens": "any",
    "refusal": "any",
    "model_context_window_exceeded": "any",
}
"""Every stop reason of the API for what is asked of it, with the tool calls that a reply may hold that stopped for it.

Calls are run after `tool_use` alone. In a reply that was broken off they may be cut; in one that the model ended itself
there can be none, and nobody can tell whether they are to be run.
"""


class Malformed(Exception):
    """The API answered 200 with something that is not a message, or one that no conversation can go on with."""

    def __init__(self, what: str, request_id: str | None = None, *, billed: Message | None = None) -> None:
        super().__init__(what)
        self.request_id = request_id
        self.billed = billed
        """The message, if its usage is in order: it was paid for all the same."""


def parsed(content: bytes, request_id: str | None, read: Callable[[Any], Any] = lambda answer: answer) -> Message:
    """Return the message that the body of an answer holds.

    Args:
        content: of the body.
        request_id: of the request, for what is said of an answer that holds none.
        read: returns an answer as the API would have sent it, where its server may spell it otherwise.

    Raises:
        Malformed: it holds none, or one that breaks the protocol.
    """
    try:
        message = read(json.loads(content, parse_int=_int))
    except (ValueError, RecursionError):
        raise Malformed("a reply that is not JSON", request_id) from None
    if problem := _problem(message):
        raise Malformed(problem, request_id, billed=message if _is_billed(message) else None)
    return dict(message)


def _is_billed(message: Any) -> bool:
    return isinstance(message, dict) and isinstance(message.get("usage"), dict) and _counts_tokens(message["usage"])


def _problem(message: Any) -> str | None:
    """Say what is wrong with a reply; None if nothing is."""
    match message:
        case {"content": list(blocks), "usage": dict(usage)}:
            pass
        case {"error": error} if error and (words := next(said(error), "")):
            return f"an error in place of a reply: {words}"
        case _:
            return "a reply that is not a message"
    if (message.get("type", "message"), message.get("role", "assistant")) != ("message", "assistant"):
        return "a reply that is not a message of the assistant"
    if not _counts_tokens(usage):
        return "a reply whose usage is not in tokens"
    if not all(map(_is_block, blocks)):
        return "a reply with a block that lacks its fields"
    calls = [block for block in blocks if block["type"] == "tool_use"]
    if not all(isinstance(call["input"], dict) for call in calls):
        return "a reply with a tool call whose input is no object"
    if len({call["id"] for call in calls}) < len(calls):
        return "a reply with two tool calls of one id"
    return _misfit(message.get("stop_reason"), calls=len(calls), blocks=len(blocks))


def _misfit(stop_reason: object, *, calls: int, blocks: int) -> str | None:
    """Say what is wrong with a stop reason, or with what a reply holds that stopped for it."""
    if not isinstance(stop_reason, str):
        return "a reply without a stop reason"
    if stop_reason not in STOP_REASONS:
        return f"a reply with the stop reason {stop_reason[:40]!r}, which the API does not have"
    takes = STOP_REASONS[stop_reason]
    if takes == "some" and not calls:
        return "a reply that stopped for a tool but calls none"
    if takes == "none" and calls:
        return f"a reply that calls a tool but did not stop for it ({stop_reason})"
    if stop_reason == "pause_turn" and not blocks:
        return "a reply that paused before it began"
    return None


def _counts_tokens(usage: dict[str, Any]) -> bool:
    return all(_is_count(usage.get(name), may_be_null=name not in NEVER_NULL) for name in TOKEN_COUNTS)


def _is_count(value: object, *, may_be_null: bool) -> bool:
    return (value is None and may_be_null) or (type(value) is int and value >= 0)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


FIELDS: Mapping[str, Mapping[str, Callable[[object], bool]]] = {
    "text": {"text": _is_text},
    "thinking": {"thinking": _is_text},
    "tool_use": {"id": _is_name, "name": _is_name, "input": lambda value: True},
}
"""The fields that are read of blocks, by type; a block of any other type goes back as it came."""


def _is_block(block: Any) -> bool:
    """Say whether a block has the fields that the trial reads."""
    match block:
        case {"type": str(kind)}:
            return all(name in block and fits(block[name]) for name, fits in FIELDS.get(kind, {}).items())
    return False


def _int(digits: str) -> int | float:
    """Read a whole number; one of absurd length, which Python refuses, as the infinity that it is to a float."""
    return int(digits) if len(digits) < 1000 else float(digits)
