"""Plays one trial: opens the episode, lets the model and its tools converse, grades it, and keeps the record.

:func:`play` always returns a :class:`~pytest_rltask.run.record.Record`: whatever the model does is judged by the
grader, whatever the API, the sandbox or the task's own code does wrong makes the trial `errored`. It knows
nothing of pytest, and a policy, a replay and Claude look alike to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pytest_rltask.clock import monotonic_s
from pytest_rltask.models import Model
from pytest_rltask.run.record import CUT_OFF, Fault, Record, clean_text, error_text
from pytest_rltask.sandbox import using_backend
from pytest_rltask.task import Episode, Grade, Limits
from pytest_rltask.tools import DefinitionError
from pytest_rltask.trial.asking import Models, answering
from pytest_rltask.trial.conversation import Conversation, Paid, Turned
from pytest_rltask.trial.grading import judge, note_tried, take_grade
from pytest_rltask.trial.guard import TrialFault, Worker, blamed
from pytest_rltask.trial.opening import (
    LayingOut,
    TrialSpec,
    completed,
    mark_errored,
    new_record,
    opened,
    sources_of,
    turns_of,
)

__all__ = ["Trial", "TrialSpec", "play", "probe", "take_grade", "unplayed"]

Inspect = Callable[[Episode, Grade, "Grade | str"], None]
"""Looks at a graded episode, with its grade, and with what its grader said when asked once more, or raised."""
RUN_ENDED = "the run ended before the trial did"


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
        """Whether the grader passed the trial: ``score >= threshold``, and never if it was cheated.

        Raises:
            DefinitionError: the grade names no threshold, so that the test has to decide.
        """
        if self.record.grade_passed is None and self.record.outcome != "cheated":
            raise DefinitionError(
                "trial.passed: the grade names no threshold, so that nobody but the test can say; write "
                "`assert trial.score >= ...`, or Grade(score=..., threshold=...) in the grader"
            )
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
    inspect: Inspect | None = None,
    cut_off: Callable[[Record], None] | None = None,
    paid: Paid | None = None,
    turned: Turned | None = None,
    keep: Callable[[Record, Episode], None] | None = None,
    models: Models | None = None,
) -> Record:
    """Play a trial to its grade.

    Args:
        spec: what to play.
        model: who plays it; must belong to the running event loop.
        slots: shared by the trials of the loop: how many of them may compute at once.
        inspect: called with the graded episode before it is closed, in its thread; it is graded once more for that.
        cut_off: called with the record as far as it got if the trial is cancelled, before its episode is closed: it may
            be paid, and there may be no time for more.
        paid: called with the record and each of its requests that cost something, once it is answered.
        turned: called with the record after its prompt and after each turn, to show how far it has got.
        keep: called with the record and the episode before that is graded, in its thread: keeps what its grader reads.
        models: returns the models that the task's code asks, by name; None: it may ask none.

    Returns:
        The trial's record, with outcome ``errored`` if anything but the model was at fault.
    """
    with using_backend(spec.sandbox, sources=sources_of(spec.task)) as choice:
        begin = monotonic_s()

        def tell(record: Record) -> None:
            if cut_off is not None:
                cut_off(completed(record, choice, begin))

        return completed(await _played(spec, model, slots, inspect, tell, paid, turned, keep, models), choice, begin)


async def _played(
    spec: TrialSpec,
    model: Model,
    slots: asyncio.Semaphore | None,
    inspect: Inspect | None,
    cut_off: Callable[[Record], None],
    paid: Paid | None,
    turned: Turned | None,
    keep: Callable[[Record, Episode], None] | None,
    models: Models | None,
) -> Record:
    record = new_record(spec)
    worker = Worker(slots)
    try:
        async with opened(spec, record, worker) as (episode, laying_out):
            answers = answering(spec, record, worker, episode, player=model, models=models, paid=paid)
            with _telling(cut_off, record), answers:
                await _converse(spec, record, episode, laying_out, worker, model, paid, turned)
                grade = await judge(record, episode, worker, spec.limits, keep)
                if inspect is not None:
                    await _inspect(inspect, episode, grade, worker, spec.limits)
    except TrialFault as error:
        mark_errored(record, error.fault)
    except Exception as error:  # our own bug: still a record, never a lost or a failed trial
        said = f"{type(error).__name__}: {error_text(error)}"
        mark_errored(record, Fault("harness", said, details=clean_text(traceback.format_exc())))
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
        mark_errored(record, Fault("harness", RUN_ENDED))
        record.label = CUT_OFF
        cut_off(record)
        raise


async def probe(spec: TrialSpec) -> Record:
    """Open a trial's episode and close it again.

    Returns:
        The trial's record as far as it got: with the prompt's digest, the tools and images, or with the fault.
    """
    record = new_record(spec)
    with using_backend(spec.sandbox, sources=sources_of(spec.task)) as choice:
        worker = Worker()
    try:
        async with opened(spec, record, worker) as (episode, laying_out):
            turns_of(spec, record, episode, worker)
            await laying_out.done()
            record.images = dict(choice.images)
    except TrialFault as error:
        mark_errored(record, error.fault)
    finally:
        worker.end()
    return record


def unplayed(spec: TrialSpec, fault: Fault) -> Record:
    """Return the record of a trial that is not played, since a fault leaves it no chance."""
    record = new_record(spec)
    mark_errored(record, fault)
    return record


async def _converse(
    spec: TrialSpec,
    record: Record,
    episode: Episode,
    laying_out: LayingOut,
    worker: Worker,
    model: Model,
    paid: Paid | None,
    turned: Turned | None,
) -> None:
    """Hold the conversation; what was tried is noted even if it breaks off."""
    turns = turns_of(spec, record, episode, worker)
    conversation = Conversation(turns, spec.task.policies, paid, turned, laying_out)
    try:
        await conversation.hold(model, spec.variant)
    except TrialFault:
        if laying_out.is_done and not worker.busy:  # an interrupted tool may leave the episode in any state
            with contextlib.suppress(TrialFault):  # what ended the conversation is told, not what came of asking on
                await note_tried(record, episode, worker, spec.limits)
        raise
    await note_tried(record, episode, worker, spec.limits)


async def _inspect(inspect: Inspect, episode: Episode, grade: Grade, worker: Worker, limits: Limits) -> None:
    what = "inspecting the graded episode"
    try:
        again: Grade | str = await worker.awaited(episode.grade, what, within_s=limits.tool_s)
    except Exception as error:  # told by the check that compares the two, and by no other
        again = f"{type(error).__name__}: {error_text(error)}"
    with blamed(what):
        await worker.call(lambda: inspect(episode, grade, again), what, within_s=limits.tool_s)
