"""What the processes of a run have begun, finished and paid, kept up with while they go on.

Unlike :mod:`~pytest_rltask.run.live` it tells the outcome and cost of every trial, so that a process can decide by all
of them whether another one may start. Conversations are read over and not kept, and records only where the order in
which trials started counts: a run may have a hundred thousand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_rltask.run.amendments import Amendments, begun
from pytest_rltask.run.live import parsed, unread
from pytest_rltask.run.load import writer_of
from pytest_rltask.run.record import Record, RequestLog, Usage

__all__ = ["Attempt", "Ledger"]


@dataclass(frozen=True)
class Attempt:
    """A trial that was begun and has no record."""

    trial_id: str
    at: str


class Ledger:
    """The trials of a run directory, in whatever state they are.

    Args:
        path: the run directory.
        since: UTC time, ISO 8601: what began before belongs to an invocation that this one resumes.
        is_alive: says of a process of the run, by its name, whether it is alive.
        price: returns what tokens of a model cost; None: unknown.
        keeps_outcomes: whether `outcomes` is going to be asked.
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
                    self._attempts.setdefault((trial_id, file), []).append(Attempt(trial_id, at))
                case "trial":
                    self._finish(Record.from_json({**entry, "messages": [], "tools": [], "asked": []}), file)
                case _ if self._keeps_outcomes:
                    self._counting.pop(trial_id, None)
                    self._amendments.note(entry)
        return self

    def _finish(self, record: Record, file: Path) -> None:
        trial_id = record.trial_id
        self.payments.append((trial_id, self._cost(record)))
        record.requests = []  # a run may have thousands of trials
        if self._keeps_outcomes:
            self._counting.pop(trial_id, None)
            self._records.setdefault(trial_id, []).append(record)
        if record.started >= self._since:
            self.ended.append(record)
        if attempts := self._attempts.get((trial_id, file)):
            attempts.pop()
            if not attempts:
                del self._attempts[trial_id, file]

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

    def outcomes(self, trial_ids: Iterable[str], *, is_tolerated: Callable[[Record], bool]) -> list[bool | None]:
        """Return how trials ended, in the order in which they started: passed, missed, or None for an errored one.

        It ends before the first that has not ended yet, or that the test has yet to judge. Nothing is returned if one
        errored in a way that is not tolerated: no verdict is then to be had.

        Args:
            trial_ids: of the trials.
            is_tolerated: says whether an errored one may be missing from a verdict.
        """
        ended: list[tuple[str, bool | None]] = []
        pending: list[str] = []
        flying = {attempt.trial_id for attempt, in_flight in self.attempts() if in_flight}
        for trial_id in trial_ids:
            record, starts = self._counted(trial_id), self._starts.get(trial_id, [])
            if record is None or not record.graded:
                if trial_id in flying:
                    pending.append(max(starts))
                elif record is not None:
                    if not is_tolerated(record):
                        return []
                    ended.append((begun(record, starts), None))
                continue
            outcome = record.outcome
            if outcome == "errored":
                if self._amendments.is_asserted(record):
                    return []
                pending.append(begun(record, starts))
            else:
                ended.append((begun(record, starts), outcome == "passed"))
        until = min(pending, default="~")
        return [outcome for at, outcome in sorted(ended, key=lambda end: end[0]) if at < until]


def _asked(record: Record, request: RequestLog) -> str:
    """Return the model that a request was to."""
    return record.judges.get(request.judge, request.judge) or record.model
