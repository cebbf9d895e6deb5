"""Claude through the Messages API: one request in, one assistant message out, or a fault that names itself.

The SDK's own retries are switched off: it obeys a `retry-after` of any length and knows no total deadline. Here
every attempt, wait and retry of a request ends at the trial's deadline, what went wrong on the way is kept for
the record, and an answer that is no message (malformed JSON, HTML, missing fields) is a fault like any other.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytest_rltask.models import ModelFault, Reply, Request, Start
from pytest_rltask.record import Usage

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types import Message

__all__ = ["ClaudeModel"]

MAX_ATTEMPTS = 8
"""Attempts at one request. With the waits below: about two minutes of an overloaded API."""
MAX_BACKOFF_S = 30.0
REQUEST_TIMEOUT_S = 600.0
"""Seconds one attempt may take, whatever trickles in: the SDK's own timeout is per read."""


class _Malformed(Exception):
    """The API answered 200 with something that is not a message."""


class ClaudeModel:
    """Plays with ``claude-*`` models. All trials of an event loop share its one client.

    Args:
        name: the model, as the API names it.
        client: a client to use instead of one built from the environment, such as ``AsyncAnthropicBedrock()``.
    """

    def __init__(self, name: str, client: AsyncAnthropic | None = None) -> None:
        self.name = name
        self._client = client
        self._price: Callable[[Message], float | None] | None = None

    def player(self, start: Start) -> ClaudeModel:
        """Return itself: a conversation is all the state a trial has."""
        return self

    async def aclose(self) -> None:
        """Close the client's connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def reply(self, request: Request) -> Reply:
        """Send the conversation, retrying faults of the API until the request's deadline."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        faults: list[str] = []
        while True:
            try:
                message = await self._attempt(request)
                return self._reply(message, loop.time() - begin, tuple(faults))
            except Exception as error:
                if _is_too_long(error):
                    return Reply([], "model_context_window_exceeded", model=self.name, cost_usd=None)
                fault = _describe(error)
                if fault is None:
                    raise
                faults.append(fault)
                wait = _backoff(error, attempts=len(faults))
                if problem := _gives_up(error, faults, seconds_left=request.deadline - loop.time() - wait):
                    request_id = getattr(error, "request_id", None)
                    raise ModelFault(problem, request_id=request_id, fatal=_is_fatal(error)) from None
            await asyncio.sleep(wait)

    async def _attempt(self, request: Request) -> Message:
        from anthropic.types import Message

        client = self._client or self._connect()
        arguments: dict[str, Any] = {"messages": request.messages}
        if request.system:
            arguments["system"] = request.system
        if request.tools:
            arguments["tools"] = request.tools
        loop = asyncio.get_running_loop()
        async with asyncio.timeout_at(min(request.deadline, loop.time() + REQUEST_TIMEOUT_S)):
            message: object = await client.messages.create(
                model=self.name,
                max_tokens=request.max_tokens,
                cache_control={"type": "ephemeral"},  # the automatic mode: the marker moves on every turn
                timeout=REQUEST_TIMEOUT_S,
                **arguments,
            )
        # The SDK hands back a str for a body that is not JSON, and a Message of Nones for JSON without its fields.
        if not isinstance(message, Message) or message.content is None or message.usage is None:
            raise _Malformed("a reply that is not a message")
        if not isinstance(message.stop_reason, str):
            raise _Malformed("a reply without a stop reason")
        tool_uses = [block.id for block in message.content if block.type == "tool_use"]
        if message.stop_reason == "tool_use" and not tool_uses:
            raise _Malformed("a reply that stopped for a tool but calls none")
        if len(set(tool_uses)) < len(tool_uses):
            raise _Malformed("a reply with two tool calls of one id")
        return message

    def _connect(self) -> AsyncAnthropic:
        from anthropic import AsyncAnthropic

        self._client = AsyncAnthropic(max_retries=0)
        return self._client

    def _reply(self, message: Message, latency_s: float, faults: tuple[str, ...]) -> Reply:
        if self._price is None:
            self._price = _pricing()
        data = message.to_dict(mode="json")
        return Reply(
            content=_sendable(data["content"]),
            stop_reason=str(message.stop_reason),
            usage=_usage(message),
            cost_usd=self._price(message),
            model=str(message.model),
            request_id=message._request_id,
            latency_s=latency_s,
            faults=faults,
        )


def _usage(message: Message) -> Usage:
    usage = message.usage
    return Usage(
        usage.input_tokens or 0,
        usage.output_tokens or 0,
        usage.cache_read_input_tokens or 0,
        usage.cache_creation_input_tokens or 0,
    )


def _pricing() -> Callable[[Message], float | None]:
    """Return a function that prices one reply in US dollars, or says None for a model without a known price."""
    from genai_prices import extract_usage

    def price(message: Message) -> float | None:
        try:
            extracted = extract_usage(message.to_dict(), provider_id="anthropic")
            return float(extracted.calc_price().total_price)
        except (LookupError, ValueError):
            return None

    return price


def _sendable(content: Any) -> Any:
    """Return the reply's content as it can be sent back.

    That is verbatim, unless it holds what no request can carry: a lone surrogate, or a number beyond a float.
    """
    try:
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
        return content
    except ValueError:  # UnicodeEncodeError is one too
        return _mended(content)


def _mended(value: Any) -> Any:
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case float():
            return value if value - value == 0 else str(value)
        case dict():
            return {_mended(key): _mended(entry) for key, entry in value.items()}
        case list():
            return [_mended(entry) for entry in value]
    return value


def _describe(error: Exception) -> str | None:
    """Say in a line what went wrong with the API; None if the error is not the API's but ours."""
    import anthropic
    import httpx2

    match error:
        case anthropic.APIStatusError():
            kind = f", {error.error_code}" if error.error_code else ""
            said = error.api_message or type(error).__name__
            return f"HTTP {error.status_code}{kind}: {said[:300]}"
        case TimeoutError() | anthropic.APITimeoutError():
            return "no reply in time"
        case anthropic.APIConnectionError():
            return f"connection failed ({type(error.__cause__).__name__})"
        case _Malformed():
            return str(error)
        case json.JSONDecodeError() | UnicodeDecodeError():
            return "a reply that is not JSON"
        case anthropic.AnthropicError() | httpx2.HTTPError():
            return f"{type(error).__name__}: {str(error)[:300]}"
    return None


def _gives_up(error: Exception, faults: list[str], *, seconds_left: float) -> str | None:
    """Say why there will be no further attempt, or None if there will."""
    if not _is_retryable(error):
        return faults[-1]
    if len(faults) >= MAX_ATTEMPTS:
        return f"{faults[-1]} ({len(faults)} attempts)"
    if seconds_left <= 0:
        return f"{faults[-1]}; no time is left in the trial for another attempt (--trial-timeout)"
    return None


def _is_retryable(error: Exception) -> bool:
    from anthropic import APIStatusError

    if not isinstance(error, APIStatusError):
        return True
    if _is_fatal(error):
        return False
    asked = error.response.headers.get("x-should-retry")
    if asked in ("true", "false"):
        return asked == "true"
    return error.status_code in (408, 409, 429) or error.status_code >= 500


def _is_fatal(error: Exception) -> bool:
    """Say whether no other trial could fare better: a wrong key, an unknown model, a spend limit."""
    from anthropic import APIStatusError

    if not isinstance(error, APIStatusError):
        return False
    return error.status_code in (401, 402, 403, 404) or "spend_limit" in (error.error_code or "")


def _is_too_long(error: Exception) -> bool:
    from anthropic import BadRequestError

    return isinstance(error, BadRequestError) and "prompt is too long" in (error.api_message or "")


def _backoff(error: Exception, attempts: int) -> float:
    """Return the seconds to wait before the next attempt: what the API asks for, and never less than backoff."""
    spread = random.uniform(0.75, 1.0)
    backoff = min(0.5 * 2.0 ** (attempts - 1), MAX_BACKOFF_S) * spread
    response = getattr(error, "response", None)
    return backoff if response is None else max(_retry_after(response) or 0.0, 0.0) or backoff


def _retry_after(response: Any) -> float | None:
    """Parse `retry-after-ms` and `retry-after` (seconds or an HTTP date)."""
    from email.utils import parsedate_to_datetime

    headers = response.headers
    try:
        if "retry-after-ms" in headers:
            return float(headers["retry-after-ms"]) / 1000
        if "retry-after" not in headers:
            return None
        try:
            return float(headers["retry-after"])
        except ValueError:
            return parsedate_to_datetime(headers["retry-after"]).timestamp() - time.time()
    except ValueError:
        return None
