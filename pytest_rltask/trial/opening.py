"""From what is to be played to an open episode, which is closed again whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace

from pytest_rltask.clock import monotonic_s, utc_now
from pytest_rltask.models.named import settings_of
from pytest_rltask.run.record import Fault, Record
from pytest_rltask.sandbox import Choice, differences
from pytest_rltask.task import Episode, Limits, Task
from pytest_rltask.trial.grading import plain
from pytest_rltask.trial.guard import TrialFault, Worker, blamed, bounded, timed
from pytest_rltask.trial.turns import Turns

__all__ = ["LayingOut", "TrialSpec", "completed", "mark_errored", "new_record", "opened", "sources_of", "turns_of"]

_PACKAGE = __name__.partition(".")[0]
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
    variant: str = ""
    """The parameters of its test, as its id names them."""
    judges: Mapping[str, str] = field(default_factory=dict)
    """Who answers for each judge of the task, see :mod:`pytest_rltask.models.judges`; empty: as the task says."""


def new_record(spec: TrialSpec) -> Record:
    """Return the record of a trial that begins now."""
    return Record(
        trial_id=spec.trial_id,
        task=spec.task_name,
        task_digest=spec.task.digest(),
        model=spec.model,
        settings=settings_of(spec.model),
        run=spec.run,
        seed=spec.seed,
        grader=spec.grader,
        started=utc_now(),
    )


def mark_errored(record: Record, fault: Fault) -> None:
    """Have a trial end as errored."""
    record.outcome, record.fault = "errored", fault
    record.label, record.reason = f"{fault.kind} fault", fault.message


def completed(record: Record, choice: Choice, begin_s: float) -> Record:
    """Return a record with what is known of a trial once it has ended: what isolated its code, and how long it took."""
    seconds = {phase: round(taken_s, 4) for phase, taken_s in record.seconds.items()}
    fault = record.fault
    if fault is not None and fault.kind == "sandbox":
        fault = replace(fault, code_ran=choice.code_ran)
    total = {"total": round(monotonic_s() - begin_s, 4)}
    return replace(record, sandbox=choice.used, images=dict(choice.images), fault=fault, seconds=seconds | total)


def sources_of(task: Task) -> list[str]:
    """Return the files that define a task, as far as they are not ours."""
    names = {kind.__module__ for kind in type(task).__mro__ if kind.__module__.partition(".")[0] != _PACKAGE}
    files = (getattr(sys.modules.get(name), "__file__", None) for name in names)
    return [file for file in files if file]


class LayingOut:
    """How an episode is laid out while the model reads its prompt.

    Args:
        episode: which is, if there is anything to lay out.
        record: takes the seconds for which the trial had to wait, and what the episode tells of itself then.
        worker: where it is done.
        within_s: how long it may take.
    """

    def __init__(self, episode: Episode, record: Record, worker: Worker, within_s: float) -> None:
        self._episode, self._record = episode, record
        self._worker, self._within_s = worker, within_s
        self._work: asyncio.Task[None] | None = None
        self.is_needed = type(episode).lay_out is not Episode.lay_out
        """Whether there is anything to do."""
        self.is_done = False
        """Whether the episode can be asked for anything else."""

    def begin(self) -> None:
        """Begin, behind what the loop has at hand, such as sending a request."""
        if self._work is None and self.is_needed:
            self._work = asyncio.ensure_future(self._lay_out())

    async def done(self) -> float:
        """Wait for it, having begun it if need be; return for how many seconds.

        Raises:
            TrialFault: it failed, or took too long.
        """
        if self.is_done:
            return 0.0
        begin = monotonic_s()
        self.begin()
        if self._work is not None:
            with timed(self._record, "open"):
                await asyncio.shield(self._work)
        self._note()
        return monotonic_s() - begin

    async def over(self) -> None:
        """Wait until nothing of it is at work any more, however it ends: the episode is to be closed."""
        if self._work is not None:
            await asyncio.wait([self._work])
            if not self._work.cancelled():
                self._work.exception()  # told where it was waited for, if anywhere

    def _note(self) -> None:
        with blamed("opening the episode"):
            self._record.info = plain(self._episode.info)
        self.is_done = True

    async def _lay_out(self) -> None:
        what = "laying out the episode"
        with blamed(what):
            await self._worker.awaited(self._episode.lay_out, what, within_s=self._within_s)


@contextlib.asynccontextmanager
async def opened(spec: TrialSpec, record: Record, worker: Worker) -> AsyncIterator[tuple[Episode, LayingOut]]:
    """Open the trial's episode and close it whatever happens, a cancelled trial included.

    It is not laid out yet: whoever opens it asks for its prompt and tools first, then waits for that.
    """
    with timed(record, "open"), blamed("opening the episode"):
        episode = await _open(spec, worker)
        if not isinstance(episode, Episode):
            raise TypeError(f"{type(spec.task).__name__}.open() returned {episode!r}; it must return an Episode")
    laying_out = LayingOut(episode, record, worker, spec.limits.tool_s)
    try:
        if not laying_out.is_needed:
            await laying_out.done()
        yield episode, laying_out
    except BaseException:
        await laying_out.over()  # what is half open cannot be closed yet
        with contextlib.suppress(TrialFault):  # what ended the trial is told, not what its clean-up met thereafter
            await _close(episode, worker, spec.limits)
        raise
    await laying_out.over()
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
    except TrialFault:
        opening.add_done_callback(_close_late)
        raise


def _close_late(opening: asyncio.Future[Episode]) -> None:
    """Close an episode that nobody waits for any more, once it is open."""
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


def turns_of(spec: TrialSpec, record: Record, episode: Episode, worker: Worker) -> Turns:
    """Return the episode's side of a trial's conversation, whose first message is written into the record."""
    with blamed("asking what the sandbox refuses"):
        missed = differences(spec.sandbox) if spec.task.needs_sandbox else ()
    surroundings = "\n".join([_DIFFERENT, *(f"- {sentence}" for sentence in missed)]) if missed else ""
    return Turns(
        record,
        episode,
        worker,
        limits=spec.limits,
        history=spec.history,
        surroundings=surroundings,
    )
