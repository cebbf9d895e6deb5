"""Keeps a trial whole around code that is not ours: an episode's methods, its tools, the model's side.

Whatever such code raises becomes the trial's :class:`Fault` and names who is to blame; what may block runs in a
thread of its own, off the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar

from pytest_rltask.models import ModelFault
from pytest_rltask.record import Fault, FaultKind, Record, clean_text
from pytest_rltask.sandbox import SandboxError

__all__ = ["Faulty", "blamed", "charged", "off_loop", "timed"]

_T = TypeVar("_T")


class Faulty(Exception):
    """Ends a trial as errored; carries the fault for its record."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


@contextlib.contextmanager
def timed(record: Record, phase: str) -> Iterator[None]:
    """Add the seconds that the block takes to a phase of the record."""
    begin = time.monotonic()
    try:
        yield
    finally:
        record.seconds[phase] = record.seconds.get(phase, 0.0) + time.monotonic() - begin


@contextlib.contextmanager
def blamed(what: str) -> Iterator[None]:
    """Turn what the task's own code raises into a fault of the task, or of its sandbox."""
    try:
        yield
    except (Faulty, asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # pytest.skip() and sys.exit() in a task are no way out of a trial either
        kind: FaultKind = "sandbox" if isinstance(error, SandboxError) else "task"
        said = f"{what}: {type(error).__name__}: {error}"
        raise Faulty(Fault(kind, clean_text(said)[:2000], details=clean_text(traceback.format_exc()))) from error


@contextlib.contextmanager
def charged() -> Iterator[None]:
    """Turn a fault of the model's side into the trial's fault."""
    try:
        yield
    except ModelFault as error:
        raise Faulty(Fault(error.kind, clean_text(str(error)), error.request_id, error.fatal)) from error


async def off_loop(function: Callable[[], _T]) -> _T:
    """Run a function that may block in a thread of its own.

    A daemon thread, not the loop's executor: a tool that never returns must not keep the process alive.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def run() -> None:
        try:
            outcome: tuple[_T | None, Exception | None] = (function(), None)
        except BaseException as error:
            outcome = (None, _catchable(error))
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="rltask-tool", daemon=True).start()
    return await done


def _catchable(error: BaseException) -> Exception:
    """Return what a future can hold: sys.exit() and pytest.skip() would end the loop, StopIteration it refuses."""
    if isinstance(error, Exception) and not isinstance(error, StopIteration):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}").with_traceback(error.__traceback__)
