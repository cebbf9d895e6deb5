"""The limiter to the number: what each kind of token costs, how pauses grow, and what is known before any answer."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from pytest_rltask.models import limiter
from pytest_rltask.models.limiter import Limiter, NoPlace, backoff_s
from pytest_rltask.run.record import Usage
from tests.claude import virtual_time
from tests.claude.test_limiter import FAR, answered, left, refused, together


def tokens_left(kind: str, count: float, *, limit: int = 600) -> dict[str, str]:
    """Return headers that tell how many tokens of a kind are left; ten a second come back."""
    return {
        "date": "Thu, 21 Aug 2025 12:40:00 GMT",
        f"anthropic-ratelimit-{kind}-limit": str(limit),
        f"anthropic-ratelimit-{kind}-remaining": str(count),
    }


@pytest.fixture
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter._JITTER, "uniform", lambda low, high: high)


async def start(limits: Limiter) -> float:
    """Ask for a place, and return when it was given."""
    async with limits.place(FAR) as place:
        return place.started


def test_a_place_that_is_free_is_taken_without_a_waiter(monkeypatch: pytest.MonkeyPatch):
    async def takes() -> int:
        loop, made = asyncio.get_running_loop(), 0
        create = loop.create_future

        def noted() -> asyncio.Future[None]:
            nonlocal made
            made += 1
            return create()

        limits = Limiter()
        monkeypatch.setattr(loop, "create_future", noted)
        async with limits.place(FAR):
            pass
        return made

    assert virtual_time.run(takes()) == 0


# ---- tokens ----


@pytest.mark.parametrize(
    ("kind", "waits_s"),
    [
        ("input-tokens", 7),  # 100 read anew, 30 written to the cache: 130 and the reserve of 60, of which 120 are left
        ("output-tokens", 0),  # 20 and 60
        ("tokens", 9),  # 150 and 60
    ],
)
def test_a_request_costs_what_no_cache_served_and_what_it_says(kind: str, waits_s: float):
    usage = Usage(input_tokens=100, output_tokens=20, cache_read_tokens=5000, cache_write_tokens=30)

    async def waits() -> float:
        limits = Limiter()
        async with limits.place(FAR) as place:
            limits.answered(place, tokens_left(kind, 120), usage)
        return await start(limits)

    assert virtual_time.run(waits()) == pytest.approx(waits_s)


def test_what_requests_cost_follows_the_latest_by_a_fifth():
    async def waits() -> float:
        limits = Limiter()
        for count in (100, 200):
            async with limits.place(FAR) as place:
                limits.answered(place, tokens_left("input-tokens", 120), Usage(input_tokens=count))
        return await start(limits) - place.started

    # 100 + (200 - 100) / 5, and the reserve of 60
    assert virtual_time.run(waits()) == pytest.approx(6)


@pytest.mark.parametrize(("has", "waits_s"), [(60, 0), (59.5, 0.05), (0, 6)])
def test_before_any_answer_tokens_are_kept_for_nothing_but_the_reserve(has: float, waits_s: float):
    async def waits() -> list[float]:
        limits = Limiter()
        async with limits.place(FAR) as place:
            limits.told(place, tokens_left("input-tokens", has))  # of a fault
        return [await start(limits), await start(limits)]

    assert virtual_time.run(waits()) == pytest.approx([waits_s, waits_s])


def test_a_request_sent_before_any_answer_is_taken_to_cost_no_tokens():
    async def waits() -> float:
        limits = Limiter()
        async with limits.place(FAR) as place:
            limits.told(place, tokens_left("input-tokens", 60))  # of a fault
        async with limits.place(FAR) as place:
            limits.answered(place, {}, Usage(input_tokens=100))
        return await start(limits)

    assert virtual_time.run(waits()) == pytest.approx(10)  # 160 are needed, of which 60 are still left


def test_a_full_quota_smaller_than_a_request_lets_it_through():
    async def waits() -> float:
        limits = Limiter()
        async with limits.place(FAR) as place:
            limits.answered(place, tokens_left("input-tokens", 50, limit=60), Usage(input_tokens=1000))
        return await start(limits)

    assert virtual_time.run(waits()) == pytest.approx(10)  # one a second comes back, until it is full


def test_a_quota_never_holds_more_than_its_limit():
    async def starts() -> list[float]:
        limits = Limiter()
        await answered(limits, after_s=0, headers=left(60))
        await asyncio.sleep(600)
        return await together(*(start(limits) for _ in range(56)))

    begun = virtual_time.run(starts())

    assert [round(at - 600, 6) for at in begun[-3:]] == [0, 1, 2]  # 54 at once: six are the reserve


# ---- pauses ----


@pytest.mark.parametrize(("failures", "most_s"), [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (10_000, 30)])
def test_failures_in_a_row_wait_twice_as_long_each_up_to_half_a_minute(
    monkeypatch: pytest.MonkeyPatch, failures: int, most_s: float
):
    for share, bound in (("most", max), ("least", min)):
        monkeypatch.setattr(limiter._JITTER, "uniform", lambda low, high, bound=bound: bound(low, high))
        assert backoff_s(failures) == {"most": most_s, "least": 0.75 * most_s}[share]


@pytest.mark.usefixtures("_no_jitter")
def test_whoever_is_asked_to_wait_past_its_time_has_others_wait_a_minute():
    async def waits() -> float:
        limits = Limiter()
        await answered(limits, after_s=0)
        await refused(limits, deadline=100, **{"retry-after": "3600"})
        return await start(limits)

    assert virtual_time.run(waits()) == 60


@pytest.mark.usefixtures("_no_jitter")
@pytest.mark.parametrize(("asked", "waits_s"), [("99", 99), ("100", 60), ("101", 60), ("40", 40)])
def test_a_pause_up_to_the_deadline_of_whoever_was_refused_is_borne_by_all(asked: str, waits_s: float):
    async def waits() -> float:
        limits = Limiter()
        await answered(limits, after_s=0)
        await refused(limits, deadline=100, **{"retry-after": asked})
        return await start(limits)

    assert virtual_time.run(waits()) == waits_s


@pytest.mark.usefixtures("_no_jitter")
def test_a_shorter_pause_does_not_end_a_longer_one():
    async def waits() -> float:
        limits = Limiter()
        await answered(limits, after_s=0)
        async with limits.place(FAR) as one, limits.place(FAR) as two:
            limits.refused(one, {"retry-after": "20"})
            limits.refused(two, {"retry-after": "5"})
        return await start(limits)

    assert virtual_time.run(waits()) == 20


@pytest.mark.usefixtures("_no_jitter")
def test_an_answer_ends_the_row_of_refusals():
    async def waits() -> list[float]:
        limits = Limiter()
        await answered(limits, after_s=0)
        begun = [await refused(limits), await refused(limits), await answered(limits, after_s=0)]
        begun += [await refused(limits), await start(limits)]
        return [later - earlier for earlier, later in itertools.pairwise(begun)]

    assert virtual_time.run(waits()) == [0.5, 1, 0, 0.5]


@pytest.mark.usefixtures("_no_jitter")
def test_refused_before_the_first_answer_places_grow_by_one_a_round_and_not_without_bound():
    async def allowed() -> list[float]:
        limits, seen = Limiter(), list[float]()
        await refused(limits)
        seen.append(limits.allowed)
        for _ in range(3):
            await answered(limits)
            seen.append(limits.allowed)
        return seen

    assert virtual_time.run(allowed()) == [1, 2, 2.5, 2.9]


@pytest.mark.usefixtures("_no_jitter")
def test_who_was_in_flight_with_one_that_was_refused_is_of_the_same_round():
    async def allowed() -> list[float]:
        limits, seen = Limiter(), list[float]()
        await answered(limits, after_s=0)

        async def refuse(begin_s: float, takes_s: float) -> float:
            await asyncio.sleep(begin_s)
            async with limits.place(FAR) as place:
                await asyncio.sleep(takes_s)
                limits.refused(place, {})
                seen.append(limits.allowed)
            return place.started

        await together(*(refuse(0, 1 + number) for number in range(4)))
        return seen

    assert virtual_time.run(allowed()) == [2, 2, 2, 2]


# ---- places ----


def test_who_has_no_time_at_all_gets_no_place():
    async def none() -> int:
        limits = Limiter()
        loop = asyncio.get_running_loop()
        with pytest.raises(NoPlace, match="no answer yet"):
            async with limits.place(loop.time()):
                pass
        return limits.in_flight

    assert virtual_time.run(none()) == 0


def test_places_in_flight_are_counted():
    async def counted() -> list[int]:
        limits, seen = Limiter(), list[int]()
        await answered(limits, after_s=0)
        async with limits.place(FAR):
            seen.append(limits.in_flight)
            async with limits.place(FAR):
                seen.append(limits.in_flight)
            seen.append(limits.in_flight)
        return [*seen, limits.in_flight]

    assert virtual_time.run(counted()) == [1, 2, 1, 0]


@pytest.mark.usefixtures("_no_jitter")
def test_replies_that_take_longer_hand_out_places_more_slowly():
    async def starts() -> list[float]:
        limits = Limiter()
        await answered(limits, after_s=10)
        await answered(limits, after_s=20)  # 10 + (20 - 10) / 5: replies take 12 s

        async def refuse() -> float:
            async with limits.place(FAR) as place:
                await asyncio.sleep(1)
                limits.refused(place, {})
            return place.started

        await together(*(refuse() for _ in range(6)))
        begun = await together(*(answered(limits, after_s=100) for _ in range(3)))
        return [at - begun[0] for at in begun]

    # Twice as fast as replies come, of three places one in 2 s.
    assert virtual_time.run(starts()) == pytest.approx([0, 2, 4])
