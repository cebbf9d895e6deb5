"""The event loop on which trials are played: its time is our clock's, whatever tests do to that of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from pytest_rltask.clock import monotonic_s

__all__ = ["SteadyLoop", "run"]

_T = TypeVar("_T")


class SteadyLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers and deadlines no test can move, of one class whatever policy a plugin sets."""

    def time(self) -> float:
        """Return the time, in seconds."""
        return monotonic_s()


def run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine in a loop of its own, as ``asyncio.run`` does."""
    with asyncio.Runner(loop_factory=SteadyLoop) as runner:
        return runner.run(main)
