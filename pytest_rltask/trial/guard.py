"""Keeps a trial whole around code that is not ours: an episode's methods, its tools, the model's side.

Whatever such code raises becomes the trial's :class:`Fault` and names who is to blame; what may block runs in a
thread of its own, off the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import queue
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from pytest_rltask.clock import monotonic_s
from pytest_rltask.models import ModelFault
from pytest_rltask.run.record import Fault, FaultKind, Record, clean_text, error_text
from pytest_rltask.sandbox import SandboxError

__all__ = ["TrialFault", "Worker", "blamed", "bounded", "charged", "timed"]

_T = TypeVar("_T")


class TrialFault(Exception):
    """Something other than whoever acts failed: the task, its sandbox, an API, or we. The trial is errored."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault
        """What the record says of it: kind, message and traceback."""


@contextlib.contextmanager
def timed(record: Record, phase: str) -> Iterator[None]:
    """Add the seconds that the block takes to a phase of the record."""
    begin = monotonic_s()
    try:
        yield
    finally:
        record.seconds[phase] = record.seconds.get(phase, 0.0) + monotonic_s() - begin


@contextlib.contextmanager
def blamed(what: str) -> Iterator[None]:
    """Turn what the task's own code raises into a fault of the task, or of its sandbox."""
    try:
        yield
    except (TrialFault, KeyboardInterrupt):
        raise
    except BaseException as error:  # pytest.skip() and sys.exit() in a task are no way out of a trial either
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        kind: FaultKind = "sandbox" if isinstance(error, SandboxError) else "task"
        said = f"{what}: {type(error).__name__}: {error_text(error)}"
        raise TrialFault(Fault(kind, said[:2000], details=_authors_traceback(error))) from error


def _is_cancelled() -> bool:
    """Say whether somebody cancels the running task: its code may raise the same error for reasons of its own."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


@contextlib.contextmanager
def charged() -> Iterator[None]:
    """Turn a fault of the model's side into the trial's fault."""
    try:
        yield
    except ModelFault as error:
        details = _authors_traceback(error.__cause__) if error.__cause__ else ""
        raise TrialFault(Fault(error.kind, clean_text(str(error)), error.request_id, error.fatal, details)) from error


async def bounded(
    work: Awaitable[_T], what: str, *, within_s: float, timer: Callable[[asyncio.Timeout], None] | None = None
) -> _T:
    """Wait for work of the task's own code.

    Args:
        work: to be waited for.
        what: it is.
        within_s: how long it may take.
        timer: is given what counts that time, to have it stand still.

    Raises:
        TrialFault: it took longer, which is the task's fault: whatever a task runs must bound its own time.
    """
    try:
        async with asyncio.timeout(within_s) as timeout:
            if timer is not None:
                timer(timeout)
            return await work
    except TimeoutError:
        if not timeout.expired():
            raise  # the code's own
        said = f"{what} did not return within {within_s:g} s; a task must bound its own time (Limits.tool_s)"
        raise TrialFault(Fault("task", said)) from None


class Worker:
    """The one thread in which a trial's blocking code runs, call after call: a task may hold what is bound to it.

    It runs in the context of whoever made it.

    A daemon thread, not the loop's executor: a tool that never returns must not keep the process alive.

    Args:
        slots: as many calls may compute at once as it lets in; None for any number.
    """

    def __init__(self, slots: asyncio.Semaphore | None = None) -> None:
        self.waited_s = 0.0
        """Seconds that the trial waited for others to stop computing, and for judges to answer."""
        self.fault: TrialFault | None = None
        """Ends the trial once its code returns, be it caught there or not: a judge could not be asked."""
        self._slots = slots
        self._is_placed = self._holds_place = False
        self._timer: asyncio.Timeout | None = None
        self._pauses = 0
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._pending = 0
        context = contextvars.copy_context()
        threading.Thread(target=context.run, args=(self._work,), name="rltask-trial", daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a call has not returned."""
        return self._pending > 0

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Hold one of the places in which trials compute, once one is free."""
        if self._slots is None:
            yield
            return
        await self._take_place(self._slots)
        self._is_placed = True
        try:
            yield
        finally:
            self._is_placed = False
            self._leave_place(self._slots)

    async def _take_place(self, slots: asyncio.Semaphore) -> None:
        begin = monotonic_s()
        await slots.acquire()
        self._holds_place = True
        self.waited_s += monotonic_s() - begin

    def _leave_place(self, slots: asyncio.Semaphore) -> None:
        if self._holds_place:
            self._holds_place = False
            slots.release()

    @contextlib.asynccontextmanager
    async def paused(self, record: Record) -> AsyncIterator[None]:
        """Have the trial's clocks stand still in this block, in which it waits for a judge, and others compute."""
        self._pauses += 1
        if self._pauses == 1:
            self._paused_s, self._left_s = monotonic_s(), self._stopped_timer()
            if self._slots is not None:
                self._leave_place(self._slots)
        try:
            yield
        finally:
            self._pauses -= 1
            if not self._pauses:
                taken_s = monotonic_s() - self._paused_s
                record.seconds["judge"] = record.seconds.get("judge", 0.0) + taken_s
                self.waited_s += taken_s
                await self._go_on()

    async def _go_on(self) -> None:
        """Compute again, once there is a place, which a trial that is cancelled does not wait for."""
        try:
            task = asyncio.current_task()
            is_over = task is not None and task.cancelling() > 0
            if self._slots is not None and self._is_placed and not self._holds_place and not is_over:
                await self._take_place(self._slots)
        finally:
            self._start_timer()

    def _stopped_timer(self) -> float | None:
        """Stop what counts the time of the call under way, and return the seconds that it had left."""
        timer = self._timer
        if timer is None or (until := timer.when()) is None or timer.expired():
            return None
        with contextlib.suppress(RuntimeError):  # it has ended
            timer.reschedule(None)
        return until - asyncio.get_running_loop().time()

    def _start_timer(self) -> None:
        if self._timer is not None and self._left_s is not None:
            with contextlib.suppress(RuntimeError):
                self._timer.reschedule(asyncio.get_running_loop().time() + self._left_s)

    def _note_timer(self, timer: asyncio.Timeout) -> None:
        self._timer = timer

    async def awaited(self, function: Callable[[], _T | Awaitable[_T]], what: str, *, within_s: float) -> _T:
        """Run a function of the task's own code, in the thread; if it is ``async``, on the loop.

        Raises:
            TrialFault: it took longer than it may, or a judge that it asked could not answer.
        """
        try:
            output = await self.call(function, what, within_s=within_s)
            if asyncio.iscoroutine(output):
                output = await bounded(output, what, within_s=within_s, timer=self._note_timer)
        except Exception as error:
            if self.fault is not None and error is not self.fault:
                raise self.fault from error
            raise
        if self.fault is not None:
            raise self.fault
        return output  # type: ignore[return-value]  # it was no coroutine

    async def call(self, function: Callable[[], _T], what: str, *, within_s: float) -> _T:
        """Run a function of the task's own code in the thread, once there is a place to compute.

        Raises:
            TrialFault: it took longer than it may; waiting for a place does not count.
        """
        async with self.slot():
            return await bounded(self.run(function), what, within_s=within_s, timer=self._note_timer)

    async def run(self, function: Callable[[], _T]) -> _T:
        """Run a function in the thread and wait for it."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()

        def settle(result: _T | None, error: Exception | None) -> None:
            self._pending -= 1
            if done.cancelled():
                return
            if error is None:
                done.set_result(result)  # type: ignore[arg-type]
            else:
                done.set_exception(error)

        def call() -> None:
            try:
                outcome: tuple[_T | None, Exception | None] = (function(), None)
            except BaseException as error:
                outcome = (None, _catchable(error))
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(settle, *outcome)

        self._pending += 1
        self._calls.put(call)
        return await done

    def end(self) -> None:
        """Let the thread end after what it was given."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _authors_traceback(error: BaseException) -> str:
    """Return the traceback of a task's error without the frames of this package; empty if there are no others."""
    here = str(Path(__file__).parents[1])
    told = traceback.TracebackException.from_exception(error)
    told.stack = traceback.StackSummary.from_list([f for f in told.stack if not f.filename.startswith(here)])
    return clean_text("".join(told.format())) if told.stack else ""


def _catchable(error: BaseException) -> Exception:
    """Return what a future can hold: sys.exit() and pytest.skip() would end the loop, StopIteration it refuses."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error_text(error)}").with_traceback(error.__traceback__)
