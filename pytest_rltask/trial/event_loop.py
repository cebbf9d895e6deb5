"""The event loop on which trials are played: its time is our clock's, whatever tests do to that of the process."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from pytest_rltask.clock import monotonic_s

__all__ = ["LoopThread", "SteadyLoop", "run"]

_T = TypeVar("_T")


class SteadyLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers and deadlines no test can move, of one class whatever policy a plugin sets."""

    def time(self) -> float:
        """Return the time, in seconds."""
        return monotonic_s()


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a loop of its own, as ``asyncio.run`` does; where one runs already, in a thread of its own."""
    if not _is_in_loop():
        return _run(main)
    done: Future[_T] = Future()
    context = contextvars.copy_context()

    def work() -> None:
        try:
            done.set_result(context.run(_run, main))
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=work, name="rltask-run", daemon=True).start()
    return done.result()


def _run(main: Coroutine[Any, Any, _T]) -> _T:
    with asyncio.Runner(loop_factory=SteadyLoop) as runner:
        return runner.run(main)


def _is_in_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class LoopThread:
    """A loop in a thread of its own, for callers that know nothing of loops; it may be called from within one."""

    def __init__(self) -> None:
        self._loop = SteadyLoop()
        threading.Thread(target=self._loop.run_forever, name="rltask-environment", daemon=True).start()

    def run(self, main: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine and wait for its result; an interrupt of the wait cancels it."""
        future = asyncio.run_coroutine_threadsafe(main, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the thread, once nothing runs in it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
