"""Claude through the Messages API: one request in, one assistant message out, or a fault that names itself.

The SDK's own retries are switched off: it obeys a `retry-after` of any length, knows no total deadline, and lets each
request find the API's limits by itself. Here all requests go through one limiter; every attempt, wait and retry of a
request ends at the trial's deadline; what went wrong on the way is kept for the record, and an answer that is no
message (malformed JSON, HTML, missing fields) is a fault like any other. Answers are read raw: what the SDK does not
know goes back as it came, and what is malformed stays visible.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_rltask.clock import utc
from pytest_rltask.models.api_limits import retry_after_s
from pytest_rltask.models.limiter import Limiter, NoPlace, Place, backoff_s
from pytest_rltask.models.message import TOKEN_COUNTS, Malformed, Message, parsed
from pytest_rltask.models.model import ModelFault, Reply, Request, Start
from pytest_rltask.models.too_long import says_too_long
from pytest_rltask.run.record import FaultKind, Usage, error_text

if TYPE_CHECKING:
    from anthropic import APIStatusError, AsyncAnthropic

__all__ = ["ClaudeModel"]

MAX_ATTEMPTS = 8
"""Attempts at one request that end in a fault, refusals (429, 529) not counted: those last as long as the trial may."""
MAX_FAULTS = 20
"""Faults of one request that are kept for the record."""
REQUEST_TIMEOUT_S = 600.0
"""Seconds one attempt may take, whatever trickles in: the SDK's own timeout is per read."""
TRANSIENT = (408, 409, 429)
"""Statuses below 500 that say nothing of the request itself."""
MAX_DEPTH = 64
"""Levels to which a reply may nest. Deeper ones, which the SDK could not send back, are left out."""
UNANSWERED = "the trial ended before the answer came; tokens and cost are an estimate of what was sent"


class ClaudeModel:
    """Plays with ``claude-*`` models. All trials of an event loop that play it share its one client and limiter.

    Args:
        name: the model, as the API names it.
        client: a client to use instead of one built from the environment, such as ``AsyncAnthropicBedrock()``.
    """

    def __init__(self, name: str, client: AsyncAnthropic | None = None) -> None:
        self.name = name
        self._client = client
        self._price: Callable[[Message], float | None] | None = None
        self._limiter = Limiter()
        self._fatal: ModelFault | None = None  # no request has a chance any more

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
        spoilt: list[Reply] = []
        attempts, request_id = 0, None
        while True:
            try:
                async with self._limiter.place(request.deadline, since=begin) as place:
                    reply = await self._attempt(request, place)
                lost_s = place.started - begin
                faults += reply.faults
                return replace(_paid(reply, spoilt), faults=_kept(faults), latency_s=loop.time() - begin, lost_s=lost_s)
            except NoPlace as error:
                said, billed = "; ".join([*faults[-1:], str(error)]), _wasted(spoilt, faults)
                raise ModelFault(said, request_id=request_id, billed=billed) from None
            except Exception as error:
                if (fault := _describe(error)) is None:
                    raise
                faults.append(self._discreet(fault))
                request_id = getattr(error, "request_id", None)
                if isinstance(error, Malformed) and error.billed:
                    spoilt.append(self._spoilt(error.billed, request_id))
                attempts += not _is_refusal(error)
                wait_s = _wait_s(error, attempts)
                ended = _ended(error, attempts, wait_s, left_s=request.deadline - loop.time())
                if ended is not None:
                    kind, what = _blame(error, request)
                    said = what + faults[-1] + ended
                    given_up = ModelFault(
                        said, kind=kind, request_id=request_id, fatal=_is_fatal(error), billed=_wasted(spoilt, faults)
                    )
                    self._fatal = self._fatal or (given_up if given_up.fatal else None)
                    raise given_up from None
                if not _is_refusal(error):  # the limiter has all wait
                    await asyncio.sleep(wait_s)

    async def _attempt(self, request: Request, place: Place) -> Reply:
        """Send the conversation once, and tell the limiter what came of it."""
        from anthropic import APIStatusError

        if self._fatal is not None:
            raise self._fatal
        try:
            with self._under_way(request):
                response = await self._send(request)
        except APIStatusError as error:
            if _is_refusal(error):
                self._limiter.refused(place, error.response.headers)
            else:
                self._limiter.told(place, error.response.headers)
            if request.extends and _is_too_long(error):
                return self._outgrown(error)
            raise
        reply = self._reply(parsed(response.http_response.content, response.request_id), response.request_id)
        self._limiter.answered(place, response.headers, reply.usage)
        return reply

    @contextlib.contextmanager
    def _under_way(self, request: Request) -> Iterator[None]:
        """Leave an estimate with a request that is cancelled in this block; whatever else ends it says what it cost."""
        request.under_way.append(lambda: self._estimate(request))
        try:
            yield
        except asyncio.CancelledError:
            raise
        except BaseException:
            request.under_way.clear()
            raise
        request.under_way.clear()

    def _estimate(self, request: Request) -> Reply:
        """Return what a request without an answer may be billed at least: what it sent, at four characters a token."""
        sent = json.dumps([request.system, request.tools, request.messages], default=str, ensure_ascii=False)
        usage = {"input_tokens": math.ceil(len(sent) / 4), "output_tokens": 0}
        cost_usd = self._pricer()({"model": self.name, "usage": usage})
        return Reply([], "unanswered", _usage(usage), cost_usd, self.name, faults=(UNANSWERED,))

    async def _send(self, request: Request) -> Any:
        client = self._client or self._connect()
        arguments: dict[str, Any] = {"messages": request.messages}
        if request.system:
            arguments["system"] = request.system
        if request.tools:
            arguments["tools"] = request.tools
        loop = asyncio.get_running_loop()
        async with asyncio.timeout_at(min(request.deadline, loop.time() + REQUEST_TIMEOUT_S)):
            return await client.messages.with_raw_response.create(
                model=self.name,
                max_tokens=request.max_tokens,
                cache_control={"type": "ephemeral"},  # the automatic mode: the marker moves on every turn
                timeout=REQUEST_TIMEOUT_S,
                **arguments,
            )

    def connect(self) -> None:
        """Make the client and learn the prices now; else the first request does. What is wrong, that request tells."""
        with contextlib.suppress(Exception):
            self._connect()
            self._pricer()

    def _connect(self) -> AsyncAnthropic:
        from anthropic import AsyncAnthropic

        self._client = AsyncAnthropic(max_retries=0)
        return self._client

    def _pricer(self) -> Callable[[Message], float | None]:
        if self._price is None:
            self._price = _pricing()
        return self._price

    def _reply(self, message: Message, request_id: str | None) -> Reply:
        # The API may say nothing in a text block, but takes none back.
        content = [_sendable(block) for block in message["content"] if block.get("text", "text").strip()]
        return replace(self._spoilt(message, request_id), content=content, stop_reason=message["stop_reason"])

    def _spoilt(self, message: Message, request_id: str | None) -> Reply:
        """Return what is left of a reply that is of no use: what it cost."""
        usage, cost_usd = _usage(message["usage"]), self._pricer()(message)
        return Reply([], "malformed", usage, cost_usd, str(message.get("model")), request_id)

    def _outgrown(self, error: APIStatusError) -> Reply:
        """Return how a conversation ends that became too long; nothing was read, so nothing is billed."""
        said = self._discreet(_describe(error) or "")
        stop = "model_context_window_exceeded"
        return Reply([], stop, model=self.name, request_id=error.request_id, faults=(said,))

    def _discreet(self, said: str) -> str:
        """Keep a fault short, and strike out the key, should a proxy quote it in its error."""
        for secret in (getattr(self._client, "api_key", None), getattr(self._client, "auth_token", None)):
            said = said.replace(secret, "***") if secret else said
        return said[:400]


def _kept(faults: list[str]) -> tuple[str, ...]:
    """Return the faults as the record keeps them."""
    if len(faults) <= MAX_FAULTS:
        return tuple(faults)
    return (*faults[: MAX_FAULTS - 1], f"... and {len(faults) - MAX_FAULTS + 1} more")


def _paid(reply: Reply, spoilt: list[Reply]) -> Reply:
    """Return a reply with what those before it cost that were of no use."""
    costs = [one.cost_usd for one in (reply, *spoilt)]
    cost_usd = None if None in costs else sum(cost for cost in costs if cost is not None)
    return replace(reply, usage=sum((one.usage for one in spoilt), reply.usage), cost_usd=cost_usd)


def _wasted(spoilt: list[Reply], faults: list[str]) -> Reply | None:
    """Return what a request cost that was given up; None if nothing."""
    return replace(_paid(spoilt[-1], spoilt[:-1]), faults=_kept(faults)) if spoilt else None


def _usage(usage: dict[str, Any]) -> Usage:
    return Usage(*(usage.get(name) or 0 for name in TOKEN_COUNTS))


def _pricing() -> Callable[[Message], float | None]:
    """Return a function that prices one reply in US dollars, or says None for a model without a known price."""
    from genai_prices import extract_usage

    def price(message: Message) -> float | None:
        try:
            usage = extract_usage(message, provider_id="anthropic")
            return float(usage.calc_price(genai_request_timestamp=utc()).total_price)  # prices change with the date
        except (LookupError, ValueError):
            return None

    return price


def _sendable(value: Any, depth: int = 0) -> Any:
    """Return a reply's content as it can be sent back.

    That is verbatim, unless it holds what no request can carry: a lone surrogate, a number beyond a float, or
    nesting without end.
    """
    match value:
        case str() if not value.isascii():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case float() if not math.isfinite(value):
            return str(value)
        case dict() | list() if depth == MAX_DEPTH:
            return "(nested too deeply)"
        case dict():
            return {_sendable(key): _sendable(entry, depth + 1) for key, entry in value.items()}
        case list():
            return [_sendable(entry, depth + 1) for entry in value]
    return value


def _describe(error: Exception) -> str | None:
    """Say in a line what went wrong with the API; None if the error is not the API's but ours."""
    import anthropic
    import httpx2

    match error:
        case anthropic.APIStatusError():
            kind = f", {error.error_code}" if error.error_code else ""
            said = str(error.api_message or type(error).__name__)
            return f"HTTP {error.status_code}{kind}: {said}"
        case TimeoutError() | anthropic.APITimeoutError():
            return "no reply in time"
        case anthropic.APIConnectionError() if _is_blocked(error):
            return f"another plugin of this pytest lets no connection through ({error_text(_origin(error))})"
        case anthropic.APIConnectionError():
            return f"connection failed ({type(error.__cause__).__name__})"
        case Malformed():
            return str(error)
        case anthropic.AnthropicError() | httpx2.HTTPError():
            return f"{type(error).__name__}: {error}"
    return None


def _origin(error: BaseException) -> BaseException:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _is_blocked(error: Exception) -> bool:
    """Say whether a connection failed for no fault of the network: pytest-socket raises, where that has an OSError."""
    from anthropic import APIConnectionError

    return isinstance(error, APIConnectionError) and type(_origin(error)).__module__.startswith("pytest_")


def _ended(error: Exception, attempts: int, wait_s: float, *, left_s: float) -> str | None:
    """Say why there will be no further attempt, as the end of a sentence; None if there will."""
    if not _is_retryable(error):
        return ""
    if attempts >= MAX_ATTEMPTS:
        return f" ({attempts} attempts)"
    if wait_s < left_s:
        return None
    if (asked_s := _asked_s(error)) >= left_s > 0:
        return f"; it asks to wait {asked_s:,.0f} s, and the trial has {left_s:,.0f} s left (--trial-timeout)"
    return "; no time is left in the trial for another attempt (--trial-timeout)"


def _wait_s(error: Exception, attempts: int) -> float:
    """Return the seconds until the next attempt at the earliest: what the API asks for, if not backoff."""
    if _is_refusal(error):
        return _asked_s(error)
    return max(backoff_s(attempts), _asked_s(error))


def _asked_s(error: Exception) -> float:
    response = getattr(error, "response", None)
    return 0.0 if response is None else retry_after_s(response.headers)


def _is_refusal(error: Exception) -> bool:
    """Say whether the API takes no requests for now, whoever sends them."""
    return getattr(error, "status_code", None) in (429, 529) and not _is_fatal(error)


def _is_retryable(error: Exception) -> bool:
    from anthropic import APIStatusError

    if not isinstance(error, APIStatusError):
        return True
    if _is_fatal(error) or _is_too_long(error):
        return False
    asked = error.response.headers.get("x-should-retry")
    if asked in ("true", "false"):
        return asked == "true"
    return error.status_code in TRANSIENT or error.status_code >= 500


def _is_fatal(error: Exception) -> bool:
    """Say whether no other trial could fare better: a wrong key, an unknown model, a spend limit."""
    from anthropic import APIStatusError

    if not isinstance(error, APIStatusError):
        return False
    return error.status_code in (401, 402, 403, 404) or "spend_limit" in (error.error_code or "")


def _is_too_long(error: Exception) -> bool:
    from anthropic import APIStatusError

    return isinstance(error, APIStatusError) and says_too_long(error.status_code, error.body)


def _blame(error: Exception, request: Request) -> tuple[FaultKind, str]:
    """Return whose fault it is that a request has no answer, and how to begin to say so."""
    if _is_too_long(error) and not request.extends:
        return "task", "the task's prompt and tools are too long for the model, or for its server: "
    if _is_rejected(error) and request.extends:
        # Its beginning was taken, so what the conversation came to is at fault, and with it what the model did.
        return "harness", "the API takes the conversation no further: "
    return "harness" if _is_blocked(error) else "api", ""


def _is_rejected(error: Exception) -> bool:
    """Say whether the API refused a request for what it is, and not for who sends it or when."""
    status = getattr(error, "status_code", 0)
    return 400 <= status < 500 and status not in TRANSIENT and not _is_fatal(error)
