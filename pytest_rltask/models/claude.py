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
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_rltask.media.attached import as_sent, estimated_tokens
from pytest_rltask.models import api_faults
from pytest_rltask.models.api_faults import Late, Unsendable
from pytest_rltask.models.contact import LATE_REPLIES, Contact, News
from pytest_rltask.models.limiter import Limiter, NoPlace, Place, Places
from pytest_rltask.models.message import Malformed, Message, parsed
from pytest_rltask.models.model import ModelFault, Reply, Request, Start
from pytest_rltask.models.model_settings import Settings, request_fields, written
from pytest_rltask.models.native_tools import sent_tools
from pytest_rltask.models.prices import Prices, usage_of
from pytest_rltask.models.reach import Unreachable, host_of, unreachable
from pytest_rltask.models.refused import refused_setting
from pytest_rltask.models.sending import Answer, send
from pytest_rltask.models.servers import ANTHROPIC, Server
from pytest_rltask.models.settings import KEY_VARIABLES
from pytest_rltask.run.garbage import uncollected
from pytest_rltask.run.record import error_text

if TYPE_CHECKING:
    from anthropic import APIStatusError, AsyncAnthropic

__all__ = ["ClaudeModel"]

MAX_ATTEMPTS = 8
"""Attempts at one request that end in a fault, refusals (429, 529) not counted: those last as long as the trial may."""
MAX_FAULTS = 20
"""Faults of one request that are kept for the record."""
REPLY_TIMEOUT_S = 600.0
"""Seconds one attempt may take, whatever trickles in, unless told otherwise: the SDK's own timeout is per read."""
OUTPUT_PER_S = 50
"""Tokens a second that a model is taken to write where a reply was not awaited."""
MAX_DEPTH = 64
"""Levels to which a reply may nest. Deeper ones, which the SDK could not send back, are left out."""
UNANSWERED = "the trial ended before the answer came; tokens and cost are an estimate of what was sent"


class ClaudeModel:
    """Plays with ``claude-*`` models. All trials of an event loop that play it share its one client and limiter.

    Args:
        name: the model, as the API names it.
        client: a client to use instead of one built from the environment, such as ``AsyncAnthropicBedrock()``.
        reply_timeout_s: seconds that one reply may take; never more than its trial has left.
        news: where it is told who keeps the trials waiting; None: nobody watches.
        limiter: what lets its requests start; None: one of its own.
        settings: of the model, which each request has.
        server: who answers.
        prices: what tokens of models cost that the table lacks; None: none is given.
    """

    def __init__(
        self,
        name: str,
        client: AsyncAnthropic | None = None,
        *,
        reply_timeout_s: float = REPLY_TIMEOUT_S,
        news: News | None = None,
        limiter: Places | None = None,
        settings: Settings = (),
        server: Server = ANTHROPIC,
        prices: Prices | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._server = server
        self._prices = prices or Prices()
        self._client = client
        self._reply_timeout_s = reply_timeout_s
        self._contact = Contact(news)
        self._price: Callable[[Message], float | None] | None = None
        self._limiter: Places = limiter or Limiter()
        self._fatal: ModelFault | None = None  # no request has a chance any more

    def player(self, start: Start) -> ClaudeModel:
        """Return itself: a conversation is all the state a trial has."""
        return self

    async def aclose(self) -> None:
        """Close the client's connections."""
        await self._limiter.aclose()
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def reply(self, request: Request) -> Reply:
        """Send the conversation, retrying faults of the API until the request's deadline."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        faults: list[str] = []
        spoilt: list[Reply] = []
        attempts, late, request_id = 0, 0, None
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
                error = self._told(error)
                if (fault := api_faults.describe(error)) is None:
                    raise
                lost = unreachable(error, self._url)
                faults.append(self._discreet(lost.said if lost else fault))
                request_id = getattr(error, "request_id", None)
                if isinstance(error, Malformed) and error.billed:
                    spoilt.append(self._spoilt(error.billed, request_id))
                elif api_faults.may_be_billed(error):
                    spoilt.append(self._estimate(request, loop.time() - place.started))
                attempts += not api_faults.is_refusal(error)
                late += isinstance(error, Late)
                if api_faults.is_retryable(error):
                    self._contact.failed(faults[-1], is_late=isinstance(error, Late))
                wait_s = api_faults.wait_s(error, attempts)
                is_fatal = api_faults.is_fatal(error) or self._contact.is_hopeless(lost)
                refused = self._refused(error, request)
                is_fatal = is_fatal or self._contact.is_silent() or bool(refused)
                ended = _ended(error, attempts, wait_s, late, is_fatal=is_fatal, left_s=request.deadline - loop.time())
                if ended is not None:
                    kind, what = api_faults.blame(error, request)
                    said = what + faults[-1] + ended + self._remedy(error, lost if is_fatal else None, refused)
                    said += api_faults.of_media(error, request)
                    billed = _wasted(spoilt, faults)
                    self._contact.rest()
                    given_up = ModelFault(said, kind=kind, request_id=request_id, fatal=is_fatal, billed=billed)
                    self._fatal = self._fatal or (_unbilled(given_up) if is_fatal else None)
                    raise given_up from None
                self._contact.goes_on(faults[-1])
                if not api_faults.is_refusal(error):  # the limiter has all wait
                    await asyncio.sleep(wait_s)

    async def _attempt(self, request: Request, place: Place) -> Reply:
        """Send the conversation once, and tell the limiter what came of it."""
        from anthropic import APIStatusError

        if self._fatal is not None:
            raise self._fatal
        try:
            with self._under_way(request):
                answer = await self._send(request)
        except APIStatusError as error:
            self._contact.answered()
            if api_faults.is_refusal(error):
                self._limiter.refused(place, error.response.headers)
            else:
                self._limiter.told(place, error.response.headers)
            if request.extends and api_faults.is_too_long(error):
                return self._outgrown(error)
            raise
        self._contact.answered()
        message = parsed(answer.content, answer.request_id, self._server.read)
        reply = self._reply(message, answer.request_id)
        self._limiter.answered(place, answer.headers, reply.usage)
        self._contact.replied()
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

    def _estimate(self, request: Request, waited_s: float = 0.0) -> Reply:
        """Return what a request without an answer may be billed: what it sent, at four characters a token.

        Args:
            request: that was sent.
            waited_s: for how long the model may have written at it, within the limit on a reply.
        """
        sent = json.dumps([request.system, request.tools, request.messages], default=str, ensure_ascii=False)
        read = math.ceil(len(sent) / 4) + estimated_tokens(request.messages)
        written = min(request.max_tokens, int(waited_s * OUTPUT_PER_S))
        message = {"model": self.name, "usage": {"input_tokens": read, "output_tokens": written}}
        lost = self._spoilt(message, None)
        return replace(lost, stop_reason="unanswered", faults=(UNANSWERED,), guessed_usd=lost.cost_usd or 0.0)

    async def _send(self, request: Request) -> Answer:
        client = self._client or self._connect()
        messages = self._server.sent(as_sent(request.messages, request.media))
        arguments: dict[str, Any] = {"max_tokens": request.max_tokens, "messages": messages, "model": self.name}
        if request.system:
            arguments["system"] = request.system
        if request.tools:
            arguments["tools"] = sent_tools(request.tools, native=self._server.has_native_tools)
        loop = asyncio.get_running_loop()
        until = loop.time() + self._reply_timeout_s
        import anthropic

        try:
            with self._contact.pending(host_of(self._url)):
                async with asyncio.timeout_at(min(request.deadline, until)):
                    extras = {**self._server.extras, **request_fields(self.settings)}
                    timeout = anthropic.Timeout(self._reply_timeout_s, connect=self._contact.connect_s)
                    return await send(client, arguments, extras, timeout)
        except (TimeoutError, anthropic.APITimeoutError) as error:
            if unreachable(error, self._url):
                raise
            limit = f"within {self._reply_timeout_s:g} s (--reply-timeout)"
            raise Late(f"no reply {limit if until <= request.deadline else 'in time'}") from error

    def connect(self) -> None:
        """Make the client and learn the prices now; else the first request does. What is wrong, that request tells."""
        with contextlib.suppress(Exception):
            self._connect()
            self._pricer()

    def _connect(self) -> AsyncAnthropic:
        try:
            with uncollected():
                self._client = self._server.connect()
        except Exception as error:  # whichever library of the SDK's is content with the environment or not
            said = f"{type(error).__name__}: {error_text(error)}"
            hint = "check the variables ANTHROPIC_* and those of a proxy"
            raise Unsendable(f"no request can be sent: {self._discreet(said)}; {hint}") from error
        return self._client

    @property
    def _url(self) -> str:
        return str(self._client.base_url) if self._client is not None else ""

    def _pricer(self) -> Callable[[Message], float | None]:
        if self._price is None:
            self._price = self._prices.pricer(f"{self._server.prefix}{self.name}{written(self.settings)}")
        return self._price

    def _reply(self, message: Message, request_id: str | None) -> Reply:
        # The API may say nothing in a text block, but takes none back.
        content = [_sendable(block) for block in message["content"] if block.get("text", "text").strip()]
        return replace(self._spoilt(message, request_id), content=content, stop_reason=message["stop_reason"])

    def _spoilt(self, message: Message, request_id: str | None) -> Reply:
        """Return what is left of a reply that is of no use: what it cost."""
        price = self._pricer()
        usage, cost_usd, priced_as = usage_of(message), price(message), ""
        if cost_usd is None and (cost_usd := price({**message, "model": self.name})) is not None:
            priced_as = self.name  # a server may call the model that was asked for by a name of its own
        return Reply([], "malformed", usage, cost_usd, str(message.get("model")), request_id, priced_as=priced_as)

    def _outgrown(self, error: APIStatusError) -> Reply:
        """Return how a conversation ends that became too long; nothing was read, so nothing is billed."""
        said = self._discreet(api_faults.describe(error) or "")
        stop = "model_context_window_exceeded"
        return Reply([], stop, model=self.name, request_id=error.request_id, faults=(said,))

    def _told(self, error: Exception) -> Exception:
        """Return what an error means where a cloud's client finds no credentials; any other as it is."""
        if not self._server.is_without_credentials(error):
            return error
        what = f"{type(error).__name__}: {error_text(error)}".splitlines()[0]
        return Unsendable(f"no request can be sent: {what}; {self._server.remedies['key']}")

    def _refused(self, error: Exception, request: Request) -> str:
        """Return what to do about a setting that the server does not take; empty if it is not about one."""
        from anthropic import APIStatusError

        if request.extends or not isinstance(error, APIStatusError) or api_faults.is_too_long(error):
            return ""
        return refused_setting(error.status_code, error.body, self.settings)

    def _remedy(self, error: Exception, lost: Unreachable | None, refused: str) -> str:
        remedy = lost.remedy if lost else refused or api_faults.remedy(error, self._server.remedies)
        return f"; {remedy}" if remedy else ""

    def _discreet(self, said: str) -> str:
        """Keep a fault short, and strike out the key, should a proxy quote it in its error."""
        secrets = [getattr(self._client, name, None) for name in ("api_key", "auth_token")]
        for secret in (*secrets, *(os.environ.get(name, "") for name in KEY_VARIABLES[:2])):
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
    guessed_usd = sum(one.guessed_usd for one in (reply, *spoilt))
    usage = sum((one.usage for one in spoilt), reply.usage)
    return replace(reply, usage=usage, cost_usd=cost_usd, guessed_usd=guessed_usd)


def _wasted(spoilt: list[Reply], faults: list[str]) -> Reply | None:
    """Return what a request cost that was given up; None if nothing."""
    return replace(_paid(spoilt[-1], spoilt[:-1]), faults=_kept(faults)) if spoilt else None


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


def _ended(error: Exception, attempts: int, wait_s: float, late: int, *, is_fatal: bool, left_s: float) -> str | None:
    """Say why there will be no further attempt, as the end of a sentence; None if there will."""
    if not api_faults.is_retryable(error):
        return ""
    if is_fatal:
        return " (no attempt since the start of the run was answered)"
    if late >= LATE_REPLIES:
        return f" ({late} attempts, each of which may be paid; --reply-timeout S gives a reply longer)"
    if attempts >= MAX_ATTEMPTS:
        return f" ({attempts} attempts)"
    if wait_s < left_s:
        return None
    if (asked_s := api_faults.asked_s(error)) >= left_s > 0:
        return f"; it asks to wait {asked_s:,.0f} s, and the trial has {left_s:,.0f} s left (--trial-timeout)"
    return "; no time is left in the trial for another attempt (--trial-timeout)"


def _unbilled(fault: ModelFault) -> ModelFault:
    """Return a fault as those meet it who paid nothing for it."""
    return ModelFault(str(fault), kind=fault.kind, request_id=fault.request_id, fatal=fault.fatal)
