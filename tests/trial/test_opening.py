"""From what is to be played to an open episode and back: who closes it, what it is told, and how long all took."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_rltask.audit.omissions import toolless
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.run.record import Fault, Record
from pytest_rltask.trial import opening
from pytest_rltask.trial.opening import completed, sources_of
from pytest_rltask.trial.play import play, probe, unplayed
from tests.support import workbench
from tests.support.workbench import Bench, BenchEpisode, play_bench, raises, spec_of


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that another thread does at once."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def trial_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "rltask-trial"}


# ---- who closes it ----


async def opened_late(opens: Callable[[], Any], may: threading.Event) -> tuple[Record, list[str]]:
    """Play a trial whose episode opens once it may, which is too late; return what the loop complained of."""
    problems: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: problems.append(context["message"]))

    def late() -> Any:
        assert may.wait(30)
        return opens()

    record = await play(spec_of(Bench({"open": late}), tool_s=0.01), PolicyModel("moves"))
    before = trial_threads()
    may.set()
    while trial_threads() & before:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)
    return record, problems


def test_an_episode_that_opens_too_late_is_closed_all_the_same():
    episode = BenchEpisode({})

    record, problems = asyncio.run(opened_late(lambda: episode, threading.Event()))

    assert record.outcome == "errored"
    assert "opening the episode did not return within 0.01 s" in record.reason
    assert (episode.events, problems) == (["close"], [])


def test_what_is_raised_too_late_bothers_nobody():
    record, problems = asyncio.run(opened_late(raises(KeyError("late")), threading.Event()))

    assert record.outcome == "errored"
    assert problems == []


def test_an_episode_whose_tool_does_not_return_is_closed_by_another_thread_and_none_is_left():
    before, may, closed_in = trial_threads(), threading.Event(), list[int]()
    hooks = {"work": lambda: may.wait(30), "close": lambda: closed_in.append(threading.get_ident())}

    record = play_bench(Bench(hooks), tool_s=0.5)

    assert "tool work did not return" in record.reason
    until(lambda: bool(closed_in) and len(trial_threads() - before) == 1)
    (stuck,) = trial_threads() - before
    assert closed_in != [stuck.ident]
    may.set()
    until(lambda: trial_threads() <= before)


def test_no_thread_is_left_of_a_trial():
    before = trial_threads()

    play_bench(Bench())
    asyncio.run(probe(spec_of(Bench())))

    until(lambda: trial_threads() <= before)


# ---- what is known of it ----


def test_a_trial_ends_with_what_isolated_it_and_how_long_it_took(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(opening, "monotonic_s", lambda: 107.123456)
    record = Record("t", "t", "d", "m", 0, 0, seconds={"open": 0.123456, "model": 2.0})

    ended = completed(record, SimpleNamespace(used="landlock", images={"gcc:13": "sha256:1"}, code_ran=True), 100.0)  # type: ignore[arg-type]

    assert ended.seconds == {"open": 0.1235, "model": 2.0, "total": 7.1235}
    assert (ended.sandbox, ended.images, ended.fault) == ("landlock", {"gcc:13": "sha256:1"}, None)
    assert record.seconds == {"open": 0.123456, "model": 2.0}


@pytest.mark.parametrize(("kind", "noted"), [("sandbox", True), ("task", None)])
def test_of_a_fault_of_the_sandbox_it_is_noted_whether_code_had_run(kind: Any, noted: bool | None):
    record = Record("t", "t", "d", "m", 0, 0, fault=Fault(kind, "died"))

    ended = completed(record, SimpleNamespace(used="", images={"gcc:13": "sha256:1"}, code_ran=True), 0.0)  # type: ignore[arg-type]

    assert ended.fault is not None
    assert ended.fault.code_ran is noted


def test_the_sources_of_a_task_are_its_authors_files():
    assert sources_of(Bench()) == [workbench.__file__]


def test_a_task_made_of_another_has_the_files_of_both():
    @dataclass(frozen=True)
    class Derived(Bench):
        """A task of this file."""

    assert {Path(file) for file in sources_of(Derived())} == {Path(workbench.__file__), Path(__file__)}
    assert toolless(Derived).startswith("the episodes of task Derived have no tool")


# ---- what is told of the sandbox ----


@dataclass(frozen=True)
class Boxed(Bench):
    needs_sandbox: bool = True  # type: ignore[misc]


@pytest.mark.parametrize("needs", [True, False])
def test_who_runs_code_is_told_how_its_sandbox_differs_and_nobody_else(monkeypatch: pytest.MonkeyPatch, needs: bool):
    monkeypatch.setattr(opening, "differences", lambda backend: ("There is no network.", "Files end at 1 GB."))

    record = play_bench(Boxed(needs_sandbox=needs))

    told = (
        "Your code runs in a sandbox, which differs from an ordinary machine:\n"
        "- There is no network.\n- Files end at 1 GB."
    )
    assert [block["text"] for block in record.messages[0]["content"]] == ["Work.", *[told] * needs]
    assert record.surroundings == told * needs


def test_where_nothing_differs_nothing_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(opening, "differences", lambda backend: ())

    assert play_bench(Boxed()).surroundings == ""


# ---- without a model ----


def test_a_probe_opens_and_closes_and_says_what_a_model_would_see():
    task = Bench()

    record = asyncio.run(probe(spec_of(task)))

    assert task.opened[0].events == ["info", "prompt", "close"]
    assert (record.prompt_digest, record.tools_digest) == (play_bench(Bench()).prompt_digest, record.tools_digest)
    assert (len(record.tools), record.fault, record.turns) == (2, None, 0)


def test_a_probe_of_what_cannot_be_opened_says_why():
    record = asyncio.run(probe(spec_of(Bench({"open": raises(KeyError("no data"))}))))

    assert (record.outcome, record.fault and record.fault.kind) == ("errored", "task")
    assert "no data" in record.reason


def test_what_is_not_played_says_why():
    record = unplayed(spec_of(Bench()), Fault("api", "a wrong key", fatal=True))

    assert (record.outcome, record.label, record.reason) == ("errored", "api fault", "a wrong key")
    assert (record.trial_id, record.seed, record.started[:2]) == ("bench[run-00]", 42, "20")


def test_what_an_author_looks_at_is_the_graded_episode_before_it_is_closed():
    seen: list[tuple[list[str], float]] = []

    def inspect(episode: Any, grade: Any, again: Any) -> None:
        seen.append((list(episode.events), grade.score))

    task = Bench()
    record = asyncio.run(play(spec_of(task), PolicyModel("moves"), inspect=inspect))

    ((events, score),) = seen
    assert (events[-1], score, record.outcome) == ("grade", 1.0, "passed")
    assert task.opened[0].events[-1] == "close"


@pytest.mark.parametrize("listens", [True, False])
def test_a_trial_that_is_cancelled_is_told_of_if_anybody_listens(listens: bool):
    told: list[Record] = []

    async def cancelled() -> None:
        may, loop = asyncio.Event(), asyncio.get_running_loop()
        task = Bench({"work": lambda: loop.call_soon_threadsafe(may.set) and time.sleep(0.05)})
        playing = asyncio.create_task(
            play(spec_of(task), PolicyModel("moves"), cut_off=told.append if listens else None)
        )
        await may.wait()
        playing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await playing
        assert task.opened[0].events.count("close") == 1

    asyncio.run(cancelled())

    assert [(record.outcome, record.label, record.reason) for record in told] == [
        ("errored", "cut off", "the run ended before the trial did")
    ] * listens
