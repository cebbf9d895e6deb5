"""The time, as no test can change it.

Other tests run while trials are in flight, and some freeze or shift the clock of the whole process: freezegun replaces
``time.monotonic``, ``datetime`` and their like in every module that holds them, time-machine what these functions do.
Neither replaces the system's monotonic clocks as ``clock_gettime`` reads them, nor looks for a function that an object
holds. The time of day is that at which this module was loaded, which is before any test, plus what has passed since.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

__all__ = ["monotonic_s", "utc", "utc_now", "wall_s"]


class _Clock:
    """Holds what it reads as attributes of an object: those of modules and classes are replaced."""

    def __init__(self) -> None:
        self._datetime = datetime
        # CLOCK_BOOTTIME counts the time in which a laptop slept, as a time of day must.
        self.monotonic_ns = _reader("CLOCK_MONOTONIC", otherwise=time.monotonic_ns)
        self._elapsed_ns = _reader("CLOCK_BOOTTIME", otherwise=self.monotonic_ns)
        self._offset_ns = _offset_ns(_reader("CLOCK_REALTIME", otherwise=time.time_ns), self._elapsed_ns)

    def wall_s(self) -> float:
        return (self._elapsed_ns() + self._offset_ns) / 1e9

    def utc(self) -> datetime:
        return self._datetime.fromtimestamp(self.wall_s(), UTC)


def _reader(name: str, *, otherwise: Callable[[], int]) -> Callable[[], int]:
    """Return what reads a clock of the system, or something else where the system has no such clock."""
    clock: int | None = getattr(time, name, None)
    if clock is None:
        return otherwise
    read_ns = time.clock_gettime_ns
    return lambda: read_ns(clock)


def _offset_ns(wall_ns: Callable[[], int], elapsed_ns: Callable[[], int]) -> int:
    """Return how far two clocks are apart, by the closest of a few readings: a busy machine may stop us in between."""
    readings = [(elapsed_ns(), wall_ns(), elapsed_ns()) for _ in range(5)]
    before, wall, after = min(readings, key=lambda reading: reading[2] - reading[0])
    return wall - (before + after) // 2


_CLOCK = _Clock()


def monotonic_s() -> float:
    """Return seconds since some moment in the past: for lengths of time and deadlines."""
    return _CLOCK.monotonic_ns() / 1e9


def wall_s() -> float:
    """Return the time of day in seconds since 1970, as ``time.time`` does."""
    return _CLOCK.wall_s()


def utc() -> datetime:
    """Return the time of day in UTC, with its time zone."""
    return _CLOCK.utc()


def utc_now() -> str:
    """Return the time in UTC, ISO 8601 with milliseconds: as text, earlier sorts before later."""
    return utc().isoformat(timespec="milliseconds")
