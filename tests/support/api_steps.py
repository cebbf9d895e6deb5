"""What a scripted Messages API can do at a request: the steps of its scripts, see `tests.support.messages_api`."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Block: TypeAlias = Mapping[str, Any]

DEFAULT_USAGE: Mapping[str, Any] = {
    "input_tokens": 100,
    "output_tokens": 20,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "service_tier": "standard",
}
"""What a reply uses unless its step says otherwise."""

_ERROR_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


# ---- blocks of a reply ----


def text(words: str) -> Block:
    """Return a text block."""
    return {"type": "text", "text": words}


def tool_use(name: str, arguments: Mapping[str, Any], *, id: str | None = None) -> Block:  # noqa: A002 - the API's name
    """Return a tool call; without an id each answer gets a fresh one, as from the real API."""
    return {"type": "tool_use", "id": id, "name": name, "input": dict(arguments)}


def thinking(words: str, signature: str = "c2lnbmF0dXJl") -> Block:
    """Return a thinking block; empty words with a signature are what newer models send."""
    return {"type": "thinking", "thinking": words, "signature": signature}


# ---- steps ----


@dataclass(frozen=True)
class Reply:
    """A whole message, status 200. Made by `reply`."""

    blocks: tuple[Block, ...]
    stop_reason: str
    usage: Mapping[str, Any]
    model: str | None
    stop_details: Mapping[str, Any] | None


@dataclass(frozen=True)
class Status:
    """An error in the API's shape. Made by `status`."""

    code: int
    error_type: str
    message: str
    headers: Mapping[str, str]
    details: Mapping[str, Any] | None


@dataclass(frozen=True)
class Raw:
    """Any body under any status. Made by `raw`."""

    code: int
    content_type: str
    body: bytes


@dataclass(frozen=True)
class Disconnect:
    """The connection closes without an answer. Made by `disconnect`."""


@dataclass(frozen=True)
class CutBody:
    """Headers and half of the body, then the connection closes. Made by `cut_body`."""

    step: Reply


@dataclass(frozen=True)
class Hang:
    """No answer until the client leaves or the server closes. Made by `hang`."""


@dataclass(frozen=True)
class Slow:
    """Another step, later. Made by `slow`."""

    step: Step
    seconds: float | None
    until: Gate | None


@dataclass(frozen=True)
class Drip:
    """Another step whose body comes a byte at a time. Made by `drip`."""

    step: Reply | Status | Raw
    interval_s: float


Step: TypeAlias = "Reply | Status | Raw | Disconnect | CutBody | Hang | Slow | Drip"
OneScript: TypeAlias = "Sequence[Step] | Callable[[dict[str, Any], int], Step]"
Script: TypeAlias = "OneScript | EachConversation"


def reply(
    *blocks: Block,
    stop_reason: str | None = None,
    usage: Mapping[str, Any] | None = None,
    model: str | None = None,
    stop_details: Mapping[str, Any] | None = None,
) -> Reply:
    """Answer with a message of these blocks, which may be of types unknown to the SDK.

    Args:
        blocks: From `text`, `tool_use`, `thinking`, or plain dicts. None at all is legal in the API.
        stop_reason: Default `tool_use` if there is a tool_use block, else `end_turn`. Any string goes.
        usage: Merged over `DEFAULT_USAGE`.
        model: Default the requested one.
        stop_details: Why, when the stop_reason is `refusal`.
    """
    default = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    return Reply(blocks, stop_reason or default, {**DEFAULT_USAGE, **(usage or {})}, model, stop_details)


def status(
    code: int,
    *,
    headers: Mapping[str, str] | None = None,
    error_type: str | None = None,
    message: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> Status:
    """Answer with an error; its type follows from the status code unless given."""
    error_type = error_type or _ERROR_TYPES.get(code, "api_error" if code >= 500 else "invalid_request_error")
    return Status(code, error_type, message or f"scripted {error_type}", headers or {}, details)


def spend_limit(which: str = "enforced_spend_limit_reached") -> Status:
    """Answer 429 with the error code of a spend limit, which no retry can cure.

    Args:
        which: `enforced_spend_limit_reached`, `contract_spend_limit_reached`, or `ramp_limit_exceeded` (which,
            unlike the others, does pass).
    """
    return status(429, message="scripted spend limit", details={"error_code": which})


def raw(code: int, content_type: str, body: bytes) -> Raw:
    """Answer with exactly this body: malformed JSON, an HTML page, JSON with fields missing."""
    return Raw(code, content_type, body)


def disconnect() -> Disconnect:
    """Close the connection without an answer."""
    return Disconnect()


def cut_body(step: Reply | None = None) -> CutBody:
    """Send the headers and half of a reply, then close the connection."""
    return CutBody(step or reply(text("This sentence is never finished, nor is the JSON around it.")))


def hang() -> Hang:
    """Do not answer until the client leaves or the server closes."""
    return Hang()


def slow(step: Step, seconds: float | None = None, *, until: Gate | None = None) -> Slow:
    """Answer once the seconds have passed or the gate is open, whichever is first (with neither: never)."""
    return Slow(step, seconds, until)


def drip(step: Reply | Status | Raw, *, interval_s: float = 0.02) -> Drip:
    """Send the headers at once and the body a byte at a time: every read succeeds, the whole takes long."""
    return Drip(step, interval_s)


class Gate:
    """Lets a test hold a `slow` step, and know that a request has come to it, without sleeping.

    >>> gate = Gate()
    >>> script = [slow(reply(text("at last")), until=gate)]
    """

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._lock = threading.Lock()
        self._is_open = False
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def open(self) -> None:
        """Let everything through that waits here or comes later. Opening again does nothing."""
        with self._lock:
            self._is_open = True
            for loop, event in self._waiting:
                loop.call_soon_threadsafe(event.set)

    def wait_until_reached(self, *, timeout_s: float = 10) -> None:
        """Block until a request waits here. From a coroutine, use `asyncio.to_thread`."""
        assert self._reached.wait(timeout_s), f"no request came to the gate within {timeout_s:g} s"

    async def _pass(self, timeout_s: float | None) -> None:
        waiter = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            if self._is_open:
                waiter[1].set()
            self._waiting.add(waiter)
        self._reached.set()
        try:
            await asyncio.wait_for(waiter[1].wait(), timeout_s)
        except TimeoutError:
            pass
        finally:
            with self._lock:
                self._waiting.discard(waiter)


@dataclass(frozen=True)
class EachConversation:
    """Scripts dealt out to conversations. Made by `each_conversation`."""

    scripts: tuple[OneScript, ...]
    dealt: Iterator[int] = field(default_factory=itertools.count)


def each_conversation(*scripts: OneScript) -> EachConversation:
    """Give the n-th conversation that arrives the n-th script, and all later ones the last."""
    return EachConversation(scripts)


def ratelimit_headers(*, requests_left: int = 999, tokens_left: int = 99_000) -> dict[str, str]:
    """Return the headers that the API sends with every answer; pass others to `status(headers=...)`."""
    reset = "2030-01-01T00:00:00Z"
    return {
        "anthropic-ratelimit-requests-limit": "1000",
        "anthropic-ratelimit-requests-remaining": str(requests_left),
        "anthropic-ratelimit-requests-reset": reset,
        "anthropic-ratelimit-tokens-limit": "100000",
        "anthropic-ratelimit-tokens-remaining": str(tokens_left),
        "anthropic-ratelimit-tokens-reset": reset,
    }


# ---- how a list is played ----


def step_of(script: OneScript, body: dict[str, Any], turn: int, attempt: int) -> Step:
    """Return what a script has for an attempt at a turn.

    Raises:
        LookupError: the script has no such turn.
    """
    if callable(script):
        return script(body, turn)
    groups: list[list[Step]] = [[]]
    for step in script:
        groups[-1].append(step)
        if _is_reply(step):
            groups.append([])
    if not groups[-1]:
        groups.pop()
    if turn >= len(groups):
        raise LookupError(f"it has {len(groups)} turns, and the client asks for turn {turn}")
    return groups[turn][min(attempt, len(groups[turn]) - 1)]


def _is_reply(step: Step) -> bool:
    return _is_reply(step.step) if isinstance(step, (Slow, Drip)) else isinstance(step, Reply)
