"""A model at an episode: what it is asked, by when, and what the record keeps of each of its replies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_rltask import Limits
from pytest_rltask.models import ModelFault, Reply, Request, Start
from pytest_rltask.run.record import Record, RequestLog, Usage
from pytest_rltask.trial.conversation import Conversation
from pytest_rltask.trial.guard import TrialFault
from pytest_rltask.trial.turns import Turns
from tests.claude import virtual_time
from tests.support.workbench import BenchEpisode, FakeModel

NUDGED = {"nudge": lambda: "Go on."}


@dataclass
class Held:
    """A conversation, and what came of it."""

    record: Record
    turns: Turns
    asked: list[Request] = field(default_factory=list)


async def at_once(function: Callable[[], Any], what: str, *, within_s: float) -> Any:
    return function()


def hold(*replies: Reply | Exception, on_request: Callable[[Request], None] | None = None, **limits: Any) -> Held:
    """Hold a conversation in virtual time."""

    async def held() -> Held:
        record = Record("bench[run-00]", "bench", "d", "fake", 0, 42)
        worker: Any = SimpleNamespace(waited_s=0.0, run=None, awaited=at_once)
        held = Held(record, Turns(record, BenchEpisode(NUDGED), worker, limits=Limits(**limits)))
        model = FakeModel(
            replies, on_request=lambda request: (held.asked.append(request), on_request and on_request(request))
        )
        await Conversation(held.turns, {}).hold(model)
        return held

    return virtual_time.run(held())


def says(text: str = "Hm.", **fields: Any) -> Reply:
    return Reply([{"type": "text", "text": text}], "end_turn", **fields)


def end(**fields: Any) -> Reply:
    return Reply([], "refusal", **fields)


@pytest.mark.parametrize(("wall_s", "deadline"), [(10.0, 20.0), (59.5, 119.0), (60.0, 120.0), (1000.0, 1060.0)])
def test_a_reply_under_way_has_a_minute_more_and_at_most_as_long_as_the_trial(wall_s: float, deadline: float):
    assert hold(end(), wall_s=wall_s).asked[0].deadline == deadline


def test_what_the_api_lost_of_a_trials_time_is_given_back():
    held = hold(says(lost_s=5.0), says(lost_s=2.5), end(), wall_s=100.0)

    assert [request.deadline for request in held.asked] == [160, 165, 167.5]
    assert held.turns.deadline == 107.5


def test_a_request_says_whether_it_extends_one_that_was_answered():
    held = hold(says(), end(), reply_tokens=77)

    assert [request.extends for request in held.asked] == [False, True]
    assert {request.max_tokens for request in held.asked} == {77}


def test_of_each_reply_the_record_keeps_what_it_cost_and_how_long_it_took():
    fields: dict[str, Any] = {"model": "fake-1", "request_id": "req", "cost_usd": 0.5, "faults": ("HTTP 500",)}
    reply = says(usage=Usage(1, 2, 3, 4), latency_s=1.23456, lost_s=0.98765, **fields)

    held = hold(reply, end())

    assert held.record.requests[0] == RequestLog(
        "req", "fake-1", "end_turn", Usage(1, 2, 3, 4), 0.5, 1.2346, 0.9877, ("HTTP 500",), empty=False
    )
    assert (held.record.requests[1].empty, held.record.requests[1].stop_reason) == (True, "refusal")


def test_of_a_request_that_is_cancelled_an_estimate_is_kept_beside_what_was_answered():
    record = Record("bench[run-00]", "bench", "d", "fake", 0, 42)

    class Silent(FakeModel):
        async def reply(self, request: Request) -> Reply:
            if not record.requests:
                return says()
            request.under_way.append(lambda: end(usage=Usage(100), request_id="estimate"))
            await asyncio.sleep(1e6)
            raise AssertionError("it is cancelled before")

    async def cancelled() -> None:
        worker: Any = SimpleNamespace(waited_s=0.0, run=None, awaited=at_once)
        turns = Turns(record, BenchEpisode(NUDGED), worker, limits=Limits())
        holding = asyncio.create_task(Conversation(turns, {}).hold(Silent([])))
        await asyncio.sleep(1)
        holding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await holding

    virtual_time.run(cancelled())

    assert [log.request_id for log in record.requests] == [None, "estimate"]
    assert record.usage.total == 100


@pytest.mark.parametrize("billed", [None, end(usage=Usage(7), cost_usd=0.25)])
def test_what_was_billed_for_no_reply_is_kept(billed: Reply | None):
    record = Record("bench[run-00]", "bench", "d", "fake", 0, 42)

    async def failed() -> None:
        worker: Any = SimpleNamespace(waited_s=0.0, run=None, awaited=at_once)
        turns = Turns(record, BenchEpisode(NUDGED), worker, limits=Limits())
        with pytest.raises(TrialFault, match="down"):
            await Conversation(turns, {}).hold(FakeModel([says(), ModelFault("down", billed=billed)]))

    virtual_time.run(failed())

    assert len(record.requests) == 1 + (billed is not None)
    assert record.cost_usd == (0.25 if billed else 0)


def test_a_player_is_told_what_it_may_know():
    told: list[Start] = []

    class Curious(FakeModel):
        def player(self, start: Start) -> FakeModel:
            told.append(start)
            return super().player(start)

    async def held() -> None:
        record = Record("bench[run-00]", "bench", "d", "fake", 0, 42)
        worker: Any = SimpleNamespace(waited_s=0.0, run=None, awaited=at_once)
        turns = Turns(record, BenchEpisode({}), worker, limits=Limits(), history=["depth 3"])
        await Conversation(turns, {"moves": print}).hold(Curious([]))

    virtual_time.run(held())

    (start,) = told
    assert (start.task, start.seed, start.prompt) == ("bench", 42, "Work.")
    assert (start.tools, start.history, list(start.policies)) == (("work", "rest"), ("depth 3",), ["moves"])
