"""What the processes of a run have begun, finished and paid, kept up with while they go on.

Unlike :mod:`~pytest_rltask.run.live` it tells the outcome and cost of every trial, so that a process can decide by all
of them whether another one may start. Conversations are read over and not kept, and records only where the order in
which trials started counts: a run may have a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from pytest_rltask.run.amendments import Amendments, begun
from pytest_rltask.run.live import parsed, unread
from pytest_rltask.run.load import writer_of
from pytest_rltask.run.record import Record, RequestLog, Usage

__all__ = ["Attempt", "Ledger", "Standing"]


@dataclass(frozen=True)
class Attempt:
    """A trial that was begun and has no record."""

    trial_id: str
    at: str


class Standing(NamedTuple):
    """How far a trial is."""

    at: str
    """When it was begun."""
    how: Literal["open", "ended", "spoils"]
    """Whether how it ends is yet to be seen, is known, or is such that no verdict is to be had."""
    outcome: bool | None = None
    """How it ended: passed, missed, or None for an errored one."""


class Ledger:
    """The trials of a run directory, in whatever state they are.

    Args:
        path: the run directory.
        since: UTC time, ISO 8601: what began before belongs to an invocation that this one resumes.
        is_alive: says of a process of the run, by its name, whether it is alive.
        price: returns what tokens of a model cost; None: unknown.
        keeps_outcomes: whether `standing` is going to be asked.
    """

    def __init__(
        self,
        path: Path,
        *,
        since: str,
        is_alive: Callable[[str], bool],
        price: Callable[[str, Usage], float | None] = lambda model, usage: None,
        keeps_outcomes: bool = True,
    ) -> None:
        self.payments: list[tuple[str, float | None]] = []
        """Trial and cost of every record, those that do not count included; None: unknown. Who has taken them in
        removes them."""
        self.ended: list[Record] = []
        """Records of this invocation, without conversations and requests, as they were read; the same holds."""
        self.changed: set[str] = set()
        """Trials of which anything was said that `standing` depends on; the same holds."""
        self._keeps_outcomes = keeps_outcomes
        self._path = path
        self._since = since
        self._is_alive = is_alive
        self._price = price
        self._read: dict[Path, int] = {}
        self._records: dict[str, list[Record]] = {}
        self._amendments = Amendments()
        self._counting: dict[str, Record | None] = {}
        self._starts: dict[str, list[str]] = {}
        self._attempts: dict[tuple[str, Path], list[Attempt]] = {}

    def read(self) -> Ledger:
        """Take in what was written since the last reading."""
        for line, file in unread(self._path, self._read):
            entry = parsed(line)
            trial_id, at = str(entry.get("trial_id")), str(entry.get("at", ""))
            match entry.get("type"):
                case "started":
                    if self._keeps_outcomes:
                        self._starts.setdefault(trial_id, []).append(at)
                        self.changed.add(trial_id)
                    self._attempts.setdefault((trial_id, file), []).append(Attempt(trial_id, at))
                case "trial":
                    self._finish(Record.from_json({**entry, "messages": [], "tools": [], "asked": []}), file)
                case _ if self._keeps_outcomes:
                    self._forget(trial_id)
                    self._amendments.note(entry)
        return self

    def _finish(self, record: Record, file: Path) -> None:
        trial_id = record.trial_id
        self.payments.append((trial_id, self._cost(record)))
        record.requests = []  # a run may have thousands of trials
        if self._keeps_outcomes:
            self._forget(trial_id)
            self._records.setdefault(trial_id, []).append(record)
        if record.started >= self._since:
            self.ended.append(record)
        if attempts := self._attempts.get((trial_id, file)):
            attempts.pop()
            if not attempts:
                del self._attempts[trial_id, file]

    def _forget(self, trial_id: str) -> None:
        self._counting.pop(trial_id, None)
        self.changed.add(trial_id)

    def _cost(self, record: Record) -> float | None:
        """Return what a trial cost; where a server answered as a model of unknown price, by that of the one asked."""
        total = record.known_cost_usd
        for request in record.paid_requests:
            if request.cost_usd is None:
                if (cost := self._price(_asked(record, request), request.usage)) is None:
                    return None
                total += cost
        return total

    def _counted(self, trial_id: str) -> Record | None:
        """Return the record of a trial that counts, with its last grade."""
        if trial_id not in self._counting:
            self._counting[trial_id], _ = self._amendments.counted(self._records.get(trial_id, ()))
        return self._counting[trial_id]

    def attempts(self) -> Iterator[tuple[Attempt, bool]]:
        """Yield what was begun and has no record, and whether it is in flight: the others' process died."""
        ours = {file for (_, file), attempts in self._attempts.items() if attempts[-1].at >= self._since}
        alive = {file for file in ours if self._is_alive(writer_of(file))}
        for (_, file), attempts in self._attempts.items():
            for attempt in attempts:
                yield attempt, file in alive and attempt.at >= self._since

    def in_flight(self) -> set[str]:
        """Return the trials that were begun, have no record, and whose process lives."""
        return {attempt.trial_id for attempt, in_flight in self.attempts() if in_flight}

    def standing(self, trial_id: str, *, in_flight: bool, is_tolerated: Callable[[Record], bool]) -> Standing | None:
        """Return how far a trial is; None if it was not begun, or died with its process and left no record.

        Args:
            trial_id: of the trial.
            in_flight: whether it is.
            is_tolerated: says whether an errored one may be missing from a verdict.
        """
        record, starts = self._counted(trial_id), self._starts.get(trial_id, [])
        if record is None or not record.graded:
            if in_flight:
                return Standing(max(starts), "open")
            if record is None:
                return None
            return Standing(begun(record, starts), "ended" if is_tolerated(record) else "spoils")
        if record.outcome == "errored":  # it has a grade, and its test has yet to judge it, or did not want to
            return Standing(begun(record, starts), "spoils" if self._amendments.is_asserted(record) else "open")
        return Standing(begun(record, starts), "ended", record.outcome == "passed")


def _asked(record: Record, request: RequestLog) -> str:
    """Return the model that a request was to."""
    return record.judges.get(request.judge, request.judge) or record.model
