"""Who plays the trials that an engine begins: in this process, or elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from pytest_rltask.run.record import Record, RequestLog
from pytest_rltask.trial.play import TrialSpec

__all__ = ["Player", "PlayerDied", "Told"]


class PlayerDied(Exception):
    """Whatever played a trial died with it, or was killed; holds its record as far as it was told of."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.reason)
        self.record = record


@dataclass(frozen=True)
class Told:
    """Whom a player tells of a trial while it is played."""

    paid: Callable[[Record, RequestLog], Awaitable[None]]
    """Puts on disk what a request cost; the trial goes on after that."""
    turned: Callable[[Record], None]
    """Shows how far a trial is, after its prompt and each turn."""
    cut_off: Callable[[Record], None]
    """Keeps what is known of a trial that is cancelled, or will not be waited for."""
    write: Callable[[Callable[[], None]], Awaitable[None]]
    """Has something else of a trial written, in the turn of all that is."""


class Player(Protocol):
    """Plays trials, wherever."""

    cleanup_s: float
    """Seconds that interrupted trials have to kill their processes and remove their files, all together."""

    def prepare(self, model: str) -> None:
        """Make ready for the trials of a model, by its name; what is wrong with it may be raised again by `play`."""
        ...

    async def play(self, spec: TrialSpec, told: Told) -> Record:
        """Play a trial to its grade; it is cancelled as any coroutine is.

        Raises:
            PlayerDied: what played it died.
        """
        ...

    async def aclose(self) -> None:
        """Give back what it holds, once no trial is in flight."""
        ...
