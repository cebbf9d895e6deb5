"""Slows all trials down to what the API takes, instead of letting some of them run into its limits until they fail.

Every attempt at a request holds a place. Places are given in the order in which the requests were made (one that was
refused keeps its turn), and

* none while the API wants no requests: a refusal (429, 529) pauses everybody, for as long as it asks, and for longer
  with each refusal that no answer follows;
* as many as the API was seen to take at once: refused, half as many as there were, and then one more with each round
  of answers. They are handed out over the time that a reply takes, so that the end of a pause is no stampede;
* no faster than what is left of the API's quotas lasts, which it tells with each answer. A tenth is kept in reserve for
  what is in flight, and for other processes.

Until the first answer there is one place: a wrong key is told once, and what trials have in common is in the API's
cache when the others read it, instead of being written to it by each.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import math
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pytest_rltask.models.api_limits import Quota, quotas, retry_after_s
from pytest_rltask.run.record import Usage

__all__ = ["Limiter", "NoPlace", "Place", "Places", "Waiter", "backoff_s", "why_none"]

BACKOFF_S = 0.5
"""Seconds to wait after the first failure; doubled with each further one in a row."""
MAX_BACKOFF_S = 30.0
"""Where the doubling ends."""
MAX_PAUSE_S = 60.0
"""Longest pause for all after a refusal that asks for more than the refused trial has left."""
MAX_GAP_S = 15.0
"""Longest that pacing alone keeps a request waiting: should the headers be wrong, a request now and then finds out."""
RESERVE = 0.1
"""Share of a quota that is not used up."""
_JITTER = random.SystemRandom()
"""Not the process's own source, which plugins seed, and whose numbers belong to the tests."""
SMOOTHING = 0.2
"""Weight of the latest reply in what one is expected to take and to use."""


def backoff_s(failures: int) -> float:
    """Return the seconds to wait after so many failures in a row."""
    return min(BACKOFF_S * 2.0 ** min(failures - 1, 60), MAX_BACKOFF_S) * _JITTER.uniform(0.75, 1.0)


class NoPlace(Exception):
    """A request got no place before its deadline, or can get none."""


@dataclass(frozen=True, eq=False)
class Place:
    """The right to have one request in flight."""

    started: float
    """Time on the event loop's clock."""
    deadline: float
    """Of its request, on the same clock."""


@dataclass(frozen=True, order=True)
class Waiter:
    """A request that waits for a place."""

    since: float
    number: int
    """Tells those of the same moment apart."""
    deadline: float
    place: asyncio.Future[Place | None] = field(compare=False)
    """None: turned away."""


@dataclass
class _Bucket:
    """Our copy of one of the API's quotas, set right by each answer."""

    quota: Quota
    left: float
    at: float
    of: float
    """When the request was sent whose answer set it right."""

    def spend(self, cost: float, now: float) -> None:
        self.left = min(self.quota.limit, self.left + (now - self.at) * self.quota.per_s) - cost
        self.at = now

    def has_at(self, cost: float) -> float:
        """Return the time from which it holds what a request costs, and the reserve."""
        needed = min(cost + RESERVE * self.quota.limit, self.quota.limit)
        return self.at + max(0.0, needed - self.left) / self.quota.per_s


class Places(Protocol):
    """What lets requests start: a limiter of this process, or the share in one of many processes."""

    def place(self, deadline: float, *, since: float | None = None) -> contextlib.AbstractAsyncContextManager[Place]:
        """Hold a place, once there is one."""
        ...

    def answered(self, place: Place, headers: Mapping[str, str], usage: Usage) -> None:
        """Take note of a message."""
        ...

    def told(self, place: Place, headers: Mapping[str, str]) -> None:
        """Take note of the headers of an answer."""
        ...

    def refused(self, place: Place, headers: Mapping[str, str]) -> None:
        """Take note that the API refuses a request for now."""
        ...

    async def aclose(self) -> None:
        """Give back all places."""
        ...


class Limiter:
    """Hands out the places of all requests to one model from one event loop.

    The API limits each class of models by itself, and tells with every answer what the whole account has left, so
    that limiters of several processes, or of two models of a class, act on the same numbers.

    Args:
        transit_s: seconds that a request may take from its place to the API, which counts it on its arrival.
    """

    def __init__(self, *, transit_s: float = 0.0) -> None:
        self._transit_s = transit_s
        self._waiting: list[Waiter] = []  # a heap
        self._numbers = itertools.count()
        self._in_flight: set[Place] = set()
        self._allowed = 1.0
        self._is_answering = False
        self._refusals = 0  # in a row, a round of requests counting once
        self._refused_at = -math.inf  # of the latest round
        self._paused_until = -math.inf
        self._last_start = -math.inf
        self._reply_s = 0.0
        self._costs = {"requests": 1.0}
        self._buckets: dict[str, _Bucket] = {}
        self._timer: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Places that are taken."""
        return len(self._in_flight)

    @property
    def allowed(self) -> float:
        """Places there are."""
        return self._allowed

    @property
    def is_tight(self) -> bool:
        """Whether each place counts: their number has a bound, or half of a quota is used up."""
        return self._allowed < math.inf or any(2 * each.left < each.quota.limit for each in self._buckets.values())

    @property
    def paused_s(self) -> float:
        """Seconds for which nobody gets a place, since the API wants no requests."""
        return max(0.0, self._paused_until - _now())

    @contextlib.asynccontextmanager
    async def place(self, deadline: float, *, since: float | None = None) -> AsyncIterator[Place]:
        """Hold a place, once there is one.

        Args:
            deadline: time on the event loop's clock.
            since: when the request was made, if this is not its first attempt.

        Raises:
            NoPlace: there was none before the deadline, or there cannot be.
        """
        place = await self.take(deadline, since=since)
        try:
            yield place
        finally:
            self.free(place)

    async def take(self, deadline: float, *, since: float | None = None) -> Place:
        """Return a place, once there is one; whoever took it frees it. Arguments and errors are those of `place`."""
        loop = asyncio.get_running_loop()
        since = loop.time() if since is None else since
        if loop.time() < deadline and (free := self.take_now(deadline)) is not None:
            return free
        waiter = Waiter(since, next(self._numbers), deadline, loop.create_future())
        heapq.heappush(self._waiting, waiter)
        self._turn_away(waiter)
        try:
            self._admit()
            place = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    place = await waiter.place
            if place is None:
                raise NoPlace(self._why_none(deadline))
            return place
        except BaseException:
            self._leave(waiter)
            raise

    def take_now(self, deadline: float, *, spare: bool = False) -> Place | None:
        """Return a place if there is one at this moment, and nobody waits for it.

        Args:
            deadline: as of `place`.
            spare: whether it may go unused: then only if places have no bound, and of every quota half is left.
        """
        now = _now()
        self._admit()
        if self._waiting or self.in_flight + 1 > self._allowed or self._next_start() > now:
            return None
        if spare and self.is_tight:
            return None
        return self._start(Place(now, deadline))

    def free(self, place: Place, *, unused: bool = False) -> None:
        """Take back a place whose request has ended; or which none was sent with, so that no quota has paid for it."""
        if unused and place in self._in_flight:
            for name, bucket in self._buckets.items():
                bucket.left += self._costs.get(name, 0.0)
        self._in_flight.discard(place)
        self._admit()

    def hold(self, place: Place) -> None:
        """Count a place that somebody holds and this limiter has not given: another one did, before it."""
        self._in_flight.add(place)

    async def aclose(self) -> None:
        """Do nothing: whoever holds a place has ended."""

    def answered(
        self, place: Place, headers: Mapping[str, str], usage: Usage, *, count: int = 1, took_s: float | None = None
    ) -> None:
        """Take note of a message: there may be room for more requests.

        Args:
            place: of its request.
            headers: of the answer.
            usage: what it used.
            count: of messages, if it stands for several that were alike.
            took_s: seconds to the answer; None: it came now.
        """
        took_s = _now() - place.started if took_s is None else took_s
        uncached = usage.input_tokens + usage.cache_write_tokens
        used = {
            "input-tokens": uncached,
            "output-tokens": usage.output_tokens,
            "tokens": uncached + usage.output_tokens,
        }
        self._costs |= {name: _smoothed(self._costs.get(name), count) for name, count in used.items()}
        self._reply_s = _smoothed(self._reply_s or None, took_s)
        if self._is_answering or self._refused_at > -math.inf:
            self._allowed += count / self._allowed
        else:
            self._allowed = math.inf
        self._is_answering = True
        self._refusals = 0
        self.told(place, headers)

    def told(self, place: Place, headers: Mapping[str, str]) -> None:
        """Take note of what the headers of an answer, whatever it is, say of the quotas."""
        # What was sent after this request, or is still on its way, may not be counted in them.
        later = sum(other.started > place.started - self._transit_s for other in self._in_flight if other is not place)
        for quota in quotas(headers):
            before = self._buckets.get(quota.name)
            if self._transit_s and before and before.of > place.started:
                continue  # an answer to a later request has told more
            left = quota.remaining - later * self._costs.get(quota.name, 0.0)
            self._buckets[quota.name] = _Bucket(quota, left, _now(), place.started)

    def refused(self, place: Place, headers: Mapping[str, str]) -> None:
        """Take note that the API refuses a request for now: pause all, and go on more slowly."""
        self.told(place, headers)
        now, asked_s = _now(), retry_after_s(headers)
        pause_s = asked_s if now + asked_s < place.deadline else min(asked_s, MAX_PAUSE_S)
        if place.started >= self._refused_at:  # else it was in flight with one that has been refused
            self._refused_at = now
            self._refusals += 1
            pause_s = max(pause_s, backoff_s(self._refusals))
            if self._refusals == 1:
                self._allowed = max(1.0, min(self._allowed, self.in_flight) / 2)
        self._paused_until = max(self._paused_until, now + pause_s)
        for waiter in self._waiting:
            self._turn_away(waiter)

    def _admit(self) -> None:
        """Give places to those who wait, as long as there are any, and come back when there will be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self.in_flight + 1 <= self._allowed:
            waiter = self._waiting[0]
            if not waiter.place.done():  # neither turned away nor cancelled
                now, at = _now(), self._next_start()
                if at > now:
                    self._timer = asyncio.get_running_loop().call_at(at, self._admit)
                    return
                waiter.place.set_result(self._start(Place(now, waiter.deadline)))
            heapq.heappop(self._waiting)

    def _start(self, place: Place) -> Place:
        self._in_flight.add(place)
        self._last_start = place.started
        for name, bucket in self._buckets.items():
            bucket.spend(self._costs.get(name, 0.0), place.started)
        return place

    def _next_start(self) -> float:
        """Return the earliest time at which the next request may start."""
        # Twice as fast as replies come: what bounds the requests in flight are the places.
        paced = [self._last_start + self._reply_s / self._allowed / 2]
        paced += [bucket.has_at(self._costs.get(name, 0.0)) for name, bucket in self._buckets.items()]
        return max(self._paused_until, min(max(paced), self._last_start + MAX_GAP_S))

    def _leave(self, waiter: Waiter) -> None:
        """Free the place of a request that has ended, or was given up before it began."""
        if not waiter.place.cancel() and not waiter.place.cancelled() and (place := waiter.place.result()):
            self._in_flight.discard(place)
        self._admit()

    def _turn_away(self, waiter: Waiter) -> None:
        """Let go who would wait in vain."""
        if max(_now(), self._paused_until) >= waiter.deadline and not waiter.place.done():
            waiter.place.set_result(None)

    def _why_none(self, deadline: float) -> str:
        return why_none(_now(), deadline, self._paused_until, is_answering=self._is_answering)


def why_none(now: float, deadline: float, paused_until: float, *, is_answering: bool) -> str:
    """Say why a request got no place before its deadline."""
    if now < deadline:
        pause_s, left_s = paused_until - now, deadline - now
        return f"requests wait for another {pause_s:,.0f} s, and the trial has {left_s:,.0f} s left (--trial-timeout)"
    if is_answering:
        return "the API's limits let no further request through in the trial's time (--trial-timeout)"
    return "no answer yet to the first request of the run (--trial-timeout)"


def _now() -> float:
    return asyncio.get_running_loop().time()


def _smoothed(average: float | None, value: float) -> float:
    return value if average is None else average + SMOOTHING * (value - average)
