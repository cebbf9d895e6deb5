"""One limiter for many processes, in virtual time: what they send together, whatever dies or is lost on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_rltask.models import leased
from pytest_rltask.models.leased import LeasedLimiter
from pytest_rltask.models.leases import SILENT_S, Ask, Lease, Lessor
from pytest_rltask.models.limiter import NoPlace
from pytest_rltask.run.record import Usage
from tests.claude import virtual_time

USAGE = Usage(100, 20)
FAR = 1e6
EPOCH = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


@dataclass
class Office:
    """Where asks of processes arrive, unless they are lost; its limiter can be replaced by one that knows nothing."""

    latency_s: float = 0.002
    lessor: Lessor = field(default_factory=Lessor)
    asks: int = 0
    loses: Callable[[], str] = lambda: ""
    """Says whether the next ask is lost on its way ("ask"), or its answer ("answer")."""

    async def ask(self, ask: Ask) -> Lease:
        self.asks += 1
        lost = self.loses()
        await asyncio.sleep(self.latency_s)
        if lost == "ask":
            raise ConnectionError(lost)
        lease = await self.lessor.ask(ask)
        await asyncio.sleep(self.latency_s)
        if lost == "answer":
            raise ConnectionError(lost)
        return lease


@dataclass
class Account:
    """The API as one account sees it: a bucket of requests that refills continuously; 429 when it is empty."""

    per_minute: int
    answers_s: tuple[float, float] = (2.0, 12.0)
    statuses: list[int] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0
    _rng: random.Random = field(default_factory=lambda: random.Random(7))
    _at: float = 0.0

    def __post_init__(self) -> None:
        self._left = float(self.per_minute)

    async def answer(self) -> tuple[int, dict[str, str]]:
        now, per_s = asyncio.get_running_loop().time(), self.per_minute / 60
        self._left, self._at = min(self.per_minute, self._left + (now - self._at) * per_s), now
        is_refused = self._left < 1
        self._left -= not is_refused
        self.statuses.append(429 if is_refused else 200)
        headers = {
            "date": format_datetime(_utc(now), usegmt=True),
            "anthropic-ratelimit-requests-limit": str(self.per_minute),
            "anthropic-ratelimit-requests-remaining": str(int(self._left)),
            "anthropic-ratelimit-requests-reset": _utc(now + (self.per_minute - self._left) / per_s).isoformat(
                "T", "seconds"
            ),
        }
        if is_refused:
            return 429, {**headers, "retry-after": f"{(1 - self._left) / per_s + 0.5:.0f}"}
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            await asyncio.sleep(self._rng.uniform(*self.answers_s))
        finally:
            self.in_flight -= 1
        return 200, headers


def _utc(now: float) -> datetime:
    return datetime.fromtimestamp(EPOCH + now, UTC)


async def converse(limits: LeasedLimiter, account: Account, turns: int) -> float:
    """Send requests, each until it is answered, and return when the last was."""
    loop = asyncio.get_running_loop()
    for _ in range(turns):
        since, status = loop.time(), 0
        while status != 200:
            async with limits.place(FAR, since=since) as place:
                status, headers = await account.answer()
                (limits.refused(place, headers) if status == 429 else limits.answered(place, headers, USAGE))
    return loop.time()


async def play(account: Account, office: Office, *, processes: int, trials: int, turns: int = 8) -> float:
    """Have trials of several processes converse with one account, and return the seconds until the last has ended."""
    limits = [LeasedLimiter(office.ask, f"process {number}") for number in range(processes)]
    ends = await asyncio.gather(*(converse(limits[n % processes], account, turns) for n in range(trials)))
    await asyncio.gather(*(each.aclose() for each in limits))
    assert office.lessor.limiter.in_flight == 0
    return max(ends)


@pytest.mark.parametrize("per_minute", [5, 50, 1000])
def test_four_processes_keep_the_quota_of_their_account(per_minute: int):
    account, office = Account(per_minute), Office()

    seconds = virtual_time.run(play(account, office, processes=4, trials=200, turns=8))

    assert account.statuses.count(200) == 1600
    assert account.statuses.count(429) / len(account.statuses) <= 0.02
    at_best = (1600 - per_minute) / per_minute * 60
    assert seconds <= 1.1 * at_best + 8 * 7  # which a conversation takes by itself


def test_an_account_that_may_do_more_than_the_trials_want_slows_nobody_down():
    account, office = Account(10_000, answers_s=(0.5, 0.5)), Office()

    seconds = virtual_time.run(play(account, office, processes=4, trials=400, turns=6))

    assert 429 not in account.statuses
    assert seconds <= 0.5 * 7 * 1.1  # the first answer of all is awaited
    assert office.asks <= 2400 / 20


def test_until_the_first_answer_one_request_of_all_processes_is_in_flight():
    account, office = Account(1000, answers_s=(3.0, 3.0)), Office()

    async def begin() -> int:
        limits = [LeasedLimiter(office.ask, name) for name in "abcd"]
        tasks = [asyncio.create_task(converse(each, account, 1)) for each in limits for _ in range(5)]
        await asyncio.sleep(2.9)
        peak = account.peak
        await asyncio.gather(*tasks)
        return peak

    assert virtual_time.run(begin()) == 1
    assert account.peak == 19


def test_a_refusal_in_one_process_pauses_all():
    office = Office()

    async def starts() -> list[float]:
        one, other = (LeasedLimiter(office.ask, name) for name in ("one", "other"))
        async with one.place(FAR) as place:
            one.answered(place, {}, USAGE)
        async with one.place(FAR) as place:
            one.refused(place, {"retry-after": "20"})
        await asyncio.sleep(0.1)
        began = []
        for each in (other, one):
            async with each.place(FAR) as place:
                each.answered(place, {}, USAGE)
                began.append(place.started)
        return began

    assert virtual_time.run(starts()) == pytest.approx([20, 20], abs=0.2)


def test_a_pause_past_the_deadline_lets_go_at_once():
    office = Office()

    async def told() -> tuple[str, float]:
        one, other = (LeasedLimiter(office.ask, name) for name in ("one", "other"))
        async with one.place(FAR) as place:
            one.answered(place, {}, USAGE)
        async with one.place(1000) as place:
            one.refused(place, {"retry-after": "300"})
        await asyncio.sleep(0.1)
        with pytest.raises(NoPlace) as caught:
            async with other.place(100):
                pass
        return str(caught.value), asyncio.get_running_loop().time()

    said, at = virtual_time.run(told())

    assert said == "requests wait for another 300 s, and the trial has 100 s left (--trial-timeout)"
    assert at < 1


def test_what_a_dead_process_held_is_free_again():
    office = Office()

    async def starts() -> float:
        dead, other = (LeasedLimiter(office.ask, name) for name in ("dead", "other"))
        waiting = asyncio.Event()

        async def die() -> None:
            async with dead.place(FAR):
                waiting.set()
                await asyncio.sleep(FAR)

        task = asyncio.create_task(die())
        await waiting.wait()
        kill(dead)
        async with other.place(FAR) as place:
            task.cancel()
            return place.started

    assert SILENT_S <= virtual_time.run(starts()) <= SILENT_S + 10


def test_a_limiter_that_does_not_answer_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch):
    account = Account(1000)
    monkeypatch.setattr(leased, "ALONE_S", 20.0)

    async def never(ask: Ask) -> Lease:
        await asyncio.sleep(FAR)
        raise AssertionError

    async def played() -> float:
        limits = LeasedLimiter(never, "alone")
        return max(await asyncio.gather(*(converse(limits, account, 2) for _ in range(3))))

    assert virtual_time.run(played()) < 300
    assert account.peak == 1


def kill(limits: LeasedLimiter) -> None:
    """Have a process say nothing any more."""

    async def nothing(ask: Ask) -> Lease:
        await asyncio.sleep(FAR)
        raise AssertionError

    limits._ask = nothing
    for task in (limits._fetching, limits._telling):
        if task is not None:
            task.cancel()


@dataclass(frozen=True)
class Chaos:
    """What goes wrong in one example."""

    seed: int
    loses: float
    """Share of the asks that are lost, or their answers."""
    restarts_s: tuple[float, ...]
    """When the limiter is replaced."""
    dies_s: tuple[float, ...]
    """When the first processes die, one each."""


CHAOS = st.builds(
    Chaos,
    seed=st.integers(0, 2**32),
    loses=st.sampled_from([0.0, 0.0, 0.1, 0.5]),
    restarts_s=st.lists(st.floats(0, 60), max_size=3).map(tuple),
    dies_s=st.lists(st.floats(0, 60), max_size=3).map(tuple),
)


@settings(deadline=None, max_examples=60)
@given(CHAOS, st.sampled_from([20, 200, 5000]))
def test_whatever_dies_or_is_lost_the_others_go_on_and_no_place_is_lost(chaos: Chaos, per_minute: int):
    rng = random.Random(chaos.seed)
    account = Account(per_minute, answers_s=(0.1, 8.0))
    office = Office(loses=lambda: rng.choice(("ask", "answer")) if rng.random() < chaos.loses else "")

    async def all_played() -> None:
        loop = asyncio.get_running_loop()
        limits = [LeasedLimiter(office.ask, f"process {number}") for number in range(5)]
        tasks = [asyncio.create_task(converse(each, account, 4)) for each in limits for _ in range(5)]
        groups = [tasks[5 * number : 5 * number + 5] for number in range(5)]

        def die(number: int) -> None:
            kill(limits[number])
            for task in groups[number]:
                task.cancel()

        for number, at in enumerate(chaos.dies_s):
            loop.call_later(at, die, number)
        for at in chaos.restarts_s:
            loop.call_later(at, lambda: setattr(office, "lessor", Lessor()))
        dead = len(chaos.dies_s)
        ended = await asyncio.gather(*tasks[5 * dead :])
        assert len(ended) == 5 * (5 - dead)
        # At the account's pace, with the time that the dead are waited for, and lost messages.
        assert max(ended) <= 60 + 100 * 60 / per_minute + 40 * len(chaos.dies_s) + (600 if chaos.loses else 100)
        office.loses = lambda: ""
        for each in limits[dead:]:
            await each.aclose()
        await asyncio.sleep(SILENT_S + 1)
        await office.lessor.ask(Ask("anybody"))
        assert office.lessor.limiter.in_flight == 0
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)

    virtual_time.run(all_played())
