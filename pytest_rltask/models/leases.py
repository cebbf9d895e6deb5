"""One limiter for many processes: it lends out places of requests, in lots, and hears what became of them.

A process asks for as many places as it has use for (`Ask`), and gets a `Lease`: at once if there are some, else as soon
as there is one. While the API takes whatever comes, a lease covers what the process sends in a second, so that asking
costs it nothing; once the API refuses requests or a quota is half used up, each place is asked for by itself and given
back at once. What was answered and refused comes with the next ask, refusals without delay.

A process that is not heard of for a while is dead, and what it held is free again. A limiter that was started anew
knows nothing: it says so to whoever asks, is told what is in flight, and begins, as every limiter, with one place.

Nothing here knows how asks travel. Times are seconds that have passed, since clocks of machines differ.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import astuple, dataclass, field

from pytest_rltask.models.limiter import Limiter, NoPlace, Place
from pytest_rltask.run.record import Usage

__all__ = ["BEAT_S", "GOOD_S", "MOST", "SILENT_S", "Ask", "Lease", "Lessor", "News", "Refusal", "Told"]

GOOD_S = 1.0
"""Seconds for which a place that is not used yet is good."""
POLL_S = 5.0
"""Seconds after which an ask is answered, if only with nothing."""
BEAT_S = 5.0
"""Seconds after which a process that holds places is heard of, whatever happens."""
SILENT_S = 30.0
"""Seconds after which one that was not heard of is taken for dead."""
MOST = 64
"""Places that one lease holds at most."""


@dataclass(frozen=True)
class Told:
    """What the headers of an answer say, and when its request was sent."""

    sent_ago_s: float
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Refusal(Told):
    """A request that the API refused for now."""

    left_s: float
    """Until its deadline."""


@dataclass(frozen=True)
class News:
    """What became of a process's places since it was last heard of."""

    ended: tuple[int, ...] = ()
    unused: tuple[int, ...] = ()
    """Those that it gives back, not having sent a request."""
    answers: int = 0
    usage: Usage = field(default_factory=Usage)
    """Of all the answers together."""
    took_s: float = 0.0
    """Of all the answers together."""
    told: Told | None = None
    """The headers of the answer whose request was sent last."""
    refusals: tuple[Refusal, ...] = ()


@dataclass(frozen=True)
class Ask:
    """What a process says to the limiter."""

    process: str
    """A name that no other has."""
    news: News = field(default_factory=News)
    wants: int = 0
    """Requests that wait for a place; 0: it has something to tell, and asks for nothing."""
    spare: int = 0
    """Requests that it expects to send before long."""
    first: int = 0
    """Number that it gives to the first of the places."""
    waited_s: float = 0.0
    """Seconds since the first of these requests was made."""
    holds: tuple[int, ...] | None = None
    """Numbers of all places that it holds; None: as the limiter knows."""


@dataclass(frozen=True)
class Lease:
    """What the limiter says to a process."""

    places: int = 0
    """How many it may use, numbered from the ask's `first`."""
    paused_s: float = 0.0
    """Seconds for which nobody is to send anything."""
    is_tight: bool = True
    """Whether each place counts, and is given back as soon as it is free."""
    is_known: bool = True
    """Whether the limiter knows what the process holds; else it is to be told with the next ask."""


class _Process:
    """A process as the limiter knows it."""

    def __init__(self, now: float) -> None:
        self.heard = now
        self.places: dict[int, Place] = {}
        self.asks = 0
        """Those for places: an answer to any but the last is not awaited any more."""


class Lessor:
    """The limiter of all requests to one model, whichever process sends them. It belongs to one event loop."""

    def __init__(self) -> None:
        self.limiter = Limiter()
        """That of the account."""
        self._processes: dict[str, _Process] = {}

    async def ask(self, ask: Ask) -> Lease:
        """Take in what a process says, and lend it places, once there are any; nothing if that takes too long."""
        now = asyncio.get_running_loop().time()
        self._forget_the_dead(now)
        is_known = ask.process in self._processes or ask.holds is not None or ask.first == 0
        process = self._processes.get(ask.process) or _Process(now)
        if is_known:
            self._processes[ask.process] = process
        process.heard = now
        self._take_in(ask, process, now)
        count = await self._lend(ask, process, now) if ask.wants and is_known else 0
        return Lease(count, self.limiter.paused_s, self.limiter.is_tight, is_known)

    def _take_in(self, ask: Ask, process: _Process, now: float) -> None:
        limiter, news = self.limiter, ask.news
        if ask.holds is not None:
            held = set(ask.holds)
            for number in process.places.keys() - held:
                limiter.free(process.places.pop(number))
            for number in sorted(held - process.places.keys()):
                process.places[number] = Place(now, now)
                limiter.hold(process.places[number])
        for refusal in news.refusals:
            limiter.refused(Place(now - refusal.sent_ago_s, now + refusal.left_s), refusal.headers)
        if news.answers:
            told = news.told or Told(0.0, {})
            each = Usage(*(tokens // news.answers for tokens in astuple(news.usage)))
            sent = Place(now - told.sent_ago_s, now)
            limiter.answered(sent, told.headers, each, count=news.answers, took_s=news.took_s / news.answers)
        elif news.told:
            limiter.told(Place(now - news.told.sent_ago_s, now), news.told.headers)
        for numbers, unused in ((news.ended, False), (news.unused, True)):
            for number in numbers:
                if place := process.places.pop(number, None):
                    limiter.free(place, unused=unused)

    async def _lend(self, ask: Ask, process: _Process, now: float) -> int:
        """Wait for the first place, take what else there is, and return how many these are."""
        process.asks = this = process.asks + 1
        try:
            first = await self.limiter.take(now + POLL_S, since=now - ask.waited_s)
        except NoPlace:
            return 0
        now = asyncio.get_running_loop().time()
        process.heard = max(process.heard, now)
        lent = [first]
        most = min(MOST, ask.wants + ask.spare)
        while len(lent) < most and (place := self.limiter.take_now(now, spare=len(lent) >= ask.wants)):
            lent.append(place)
        if self._processes.get(ask.process) is not process or process.asks != this:  # nobody awaits them any more
            for place in lent:
                self.limiter.free(place, unused=True)
            return 0
        for number, place in enumerate(lent, ask.first):
            if lost := process.places.pop(number, None):  # of a lease that never arrived
                self.limiter.free(lost)
            process.places[number] = place
        return len(lent)

    def _forget_the_dead(self, now: float) -> None:
        for name in [name for name, each in self._processes.items() if now - each.heard > SILENT_S]:
            for place in self._processes.pop(name).places.values():
                self.limiter.free(place)
