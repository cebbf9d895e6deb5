"""Plays one trial: opens the episode, lets the model and its tools converse, grades it, and keeps the record.

:func:`play` always returns a :class:`~pytest_rltask.record.Record`: whatever the model does is judged by the
grader, whatever the API, the sandbox or the task's own code does wrong makes the trial `errored`. It knows
nothing of pytest, and a policy, a replay and Claude look alike to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pytest_rltask.clock import monotonic_s, utc_now
from pytest_rltask.conversation import LIMIT_NAMES, Conversation
from pytest_rltask.guard import Faulty, Worker, blamed, bounded, timed
from pytest_rltask.models import Model
from pytest_rltask.record import CUT_OFF, Fault, Record, clean_text, error_text
from pytest_rltask.sandbox import differences, using_backend
from pytest_rltask.task import Episode, Grade, Limits, Task

__all__ = ["Trial", "TrialSpec", "play", "probe", "take_grade", "unplayed"]

STOP_LABELS = {
    "refusal": "refusal",
    "model_context_window_exceeded": "context window full",
}
RUN_ENDED = "the run ended before the trial did"
_DIFFERENT = "Your code runs in a sandbox, which differs from an ordinary machine:"


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
    history: tuple[str, ...] = ()
    """What earlier runs of the task tried, oldest first (``--sequential``)."""
    sandbox: str = "auto"
    """What isolates the code that the task runs (``--sandbox``)."""
    grader: str = ""
    """Digest of what grades it."""


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
        """Whether the grader passed the trial: ``score >= threshold``, and never if it was cheated."""
        return bool(self.record.grade_passed)

    @property
    def reason(self) -> str:
        """Why the trial did not pass, in a sentence; empty if it did."""
        return self.record.reason

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What else the grader measured."""
        return self.record.metrics


async def play(
    spec: TrialSpec,
    model: Model,
    slots: asyncio.Semaphore | None = None,
    *,
    inspect: Callable[[Episode, Grade], None] | None = None,
    cut_off: Callable[[Record], None] | None = None,
) -> Record:
    """Play a trial to its grade.

    Args:
        spec: what to play.
        model: who plays it; must belong to the running event loop.
        slots: shared by the trials of the loop: how many of them may compute at once.
        inspect: called with the graded episode before it is closed, in its thread.
        cut_off: called with the record as far as it got if the trial is cancelled, before its episode is closed: it may
            be paid, and there may be no time for more.

    Returns:
        The trial's record, with outcome ``errored`` if anything but the model was at fault.
    """
    with using_backend(spec.sandbox, sources=_sources(spec.task)) as choice:
        begin = monotonic_s()

        def complete(record: Record) -> Record:
            seconds = {phase: round(taken_s, 4) for phase, taken_s in record.seconds.items()}
            fault = record.fault
            if fault is not None and fault.kind == "sandbox":
                fault = replace(fault, code_ran=choice.code_ran)
            total = {"total": round(monotonic_s() - begin, 4)}
            return replace(record, sandbox=choice.used, fault=fault, seconds=seconds | total)

        def tell(record: Record) -> None:
            if cut_off is not None:
                cut_off(complete(record))

        return complete(await _played(spec, model, slots, inspect, tell))


async def _played(
    spec: TrialSpec,
    model: Model,
    slots: asyncio.Semaphore | None,
    inspect: Callable[[Episode, Grade], None] | None,
    cut_off: Callable[[Record], None],
) -> Record:
    record = _new_record(spec)
    worker = Worker(slots)
    try:
        async with _opened(spec, record, worker) as episode:
            with _telling(cut_off, record):
                await _converse(spec, record, episode, worker, model)
                grade = await _judge(record, episode, worker, spec.limits)
                if inspect is not None:
                    await _inspect(inspect, episode, grade, worker, spec.limits)
    except Faulty as error:
        _mark_errored(record, error.fault)
    except Exception as error:  # our own bug: still a record, never a lost or a failed trial
        said = f"{type(error).__name__}: {error_text(error)}"
        _mark_errored(record, Fault("harness", said, details=clean_text(traceback.format_exc())))
    except asyncio.CancelledError:
        if record.graded:  # and being closed: it is a finished trial
            cut_off(record)
        raise
    finally:
        worker.end()
    return record


@contextlib.contextmanager
def _telling(cut_off: Callable[[Record], None], record: Record) -> Iterator[None]:
    """Tell of a trial that is cancelled in this block, at once."""
    try:
        yield
    except asyncio.CancelledError:
        _mark_errored(record, Fault("harness", RUN_ENDED))
        record.label = CUT_OFF
        cut_off(record)
        raise


async def probe(spec: TrialSpec) -> Record:
    """Open a trial's episode and close it again.

    Returns:
        The trial's record as far as it got: with the prompt's digest and the tools, or with the fault.
    """
    record = _new_record(spec)
    with using_backend(spec.sandbox, sources=_sources(spec.task)):
        worker = Worker()
    try:
        async with _opened(spec, record, worker) as episode:
            _conversation(spec, record, episode, worker)
    except Faulty as error:
        _mark_errored(record, error.fault)
    finally:
        worker.end()
    return record


def _sources(task: Task) -> list[str]:
    """Return the files that define a task, as far as they are not ours."""
    names = {kind.__module__ for kind in type(task).__mro__ if kind.__module__.partition(".")[0] != __package__}
    files = (getattr(sys.modules.get(name), "__file__", None) for name in names)
    return [file for file in files if file]


def unplayed(spec: TrialSpec, fault: Fault) -> Record:
    """Return the record of a trial that is not played, since a fault leaves it no chance."""
    record = _new_record(spec)
    _mark_errored(record, fault)
    return record


def _new_record(spec: TrialSpec) -> Record:
    return Record(
        trial_id=spec.trial_id,
        task=spec.task_name,
        task_digest=spec.task.digest(),
        model=spec.model,
        run=spec.run,
        seed=spec.seed,
        grader=spec.grader,
        started=utc_now(),
    )


def _mark_errored(record: Record, fault: Fault) -> None:
    record.outcome, record.fault = "errored", fault
    record.label, record.reason = f"{fault.kind} fault", fault.message


@contextlib.asynccontextmanager
async def _opened(spec: TrialSpec, record: Record, worker: Worker) -> AsyncIterator[Episode]:
    """Open the trial's episode and close it whatever happens, a cancelled trial included."""
    with timed(record, "open"), blamed("opening the episode"):
        episode = await _open(spec, worker)
        if not isinstance(episode, Episode):
            raise TypeError(f"{type(spec.task).__name__}.open() returned {episode!r}; it must return an Episode")
    try:
        with blamed("opening the episode"):
            record.info = _plain(episode.info)
        yield episode
    except BaseException:
        with contextlib.suppress(Faulty):  # what ended the trial is told, not what its clean-up met thereafter
            await _close(episode, worker, spec.limits)
        raise
    await _close(episode, worker, spec.limits)


async def _close(episode: Episode, worker: Worker, limits: Limits) -> None:
    closer = Worker() if worker.busy else worker  # an interrupted tool still holds the trial's own thread
    with blamed("closing the episode"):
        # Shielded: a cancelled trial must not leave processes and files behind.
        await bounded(asyncio.shield(closer.run(episode.close)), "closing the episode", within_s=limits.tool_s)
    if closer is not worker:
        closer.end()


async def _open(spec: TrialSpec, worker: Worker) -> Episode:
    async with worker.slot():
        return await _open_now(spec, worker)


async def _open_now(spec: TrialSpec, worker: Worker) -> Episode:
    opening = asyncio.ensure_future(worker.run(lambda: spec.task.open(spec.seed)))
    try:
        return await bounded(asyncio.shield(opening), "opening the episode", within_s=spec.limits.tool_s)
    except asyncio.CancelledError:
        episode = await opening  # what is half open cannot be closed yet
        await worker.run(episode.close)
        raise
    except Faulty:
        opening.add_done_callback(_close_late)
        raise


def _close_late(opening: asyncio.Future[Episode]) -> None:
    """Close an episode that nobody waits for any more, once it is open."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def _conversation(spec: TrialSpec, record: Record, episode: Episode, worker: Worker) -> Conversation:
    with blamed("asking what the sandbox refuses"):
        missed = differences(spec.sandbox) if spec.task.needs_sandbox else ()
    surroundings = "\n".join([_DIFFERENT, *(f"- {sentence}" for sentence in missed)]) if missed else ""
    return Conversation(
        record,
        episode,
        worker,
        limits=spec.limits,
        policies=spec.task.policies,
        history=spec.history,
        surroundings=surroundings,
    )


async def _converse(spec: TrialSpec, record: Record, episode: Episode, worker: Worker, model: Model) -> None:
    """Hold the conversation; what was tried is noted even if it breaks off."""
    conversation = _conversation(spec, record, episode, worker)
    try:
        await conversation.hold(model)
    except Faulty:
        if not worker.busy:  # an interrupted tool may leave the episode in any state
            with contextlib.suppress(Faulty):  # what ended the conversation is told, not what came of asking on
                await _note_tried(record, episode, worker, spec.limits)
        raise
    await _note_tried(record, episode, worker, spec.limits)


async def _note_tried(record: Record, episode: Episode, worker: Worker, limits: Limits) -> None:
    with blamed("what the episode tried"):
        tried = await worker.call(lambda: episode.tried, "what the episode tried", within_s=limits.tool_s)
        if not isinstance(tried, str):
            raise TypeError(f"tried is {tried!r}; it must be a string")
        record.tried = clean_text(tried)


async def _judge(record: Record, episode: Episode, worker: Worker, limits: Limits) -> Grade:
    """Grade the episode, write outcome, label and reason into the record, and return the grade."""
    with timed(record, "grade"), blamed("the grader"):
        grade = await worker.call(lambda: _graded(episode), "the grader", within_s=limits.tool_s)
        if not isinstance(grade, Grade):
            raise TypeError(f"grade() returned {grade!r}; it must return a Grade")
        if problem := grade.problem():
            raise ValueError(problem)
        take_grade(record, grade)
    return grade


def take_grade(record: Record, grade: Grade) -> None:
    """Write a grade, which has no problem, into a record, with outcome, label and reason."""
    record.metrics = _plain(grade.metrics)
    record.threshold = None if grade.threshold is None else float(grade.threshold)
    record.grade_passed = None if grade.passed is None else bool(grade.passed)
    record.score = float(grade.score)
    if record.grade_passed is None and not grade.cheated:
        # The test's assertion decides; should the test never get there, nobody has judged the trial.
        record.label, record.reason = "not judged", "the grader names no threshold, and no assertion judged the trial"
        return
    record.outcome = "cheated" if grade.cheated else "passed" if grade.passed else "failed"
    if record.outcome != "passed":
        record.label, record.reason = map(clean_text, _explained(record, grade))


async def _inspect(
    inspect: Callable[[Episode, Grade], None], episode: Episode, grade: Grade, worker: Worker, limits: Limits
) -> None:
    what = "inspecting the graded episode"
    with blamed(what):
        await worker.call(lambda: inspect(episode, grade), what, within_s=limits.tool_s)


def _graded(episode: Episode) -> Grade:
    episode.finish()
    return episode.grade()


def _explained(record: Record, grade: Grade) -> tuple[str, str]:
    """Return label and reason of a trial that did not pass."""
    reason = grade.reason
    if not reason and grade.threshold is not None and not grade.score >= grade.threshold:
        reason = f"score {grade.score:g} is below the threshold {grade.threshold:g}"
    if grade.cheated:
        named = grade.label != Grade.label  # the default says that a score fell short, which is not what happened
        return grade.label if named else "tampering", reason or "the grader proved tampering"
    how = LIMIT_NAMES[record.limit] if record.limit else STOP_LABELS.get(record.stop)
    if how is None:
        return grade.label, reason
    return how, f"{reason} (ended by: {how})" if reason else f"ended by: {how}"


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON can hold them: numbers of a library as Python's own, what is not finite as text."""
    return {clean_text(str(name)): _plain_value(value) for name, value in values.items()}


def _plain_value(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    match value:
        case None | bool():
            return value
        case int() if abs(value) < 2**63:
            return int(value)
        case int():
            return f"(a number of {int(value).bit_length()} bits)"
        case float():
            return float(value) if math.isfinite(value) else str(float(value))
    return clean_text(str(value))
