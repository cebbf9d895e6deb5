"""What an episode lays out while the model reads its prompt: before anything else is asked of it, or it is closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_rltask import Environment, Episode, call
from pytest_rltask.models import ModelFault, Reply, Request, Start
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.run.record import Record
from pytest_rltask.trial.keeping import regraded
from pytest_rltask.trial.play import play, probe
from tests.support.workbench import Bench, BenchEpisode, play_bench, raises, spec_of

FIRST = ["prompt", "laid out", "info", "observe"]


class Laid(BenchEpisode):
    """Notes when it is laid out; in which way is up to its hooks."""

    def lay_out(self) -> Awaitable[None] | None:
        laid: Awaitable[None] | None = self.hooks.get("lay_out", lambda: None)()
        self.events.append("laid out")
        return laid


@dataclass(frozen=True)
class LaidBench(Bench):
    def open(self, seed: int) -> Episode:
        self.opened.append(Laid(self.hooks))
        return self.opened[-1]


@dataclass
class Slow:
    """A model that answers once it may, or fails then."""

    may: Callable[[], Awaitable[Any]]
    fault: ModelFault | None = None
    requests: list[Request] = field(default_factory=list)

    def player(self, start: Start) -> Slow:
        return self

    async def reply(self, request: Request) -> Reply:
        self.requests.append(request)
        await self.may()
        if self.fault is not None:
            raise self.fault
        return Reply([{"type": "text", "text": "Done."}], "end_turn", cost_usd=0.02)

    async def aclose(self) -> None:
        return None


async def at_once() -> None:
    return None


def test_it_is_laid_out_behind_its_prompt_and_before_anything_else():
    task = LaidBench()

    record = play_bench(task)

    assert task.opened[0].events[: len(FIRST)] == FIRST
    assert (record.outcome, task.opened[0].events[-1]) == ("passed", "close")


def test_the_model_reads_its_prompt_meanwhile():
    async def played() -> Record:
        asked, laid = asyncio.Event(), asyncio.Event()

        async def lay_out() -> None:
            await asyncio.wait_for(asked.wait(), 30)  # would never end if the model were asked behind it
            laid.set()

        async def answer() -> None:
            asked.set()
            await asyncio.wait_for(laid.wait(), 30)

        return await play(spec_of(LaidBench({"lay_out": lay_out})), Slow(answer))

    assert asyncio.run(played()).outcome == "passed"


def test_it_may_block_for_longer_than_the_trial_has_time():
    loops = threading.Event()

    def lay_out() -> None:
        assert not loops.wait(0.2)

    record = play_bench(LaidBench({"lay_out": lay_out}), wall_s=0.1)

    assert (record.limit, record.outcome) == (None, "passed")
    assert record.seconds["open"] >= 0.15


@pytest.mark.parametrize("is_async", [False, True])
def test_what_it_raises_is_the_tasks_fault_and_the_request_that_was_sent_is_paid(is_async: bool):
    async def fails() -> None:
        raise KeyError("no data")

    task = LaidBench({"lay_out": fails if is_async else raises(KeyError("no data"))})

    record = play_bench(task, Slow(at_once))  # type: ignore[arg-type]

    assert record.reason == "laying out the episode: KeyError: 'no data'"
    assert (record.outcome, record.fault and record.fault.kind, record.cost_usd) == ("errored", "task", 0.02)
    assert {"observe", "tried", "grade", "info"}.isdisjoint(task.opened[0].events)
    assert task.opened[0].events[-1] == "close"


def test_one_that_takes_too_long_is_the_tasks_fault():
    may = threading.Event()
    task = LaidBench({"lay_out": lambda: may.wait(30) and None})

    record = play_bench(task, tool_s=0.05)
    may.set()

    assert "laying out the episode did not return within 0.05 s" in record.reason
    assert "close" in task.opened[0].events


class Held:
    """A task whose episodes are laid out once they may be."""

    def __init__(self) -> None:
        self.begun, self.may = threading.Event(), threading.Event()
        self.task = LaidBench({"lay_out": self._wait})

    def _wait(self) -> None:
        self.begun.set()
        assert self.may.wait(30)

    async def began(self) -> None:
        await asyncio.to_thread(self.begun.wait, 30)

    async def ended(self, playing: asyncio.Future[Record]) -> None:
        """Let it be laid out, and wait for its trial, which has had every chance to close it before."""
        await asyncio.wait([playing], timeout=0.1)
        self.may.set()
        await asyncio.wait([playing])
        assert self.task.opened[0].events == ["prompt", "laid out", "close"]


def test_a_model_that_fails_meanwhile_is_told_and_it_is_closed_behind_it():
    held = Held()

    async def failed() -> Record:
        playing = asyncio.ensure_future(play(spec_of(held.task), Slow(held.began, ModelFault("overloaded"))))
        await held.began()
        await held.ended(playing)
        return playing.result()

    record = asyncio.run(failed())

    assert (record.reason, record.fault and record.fault.kind) == ("overloaded", "api")


def test_a_trial_that_is_cancelled_meanwhile_is_closed_behind_it():
    held = Held()

    async def cancelled() -> bool:
        playing = asyncio.ensure_future(play(spec_of(held.task), Slow(asyncio.Event().wait)))
        await held.began()
        playing.cancel()
        await held.ended(playing)
        return playing.cancelled()

    assert asyncio.run(cancelled())


def test_whoever_opens_an_episode_has_it_laid_out():
    task = LaidBench()

    record = asyncio.run(probe(spec_of(task)))
    asyncio.run(regraded(spec_of(task), record, {}))  # which closes it again
    with Environment(task) as environment:
        environment.reset(seed=3)
        environment.step([call("work")])

    laid = [episode.events[:3] for episode in task.opened]
    assert laid == [["prompt", "laid out", "info"]] * 3


def test_a_fault_in_it_is_told_by_a_probe():
    record = asyncio.run(probe(spec_of(LaidBench({"lay_out": raises(KeyError("no data"))}))))

    assert (record.outcome, record.reason) == ("errored", "laying out the episode: KeyError: 'no data'")


def test_a_policy_plays_what_is_laid_out():
    record = asyncio.run(play(spec_of(LaidBench(), history=("earlier",)), PolicyModel("moves")))

    assert (record.outcome, record.tool_calls) == ("passed", 1)
