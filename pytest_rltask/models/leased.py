"""A process's share in the limiter of many: it starts requests in places that it was lent (`leases`).

It asks for places when requests wait for one, tells what became of them, and is heard of every few seconds as long as
it holds any. What it says may be lost, and the limiter may die and be started anew: then it tells all that it holds.
Should nobody answer for a while, it sends one request at a time, since a request that waits for ever helps nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from pytest_rltask.models.api_limits import SAID
from pytest_rltask.models.leases import BEAT_S, GOOD_S, MOST, POLL_S, Ask, Lease, News, Refusal, Told
from pytest_rltask.models.limiter import NoPlace, Place, Waiter, why_none
from pytest_rltask.run.record import Usage

__all__ = ["LeasedLimiter"]

ANSWER_S = POLL_S + 10.0
"""Seconds within which the limiter answers, if it lives."""
AGAIN_S = 0.5
"""Seconds between two attempts to reach it."""
ALONE_S = 20.0
"""Seconds without a word of it after which requests start without."""


class LeasedLimiter:
    """What lets a model's requests start in one process of many. It belongs to one event loop.

    Args:
        ask: asks the limiter of all; may raise whatever it likes.
        process: a name that no other process has, this one's predecessors included.
    """

    def __init__(self, ask: Callable[[Ask], Awaitable[Lease]], process: str) -> None:
        self._ask = ask
        self._process = process
        self._waiting: list[Waiter] = []  # a heap
        self._order = itertools.count()
        self._in_flight: dict[Place, int] = {}
        self._unused: deque[tuple[int, float]] = deque()
        """Places without a request, by number, and until when they are good."""
        self._first = 0
        self._news = _Gathered()
        self._is_tight = True
        self._is_answering = False
        self._losses, self._made_good = 0, 0
        """Messages that were lost, so that the limiter may not know what is held here; and how many of them had been
        when it was told all of that."""
        self._paused_until = -math.inf
        self._heard = -math.inf
        self._started, self._since = 0, -math.inf
        self._fetching: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    @contextlib.asynccontextmanager
    async def place(self, deadline: float, *, since: float | None = None) -> AsyncIterator[Place]:
        """Hold a place, once there is one.

        Args:
            deadline: time on the event loop's clock.
            since: when the request was made, if this is not its first attempt.

        Raises:
            NoPlace: there was none before the deadline, or there cannot be.
        """
        loop = asyncio.get_running_loop()
        since = loop.time() if since is None else since
        waiter = Waiter(since, next(self._order), deadline, loop.create_future())
        heapq.heappush(self._waiting, waiter)
        self._turn_away(waiter)
        try:
            self._serve()
            place = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    place = await waiter.place
            if place is None:
                raise NoPlace(why_none(_now(), deadline, self._paused_until, is_answering=self._is_answering))
            yield place
        finally:
            if not waiter.place.cancel() and not waiter.place.cancelled() and (held := waiter.place.result()):
                self._end(held)

    def answered(self, place: Place, headers: Mapping[str, str], usage: Usage) -> None:
        """Take note of a message."""
        self._is_answering = True
        self._news.answers += 1
        self._news.usage += usage
        self._news.took_s += _now() - place.started
        self.told(place, headers)

    def told(self, place: Place, headers: Mapping[str, str]) -> None:
        """Take note of what the headers of an answer say of the quotas: those of the latest request count."""
        if self._news.told is None or place.started >= self._news.told[0]:
            self._news.told = place.started, _of_limits(headers)

    def refused(self, place: Place, headers: Mapping[str, str]) -> None:
        """Take note that the API refuses a request for now: nothing starts here until the limiter knows."""
        self._news.refusals.append((place, _of_limits(headers)))
        self._give_back(lambda good_until: True)
        self._tell()

    async def aclose(self) -> None:
        """Give back what is held here."""
        self._is_closed = True
        tasks = [task for task in (self._fetching, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
        self._give_back(lambda good_until: True)
        self._losses += 1  # what is on its way to it, or here, is not awaited
        if self._first:
            await self._send(answer_s=1.0)

    def _serve(self) -> None:
        """Give places to those who wait, and ask for more if there are too few."""
        now = _now()
        self._give_back(lambda good_until: good_until < now)
        while self._waiting:
            waiter = self._waiting[0]
            if not waiter.place.done():
                if not self._unused or self._paused_until > now:
                    break
                number, _ = self._unused.popleft()
                place = Place(now, waiter.deadline)
                self._in_flight[place] = number
                self._started += 1
                waiter.place.set_result(place)
            heapq.heappop(self._waiting)
        if self._waiting and self._fetching is None and not self._is_closed:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        self._beat_later()

    def _fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled() and not self._is_closed:
            self._serve()

    async def _fetch(self) -> None:
        """Ask for places as long as requests wait and there are none."""
        while waiting := [waiter for waiter in self._waiting if not waiter.place.done()]:
            if self._unused and self._paused_until <= _now():
                return
            if (pause_s := self._paused_until - _now()) > 0:
                await asyncio.sleep(min(pause_s, BEAT_S))
                continue
            now = _now()
            if not await self._send(wants=len(waiting), waited_s=now - min(waiter.since for waiter in waiting)):
                if now - self._heard > ALONE_S and not self._in_flight and not self._unused:
                    self._unused.append((self._first, math.inf))
                    self._first += 1
                await asyncio.sleep(AGAIN_S)
            self._serve()

    async def _send(self, *, wants: int = 0, waited_s: float = 0.0, answer_s: float = ANSWER_S) -> bool:
        """Tell the limiter what there is to tell, ask it for places, and say whether it has answered."""
        now, news = _now(), self._news
        self._news = _Gathered()
        if self._heard == -math.inf:
            self._heard = now  # from when on it is missed
        held = (*self._in_flight.values(), *(number for number, _ in self._unused))
        spare = 0 if self._is_tight else math.ceil(self._started / max(now - self._since, GOOD_S) * GOOD_S)
        if wants:
            self._started, self._since = 0, now
        first, losses = self._first, self._losses
        holds = held if losses > self._made_good else None
        ask = Ask(self._process, news.packed(now), wants, min(spare, MOST), first, waited_s, holds)
        try:
            async with asyncio.timeout(answer_s):
                lease = await self._ask(ask)
        except Exception:  # whatever the way there fails with
            self._losses += 1
            self._news = news.before(self._news)
            return False
        self._losses += not lease.is_known
        self._made_good = losses if holds is not None else self._made_good
        self._take_in(lease, first)
        return True

    def _take_in(self, lease: Lease, first: int) -> None:
        now = _now()
        self._heard = now
        self._is_tight = lease.is_tight
        self._first = max(self._first, first + lease.places)
        self._unused += ((number, now + GOOD_S) for number in range(first, first + lease.places))
        if lease.paused_s > 0:
            self._paused_until = max(self._paused_until, now + lease.paused_s)
            self._give_back(lambda good_until: True)
            for waiter in self._waiting:
                self._turn_away(waiter)

    def _end(self, place: Place) -> None:
        self._news.ended.append(self._in_flight.pop(place))
        if self._is_tight:
            self._tell()
        self._beat_later()

    def _tell(self) -> None:
        if self._telling is None and not self._is_closed:
            self._telling = asyncio.get_running_loop().create_task(self._tell_all())

    async def _tell_all(self) -> None:
        """Tell what there is, and what comes meanwhile as long as that is urgent."""
        try:
            await asyncio.sleep(0)  # what ends together is told together
            while await self._send() and self._is_tight and self._news:
                pass
        finally:
            self._telling = None
            self._beat_later()

    def _beat_later(self) -> None:
        if self._timer is None and not self._is_closed and (self._news or self._in_flight or self._unused):
            self._timer = asyncio.get_running_loop().call_later(GOOD_S, self._beat)

    def _beat(self) -> None:
        """Tell what has gathered, or that this process lives."""
        self._timer = None
        now = _now()
        self._give_back(lambda good_until: good_until < now)
        if self._news or now - self._heard > BEAT_S:
            self._tell()
        self._beat_later()

    def _give_back(self, which: Callable[[float], bool]) -> None:
        back = [number for number, good_until in self._unused if which(good_until)]
        self._news.unused += back
        if back:
            self._unused = deque(each for each in self._unused if not which(each[1]))

    def _turn_away(self, waiter: Waiter) -> None:
        """Let go who would wait in vain."""
        if max(_now(), self._paused_until) >= waiter.deadline and not waiter.place.done():
            waiter.place.set_result(None)


class _Gathered:
    """What there is to tell."""

    def __init__(self) -> None:
        self.ended: list[int] = []
        self.unused: list[int] = []
        self.answers = 0
        self.usage = Usage()
        self.took_s = 0.0
        self.told: tuple[float, Mapping[str, str]] | None = None
        self.refusals: list[tuple[Place, Mapping[str, str]]] = []

    def __bool__(self) -> bool:
        return bool(self.ended or self.unused or self.answers or self.told or self.refusals)

    def packed(self, now: float) -> News:
        told = Told(now - self.told[0], self.told[1]) if self.told else None
        refusals = (Refusal(now - place.started, headers, place.deadline - now) for place, headers in self.refusals)
        return News(tuple(self.ended), tuple(self.unused), self.answers, self.usage, self.took_s, told, tuple(refusals))

    def before(self, later: _Gathered) -> _Gathered:
        """Return this, which nobody heard, together with what came later."""
        self.ended += later.ended
        self.unused += later.unused
        self.answers += later.answers
        self.usage += later.usage
        self.took_s += later.took_s
        self.told = later.told or self.told
        self.refusals += later.refusals
        return self


def _of_limits(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those of an answer's headers that say something of limits."""
    return {name: headers[name] for name in SAID if name in headers}


def _now() -> float:
    return asyncio.get_running_loop().time()
