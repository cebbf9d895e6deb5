"""Plays one trial: opens the episode, lets the model and its tools converse, grades it, and keeps the record.

:func:`play` always returns a :class:`~pytest_rltask.record.Record`: whatever the model does is judged by the
grader, whatever the API, the sandbox or the task's own code does wrong makes the trial `errored`. It knows
nothing of pytest, and a policy, a replay and Claude look alike to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import traceback
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pytest_rltask.conversation import LIMIT_NAMES, Conversation
from pytest_rltask.guard import Faulty, blamed, off_loop, timed
from pytest_rltask.models import Model
from pytest_rltask.record import Fault, Record, clean_text
from pytest_rltask.task import Episode, Grade, Limits, Task

__all__ = ["Trial", "TrialSpec", "play"]

STOP_LABELS = {
    "refusal": "refusal",
    "model_context_window_exceeded": "context window full",
}


@dataclass(frozen=True)
class TrialSpec:
    """What is to be played: one run of a task by a model."""

    trial_id: str
    task: Task
    task_name: str
    model: str
    run: int
    seed: int
    limits: Limits


@dataclass(frozen=True)
class Trial:
    """A finished trial, as the fixture ``trial`` hands it to the test."""

    task: Any
    """The task that was played, with its parameters; Any, since a fixture cannot know which task it is."""
    record: Record
    """Everything about it."""

    @property
    def score(self) -> float:
        """The grader's raw score."""
        assert self.record.score is not None, "a judged trial has a score"
        return self.record.score

    @property
    def passed(self) -> bool:
        """The grader's own verdict: ``score >= threshold``, and False for a cheated trial."""
        return bool(self.record.grade_passed)

    @property
    def reason(self) -> str:
        """Why the trial did not pass, in a sentence; empty if it did."""
        return self.record.reason

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What else the grader measured."""
        return self.record.metrics


async def play(spec: TrialSpec, model: Model) -> Record:
    """Play a trial to its grade.

    Args:
        spec: what to play.
        model: who plays it; must belong to the running event loop.

    Returns:
        The trial's record, with outcome ``errored`` if anything but the model was at fault.
    """
    record = Record(
        trial_id=spec.trial_id,
        task=spec.task_name,
        task_digest=spec.task.digest(),
        model=spec.model,
        run=spec.run,
        seed=spec.seed,
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    begin = time.monotonic()
    try:
        async with _opened(spec, record) as episode:
            await _conversation(spec, record, episode).hold(model)
            await _judge(record, episode)
    except Faulty as error:
        _mark_errored(record, error.fault)
    except Exception as error:  # our own bug: still a record, never a lost or a failed trial
        said = f"{type(error).__name__}: {error}"
        _mark_errored(record, Fault("harness", clean_text(said), details=clean_text(traceback.format_exc())))
    record.seconds["total"] = time.monotonic() - begin
    record.seconds = {phase: round(seconds, 4) for phase, seconds in record.seconds.items()}
    return record


def _mark_errored(record: Record, fault: Fault) -> None:
    record.outcome, record.fault = "errored", fault
    record.label, record.reason = f"{fault.kind} fault", fault.message


@contextlib.asynccontextmanager
async def _opened(spec: TrialSpec, record: Record) -> AsyncIterator[Episode]:
    """Open the trial's episode and close it whatever happens, a cancelled trial included."""
    with timed(record, "open"), blamed("opening the episode"):
        episode = await _open(spec)
        if not isinstance(episode, Episode):
            raise TypeError(f"{type(spec.task).__name__}.open() returned {episode!r}; it must return an Episode")
    try:
        with blamed("opening the episode"):
            record.info = dict(episode.info)
        yield episode
    except BaseException:
        with contextlib.suppress(Faulty):  # what ended the trial is told, not what its clean-up met thereafter
            await _close(episode)
        raise
    await _close(episode)


async def _close(episode: Episode) -> None:
    with blamed("closing the episode"):
        # Shielded: a cancelled trial must not leave processes and files behind.
        await asyncio.shield(off_loop(episode.close))


async def _open(spec: TrialSpec) -> Episode:
    opening = asyncio.ensure_future(off_loop(lambda: spec.task.open(spec.seed)))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        episode = await opening  # what is half open cannot be closed yet
        await off_loop(episode.close)
        raise


def _conversation(spec: TrialSpec, record: Record, episode: Episode) -> Conversation:
    return Conversation(record, episode, limits=spec.limits, policies=spec.task.policies)


async def _judge(record: Record, episode: Episode) -> None:
    """Grade the episode and write outcome, label and reason into the record."""
    with timed(record, "grade"), blamed("the grader"):
        grade = await off_loop(lambda: _graded(episode))
        if not isinstance(grade, Grade):
            raise TypeError(f"grade() returned {grade!r}; it must return a Grade")
        if problem := grade.problem():
            raise ValueError(problem)
        record.metrics = json.loads(json.dumps(dict(grade.metrics), default=_plain))
        record.threshold = None if grade.threshold is None else float(grade.threshold)
        record.grade_passed = None if grade.passed is None else bool(grade.passed)
    record.score = float(grade.score)
    record.outcome = "cheated" if grade.cheated else "passed" if grade.passed else "failed"
    if record.outcome != "passed":
        record.label, record.reason = map(clean_text, _explained(record, grade))


def _graded(episode: Episode) -> Grade:
    episode.finish()
    return episode.grade()


def _explained(record: Record, grade: Grade) -> tuple[str, str]:
    """Return label and reason of a trial that did not pass."""
    reason = grade.reason
    if not reason and grade.threshold is not None and not grade.score >= grade.threshold:
        reason = f"score {grade.score:g} is below the threshold {grade.threshold:g}"
    if grade.cheated:
        return grade.label, reason or "the grader proved tampering"
    how = LIMIT_NAMES[record.limit] if record.limit else STOP_LABELS.get(record.stop)
    if how is None:
        return grade.label, reason
    return how, f"{reason} (ended by: {how})" if reason else f"ended by: {how}"


def _plain(value: Any) -> Any:
    """Turn a number of some library into Python's own."""
    return value.item() if hasattr(value, "item") else str(value)
