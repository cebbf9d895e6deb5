"""May a trial that is due still start? Each process of a run asks this for its trials.

Three things may keep one from starting: others ended in one fault again and again, the verdict on its task and model is
proven (``--stop-early``), or the money would not last (``--max-cost``). The answer follows from what all processes have
written into the run directory. It is given, and the start noted, under a lock, so that they answer one after the other.
"""

from __future__ import annotations

import bisect
import contextlib
import fcntl
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final, Literal

from pytest_rltask.models.judges import is_paid_trial
from pytest_rltask.models.prices import Prices
from pytest_rltask.proof import RULE
from pytest_rltask.run.earlier import EarlierRuns
from pytest_rltask.run.ledger import Ledger
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import NotStarted, PlannedTrial
from pytest_rltask.run.record import Record, dollars
from pytest_rltask.task import Band
from pytest_rltask.verdict import CAUSES, cause_of, first_proof, is_tolerated

__all__ = ["LATER", "Admission", "Funds", "Streak"]

LATER: Final = "later"
"""The answer if it depends on trials in flight: ask again once one has ended."""
REPEATS = 3
"""Equal faults in a row after which a task's trials are given up: those to come would be paid for nothing."""


class Admission:
    """Lets trials start, or says why they do not.

    Args:
        writer: of this process; it notes the starts.
        plan: the trials of the run.
        since: UTC time, ISO 8601, at which this invocation began: what an earlier one began is not in flight.
        stop_early: whether a task's trials end once its verdict is proven.
        max_cost: US dollars that the run may cost, with what it cost before it was resumed; None: any.
        prices: what tokens of models cost that the table lacks; None: none is given.
        log_dir: where earlier runs tell what trials cost.
        is_alive: says of a process of the run, by its name, whether it is alive.
        attempts: how often a trial is begun whose process dies: before the last of them, that says nothing of it.
    """

    def __init__(
        self,
        writer: RunWriter,
        plan: Iterable[PlannedTrial],
        *,
        since: str,
        stop_early: bool,
        max_cost: float | None,
        prices: Prices | None = None,
        log_dir: Path,
        is_alive: Callable[[str], bool],
        attempts: int = 1,
    ) -> None:
        self._writer = writer
        self._plan = {trial.trial_id: trial for trial in plan}
        self._groups: dict[tuple[str, str], list[str]] = {}
        for trial in self._plan.values():
            self._groups.setdefault((trial.test, trial.model), []).append(trial.trial_id)
        self._streaks: dict[tuple[str, str], Streak] = {}
        self._attempts = attempts
        self._deaths: Counter[str] = Counter()
        self._told = 0  # how many records that ended the streaks have taken in
        self._stop_early = stop_early
        self._max_cost = max_cost
        self._earlier = EarlierRuns(log_dir, besides=writer.path)
        self._ledger = Ledger(writer.path, since=since, is_alive=is_alive, price=(prices or Prices()).of_tokens)

    def ask(self, trial_id: str) -> NotStarted | Literal["later"] | None:
        """Let a trial start, and note that it does (None); or say why it does not."""
        trial = self._plan[trial_id]
        with locked(self._writer.path / "run.json"):
            self._ledger.read()
            answer = self._faulty(trial) or self._proven(trial) or self._unaffordable(trial)
            if answer is None:
                self._writer.start(trial_id)
        return answer

    def _faulty(self, trial: PlannedTrial) -> NotStarted | None:
        while self._told < len(self._ledger.ended):
            record = self._ledger.ended[self._told]
            self._told += 1
            other = self._plan.get(record.trial_id)
            if other and not self._is_begun_again(record):
                self._streaks.setdefault((other.test, other.model), Streak()).add(record)
        streak = self._streaks.get((trial.test, trial.model))
        reason = streak.reason if streak else ""
        return NotStarted("faulty", reason) if reason else None

    def _is_begun_again(self, record: Record) -> bool:
        """Say whether a trial is played once more, since what played it died: many die at once with a node."""
        if record.fault is None or record.fault.kind != "process":
            return False
        self._deaths[record.trial_id] += 1
        return self._deaths[record.trial_id] < self._attempts

    def _proven(self, trial: PlannedTrial) -> NotStarted | None:
        if not self._stop_early:
            return None
        group = self._groups[trial.test, trial.model]
        proof = first_proof(self._ledger.outcomes(group, is_tolerated=is_tolerated), band=Band(*trial.band))
        return NotStarted("proven", f"stopped early: {proof}", RULE) if proof else None

    def _unaffordable(self, trial: PlannedTrial) -> NotStarted | Literal["later"] | None:
        if self._max_cost is None or not is_paid_trial(trial):
            return None
        payments = self._ledger.payments
        here: dict[tuple[str, str], float] = {}  # what the dearest trial of each test and model cost
        for trial_id, cost in payments:
            if cost and (paid_for := self._plan.get(trial_id)):
                group = paid_for.test, paid_for.model
                here[group] = max(cost, here.get(group, 0.0))
        # Of unknown cost, although the price is known: most likely no more than the dearest of its kind.
        unknown = [other for trial_id, cost in payments if cost is None and (other := self._plan.get(trial_id))]
        spent = sum(cost for _, cost in payments if cost) + sum(self._dearest(other, here) or 0.0 for other in unknown)
        funds = Funds(self._max_cost, spent=spent)
        for attempt, in_flight in self._ledger.attempts():
            other = self._plan.get(attempt.trial_id)
            if other and is_paid_trial(other):
                funds = funds.reserving(self._dearest(other, here), in_flight=in_flight)
        return funds.answer(self._dearest(trial, here))

    def _dearest(self, trial: PlannedTrial, here: Mapping[tuple[str, str], float]) -> float | None:
        """Return what the dearest trial of the same test and model cost, here or in earlier runs; None: unknown."""
        return max(here.get((trial.test, trial.model), 0.0), self._earlier.dearest(trial) or 0.0) or None


class Streak:
    """How the last trials of a test and model ended: in one fault again and again, or not."""

    def __init__(self) -> None:
        self._ended: list[tuple[float, str, str]] = []
        """When each ended, where its fault happened (empty: it has a grade), and what to say of it."""

    def add(self, record: Record) -> None:
        """Take in a finished trial. One whose fault is tolerated says nothing: the next may fare better."""
        end_s = datetime.fromisoformat(record.started).timestamp() + record.seconds.get("total", 0.0)
        if record.graded or record.fault is None:
            bisect.insort(self._ended, (end_s, "", ""))
        elif not is_tolerated(record):
            first, *_ = record.fault.message.splitlines() or [""]
            said = f"{record.fault.kind} fault: {first}"
            told = f"{REPEATS} trials in a row ended in the same {said}"
            remedy = CAUSES[cause_of(record)].remedy
            bisect.insort(self._ended, (end_s, record.fault.place, f"{told}; {remedy}, then go on with --resume"))

    @property
    def reason(self) -> str:
        """Why no more of them are played; empty if they are."""
        places = {place for _, place, _ in self._ended[-REPEATS:]}
        if len(self._ended) < REPEATS or len(places) > 1:
            return ""
        return next(told for _, place, told in self._ended if place in places)  # the first: one reason for all


@dataclass(frozen=True)
class Funds:
    """The money of a run, and what of it is spent or may be."""

    limit: float
    spent: float
    reserved: float = 0.0
    """What the trials in flight may cost, as far as anything is known of their like."""
    is_testing: bool = False
    """Whether a trial is in flight of whose like nothing is known."""

    def reserving(self, dearest: float | None, *, in_flight: bool) -> Funds:
        """Set aside what a trial that was begun may cost. One whose process died may have been paid in full."""
        if not in_flight:
            return replace(self, spent=self.spent + (dearest or 0.0))
        if dearest is None:
            return replace(self, is_testing=True)
        return replace(self, reserved=self.reserved + dearest)

    def answer(self, dearest: float | None) -> NotStarted | Literal["later"] | None:
        """Say whether the money lasts for one more trial; the first of its kind starts alone, for what it will cost."""
        needed = dearest or 0.0
        limit = self.limit * (1 + 1e-9)  # sums of many prices are not exact
        if self.spent >= self.limit or self.spent + needed > limit:
            more = f", and another trial may cost {dollars(needed)}" if needed else ""
            return NotStarted("cost", f"--max-cost {self.limit:g}: {dollars(self.spent)} is spent{more}")
        is_known = dearest is not None
        lasts = self.spent + self.reserved + needed <= limit if is_known else not self.is_testing
        return None if lasts else LATER


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file among all processes."""
    with path.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            yield
        finally:  # closing would not do: a process that a task forked meanwhile would hold it on
            fcntl.flock(handle, fcntl.LOCK_UN)
