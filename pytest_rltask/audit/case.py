"""What a check is given, and what it raises: one task under audit, seen through its plays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pytest_rltask.audit.plays import Play, Plays
from pytest_rltask.run.record import Record
from pytest_rltask.task import Limits, Task

__all__ = ["TRIALS", "Case", "Check", "Unsound"]

TRIALS = 3
"""Seeds that solver, naive and null are played on, from ``--seed`` on; cheats, which are many, on the first alone."""


class Unsound(Exception):
    """What a check found, in words for the task's author, with the trial that shows it."""

    def __init__(self, seen: str, do: str, record: Record | None = None) -> None:
        super().__init__(f"{seen}\n{do}")
        self.record = record


@dataclass(frozen=True)
class Case:
    """One task under audit, and the means to look at it."""

    task: Task
    name: str
    seed: int
    limits: Limits
    plays: Plays
    assertion: Callable[[Record], str | None]
    """Has the author's test judge a trial: what its assertion said, or None if it held."""

    @property
    def seeds(self) -> range:
        """The seeds to try."""
        return range(self.seed, self.seed + TRIALS)

    def play(self, policy: str, seed: int, *, nth: int = 0) -> Play:
        """Return a play of a policy, which a fault must not have ended."""
        return self._whole(self.plays.play(self.task, self.name, policy, seed, self.limits, nth=nth))

    def warm(self, policy: str) -> Play:
        """Return a play of a policy that was not the first one in this process."""
        return self._whole(self.plays.warm(self.task, self.name, policy, self.seed, self.limits))

    def repeat(self, play: Play, seed: int) -> Play:
        """Return a play of the same calls on a seed; a fault may have ended it."""
        return self.plays.repeat(self.task, play, seed, self.limits)

    def open(self, seed: int) -> Record:
        """Return the record of an episode that was opened and closed."""
        record = self.plays.open(self.task, self.name, seed, self.limits)
        self._refuse_fault(record, f"seed {seed}")
        return record

    def _whole(self, play: Play) -> Play:
        self._refuse_fault(play.record, f"{play.record.model}, seed {play.record.seed}")
        return play

    def _refuse_fault(self, record: Record, what: str) -> None:
        if record.fault is not None:
            seen = (
                f"{what}: errored, {record.fault.kind} fault: {record.fault.message}\n{record.fault.details}".rstrip()
            )
            raise Unsound(seen, "Mend what it names, or have it raise ToolError if a model can mend it.", record)

    @property
    def player(self) -> str:
        """The best policy that the task ships; `null` if none."""
        return next((name for name in ("solver", "baseline", "naive") if name in self.task.policies), "null")


@dataclass(frozen=True)
class Check:
    """One check, and the policy that it is about."""

    name: str
    run: Callable[[Case], None]
    level: str = ""
    """Level of the check of this name in RFC 008; empty if it is ours."""
    policy: str = ""

    @property
    def id(self) -> str:
        """Name within a node id."""
        return "-".join(part for part in (self.name, self.policy) if part)

    @property
    def full_id(self) -> str:
        """The id of RFC 008, where it has one."""
        return f"{self.level}.{self.name}" if self.level else self.name
