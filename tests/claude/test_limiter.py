"""The limiter in virtual time: who may send a request when, after answers, refusals, pauses and cancellations."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_rltask.models import limiter
from pytest_rltask.models.limiter import MAX_PAUSE_S, Limiter, NoPlace
from pytest_rltask.run.record import Usage
from tests.claude import virtual_time

USAGE = Usage(100, 20)
FAR = 1e6
"""A deadline that never comes."""


async def answered(limits: Limiter, *, after_s: float = 1.0, headers: dict[str, str] | None = None) -> float:
    """Send a request that is answered, and return when it was sent."""
    async with limits.place(FAR) as place:
        await asyncio.sleep(after_s)
        limits.answered(place, headers or {}, USAGE)
    return place.started


async def refused(limits: Limiter, deadline: float = FAR, **headers: str) -> float:
    """Send a request that is refused at once, and return when it was sent."""
    async with limits.place(deadline) as place:
        limits.refused(place, {name.replace("_", "-"): value for name, value in headers.items()})
    return place.started


def left(requests: float, *, limit: int = 60, full_in_s: float = 60) -> dict[str, str]:
    """Return headers that tell how many requests are left."""
    return {
        "date": "Thu, 21 Aug 2025 12:40:00 GMT",
        "anthropic-ratelimit-requests-limit": str(limit),
        "anthropic-ratelimit-requests-remaining": str(requests),
        "anthropic-ratelimit-requests-reset": f"2025-08-21T12:{40 + full_in_s // 60:02.0f}:{full_in_s % 60:02.0f}Z",
    }


async def together(*work: Awaitable[float]) -> list[float]:
    """Begin work in its order, wait for all of it, and return what it returned."""
    return list(await asyncio.gather(*work))


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter._JITTER, "uniform", lambda low, high: high)


# ---- places ----


def test_until_the_first_answer_there_is_one_place_and_then_no_bound():
    async def starts() -> list[float]:
        limits = Limiter()
        return await together(*(answered(limits) for _ in range(5)))

    assert virtual_time.run(starts()) == [0, 1, 1, 1, 1]


def test_a_refusal_halves_the_requests_in_flight_once_a_round():
    async def allowed() -> list[float]:
        limits = Limiter()
        await answered(limits)
        seen = []

        async def refuse(after_s: float) -> float:
            async with limits.place(FAR) as place:
                await asyncio.sleep(after_s)
                limits.refused(place, {})
                seen.append(limits.allowed)
            return 0.0

        await together(*(refuse(0.01 * i) for i in range(8)))
        await answered(limits)
        seen.append(limits.allowed)
        return seen

    assert virtual_time.run(allowed()) == [*[4.0] * 8, 4.25]


def test_an_outage_halves_them_once_and_is_asked_ever_more_rarely():
    async def outage() -> tuple[list[float], float]:
        limits = Limiter()
        await answered(limits, after_s=0)
        begin = [await refused(limits) for _ in range(9)]
        return [later - earlier for earlier, later in itertools.pairwise(begin)], limits.allowed

    assert virtual_time.run(outage()) == ([0.5, 1, 2, 4, 8, 16, 30, 30], 1.0)


def test_after_a_pause_requests_are_handed_out_over_the_time_a_reply_takes():
    async def starts() -> list[float]:
        limits = Limiter()
        await answered(limits, after_s=8)

        async def refused_once() -> float:
            async with limits.place(FAR) as place:
                await asyncio.sleep(1)
                limits.refused(place, {"retry-after": "10"})
            return await answered(limits, after_s=8)

        return await together(*(refused_once() for _ in range(8)))

    # 4 of 8 places are left, and replies take 8 s: a place a second, and then as replies come.
    assert sorted(virtual_time.run(starts())) == pytest.approx([19, 20, 21, 22, 27, 28, 29, 30])


# ---- pauses ----


@pytest.mark.parametrize(
    ("asked", "waits_s"),
    [("7", 7), ("0", 0.5), ("-3", 0.5), ("nan", 0.5), ("inf", MAX_PAUSE_S), ("1e300", MAX_PAUSE_S)],
)
def test_everybody_waits_as_long_as_one_was_asked_to(asked: str, waits_s: float):
    async def starts() -> list[float]:
        limits = Limiter()
        await answered(limits, after_s=0)
        return await together(refused(limits, **{"retry-after": asked}), answered(limits))

    assert virtual_time.run(starts()) == [0, waits_s]


def test_a_pause_past_the_deadline_lets_go_at_once_those_who_have_no_time_and_no_others():
    async def played() -> tuple[list[object], float]:
        limits = Limiter()
        await answered(limits, after_s=0)
        await refused(limits, deadline=1000, **{"retry-after": "300"})

        async def hurried(deadline: float) -> str:
            begin = asyncio.get_running_loop().time()
            with pytest.raises(NoPlace) as caught:
                async with limits.place(deadline):
                    pass
            assert asyncio.get_running_loop().time() == begin
            return str(caught.value)

        said = await hurried(100.0)
        return [said], await answered(limits)

    assert virtual_time.run(played()) == (
        ["requests wait for another 300 s, and the trial has 100 s left (--trial-timeout)"],
        300,
    )


def test_those_who_wait_already_are_let_go_too():
    async def ended() -> float:
        limits = Limiter()
        waiting = asyncio.create_task(refused(limits, deadline=50.0))
        async with limits.place(1000.0) as place:
            await asyncio.sleep(5)
            limits.refused(place, {"retry-after": "300"})
            with pytest.raises(NoPlace, match="another 300 s, and the trial has 45 s left"):
                await waiting
            return asyncio.get_running_loop().time()

    assert virtual_time.run(ended()) == 5


@pytest.mark.parametrize(("is_answering", "said"), [(False, "no answer yet to the first"), (True, "let no further")])
def test_who_gets_no_place_in_time_is_told_why(is_answering: bool, said: str):
    async def wait() -> float:
        limits = Limiter()
        if is_answering:
            await answered(limits, after_s=0)
            await refused(limits)
        async with limits.place(FAR):
            with pytest.raises(NoPlace, match=f"{said}.*--trial-timeout"):
                async with limits.place(20.0):
                    pass
            return asyncio.get_running_loop().time()

    assert virtual_time.run(wait()) == 20


# ---- quotas ----


def test_what_remains_is_used_at_once_and_then_at_the_pace_at_which_it_refills():
    async def starts() -> list[float]:
        limits = Limiter()
        await answered(limits, after_s=0, headers=left(10, full_in_s=50))  # 60 a minute, 6 of them the reserve

        return await together(*(quick(limits) for _ in range(8)))

    async def quick(limits: Limiter) -> float:
        async with limits.place(FAR) as place:
            return place.started

    assert virtual_time.run(starts()) == pytest.approx([0, 0, 0, 0, 1, 2, 3, 4])


def test_what_was_sent_after_a_request_may_not_be_counted_in_its_answer():
    async def start() -> float:
        limits = Limiter()
        await answered(limits, after_s=0)

        async def long(after_s: float) -> None:
            await asyncio.sleep(after_s)
            await answered(limits, after_s=100)

        later = [asyncio.create_task(long(0.5)) for _ in range(3)]
        await answered(limits, headers=left(9, full_in_s=51))  # 3 more than the reserve, and they are in flight
        begin = await answered(limits)
        for task in later:
            task.cancel()
        return begin

    assert virtual_time.run(start()) == 2


def test_tokens_are_paced_by_what_replies_used():
    headers = {
        "anthropic-ratelimit-output-tokens-limit": "600",
        "anthropic-ratelimit-output-tokens-remaining": "60",
        "date": "Thu, 21 Aug 2025 12:40:00 GMT",
        "anthropic-ratelimit-output-tokens-reset": "2025-08-21T12:40:54Z",
    }

    async def starts() -> list[float]:
        limits = Limiter()
        await answered(limits, after_s=0, headers=headers)  # 20 tokens of 600 a minute
        return await together(*(answered(limits, after_s=0) for _ in range(3)))

    assert virtual_time.run(starts()) == pytest.approx([2, 4, 6])


def test_a_quota_that_cannot_be_right_keeps_nobody_for_long():
    nothing = {**left(0), "anthropic-ratelimit-requests-reset": "2999-01-01T00:00:00Z"}

    async def starts() -> list[float]:
        limits = Limiter()
        await answered(limits, after_s=0, headers=nothing)
        return await together(*(answered(limits, after_s=0, headers=nothing) for _ in range(3)))

    assert virtual_time.run(starts()) == [15, 30, 45]


# ---- whatever happens ----


@dataclass(frozen=True)
class Trial:
    """What becomes of one trial's requests."""

    begins_s: float
    deadline_s: float
    answers: list[str]
    """Of its requests in order: "ok", "fault", or what a refusal has for `retry-after`."""
    takes_s: float
    cancelled_s: float | None


TRIALS = st.builds(
    Trial,
    begins_s=st.floats(0, 10),
    deadline_s=st.floats(0, 2000),
    answers=st.lists(st.sampled_from(["ok", "ok", "fault", "0", "3", "90", "inf"]), max_size=6),
    takes_s=st.sampled_from([0.0, 0.01, 1.0, 30.0]),
    cancelled_s=st.none() | st.floats(0, 100),
)


@settings(deadline=None)
@given(st.lists(TRIALS, max_size=12))
def test_nobody_starves_no_place_is_lost_and_never_are_more_in_flight_than_allowed(trials: list[Trial]):
    async def requests(limits: Limiter, trial: Trial) -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(trial.begins_s)
        for answer in trial.answers:
            with suppress(NoPlace):
                async with limits.place(trial.deadline_s) as place:
                    assert limits.in_flight <= limits.allowed
                    assert place.started <= trial.deadline_s
                    await asyncio.sleep(trial.takes_s)
                    match answer:
                        case "ok":
                            limits.answered(place, left(3), USAGE)
                        case "fault":
                            limits.told(place, left(0))
                        case _:
                            limits.refused(place, {"retry-after": answer})
            # Everybody is heard by the deadline, but for a request that was in flight then.
            assert loop.time() <= max(trial.deadline_s, trial.begins_s) + trial.takes_s + 1e-6

    async def all_played() -> None:
        limits = Limiter()
        tasks = [asyncio.create_task(requests(limits, trial)) for trial in trials]
        for task, trial in zip(tasks, trials, strict=True):
            if trial.cancelled_s is not None:
                asyncio.get_running_loop().call_later(trial.cancelled_s, task.cancel)
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [error for error in ended if not isinstance(error, asyncio.CancelledError | None)] == []
        assert limits.in_flight == 0
        await answered(limits)  # the one place there is, at least, is free

    virtual_time.run(all_played())


def test_places_are_given_in_the_order_in_which_they_were_asked_for():
    async def order() -> list[int]:
        limits, served = Limiter(), list[int]()

        async def ask(number: int) -> float:
            async with limits.place(FAR) as place:
                served.append(number)
                await asyncio.sleep(1)
                limits.refused(place, {"retry-after": "2"})
            return 0.0

        await together(*(ask(number) for number in range(6)))
        return served

    assert virtual_time.run(order()) == list(range(6))


def test_a_refused_request_keeps_its_turn():
    async def order() -> list[str]:
        limits, served = Limiter(), list[str]()

        async def ask(name: str) -> None:
            begin = asyncio.get_running_loop().time()
            async with limits.place(FAR) as place:
                limits.refused(place, {})
            async with limits.place(FAR, since=begin) as place:
                served.append(name)

        async def ask_later(name: str) -> None:
            await asyncio.sleep(0.1)
            async with limits.place(FAR):
                served.append(name)

        await asyncio.gather(ask_later("b"), ask("a"), ask_later("c"))
        return served

    assert virtual_time.run(order()) == ["a", "b", "c"]
