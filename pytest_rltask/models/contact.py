"""What has been heard of one model's server so far: whoever watches a run learns soon who keeps it waiting.

A server that nobody has heard of in a run, and that refuses every connection, is not waited for as long as one that
went away: most likely its address is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Protocol

from pytest_rltask.models.reach import Unreachable

__all__ = ["Contact", "News"]

HOPELESS_S, HOPELESS_ATTEMPTS = 1.0, 3
"""Seconds and attempts after which nothing more is expected of a server that never answered."""
SILENT_S = 10.0
"""Seconds without a first answer after which it is told that there is none."""
CONNECT_S, MAX_CONNECT_S = 2.5, 40.0
"""Seconds that a connection may take to come about; doubled with each attempt that failed, up to the second."""
LATE_REPLIES = 2
"""Times a reply may be late, which may be paid each time."""


class News(Protocol):
    """Takes what is to be told while a run goes on. Called on the event loop, so that it must not take long."""

    def tell(self, line: str) -> None:
        """Tell something once, at once."""
        ...

    def wait(self, what: str, *, timed: bool = False) -> None:
        """Show what is waited for from now on, and if so asked for how long; nothing if it is empty."""
        ...

    def note_answer(self) -> None:
        """Take note that the server answered, for all processes of the run."""
        ...

    def was_answered(self) -> bool:
        """Say whether the server answered any process of the run."""
        ...


class Contact:
    """Counts the attempts since the last answer, and tells of them.

    Args:
        news: where that is told; None: nobody watches.
    """

    def __init__(self, news: News | None = None) -> None:
        self._news = news
        self._answers = self._replies = 0
        self._failures = 0  # since the last message
        self._late = 0
        self._failed_since = 0.0
        self._told = False

    @property
    def connect_s(self) -> float:
        """Seconds that the next connection may take to come about."""
        return min(CONNECT_S * 2.0 ** min(self._failures, 10), MAX_CONNECT_S)

    @contextlib.contextmanager
    def pending(self, host: str) -> Iterator[None]:
        """Tell of a request that is under way in this block, unless one has been answered before."""
        if self._answers or self._news is None:
            yield
            return
        if not self._failures:
            self._news.wait(f"{host} has not answered", timed=True)
        said = f"{host} has not answered for {SILENT_S:g} s, and is waited for (--reply-timeout)"
        silent = asyncio.get_running_loop().call_later(SILENT_S, self._tell, said)
        try:
            yield
        finally:
            silent.cancel()

    def answered(self) -> None:
        """Take note of an answer, whatever it says."""
        self._answers += 1
        if self._answers == 1 and self._news is not None:
            self._news.note_answer()

    def replied(self) -> None:
        """Take note of a message."""
        self._replies += 1
        self._failures = 0
        self.rest()

    def failed(self, said: str, *, is_late: bool = False) -> None:
        """Take note of an attempt that failed and may be followed by another.

        Args:
            said: how.
            is_late: whether no answer came in its time.
        """
        self._late += is_late
        now = asyncio.get_running_loop().time()
        self._failed_since = self._failed_since if self._failures else now
        self._failures += 1
        if self._news is not None:
            self._news.wait(f"{said}, attempt {self._failures}")

    def goes_on(self, said: str) -> None:
        """Tell, the first time in a run without any reply, that there will be another attempt."""
        if not self._replies:
            self._tell(f"{said}; trying again")

    def rest(self) -> None:
        """Take note that nothing is waited for any more."""
        if self._news is not None:
            self._news.wait("")

    def is_hopeless(self, lost: Unreachable | None) -> bool:
        """Say whether no other attempt has a chance, after one that failed.

        Args:
            lost: why no connection came about; None: one did.
        """
        if lost is None or self._was_answered():
            return False
        since_s = asyncio.get_running_loop().time() - self._failed_since
        return lost.is_final or (self._failures >= HOPELESS_ATTEMPTS and (lost.is_slow or since_s >= HOPELESS_S))

    def is_silent(self) -> bool:
        """Say whether a server has kept silent for so long, so many times, that no other trial could fare better."""
        return self._late >= LATE_REPLIES and not self._was_answered()

    def _was_answered(self) -> bool:
        return self._answers > 0 or (self._news is not None and self._news.was_answered())

    def _tell(self, line: str) -> None:
        if not self._told and self._news is not None:
            self._told = True
            self._news.tell(line)
