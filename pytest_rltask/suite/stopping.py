"""May a trial that is due still start? Each process of a run asks this for its trials.

Three things may keep one from starting: others ended in one fault again and again, the verdict on its task and model is
proven (``--stop-early``), or the money would not last (``--max-cost``). The answer follows from what all processes have
written into the run directory. It is given, and the start noted, under a lock, so that they answer one after the other.
"""

from __future__ import annotations

import bisect
import contextlib
import fcntl
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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
from pytest_rltask.suite.proving import Series
from pytest_rltask.task import Band
from pytest_rltask.verdict import CAUSES, cause_of, is_tolerated

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
        bands = {(trial.test, trial.model): Band(*trial.band) for trial in self._plan.values()}
        self._series = {group: Series(trial_ids, bands[group]) for group, trial_ids in self._groups.items()}
        self._flying: set[str] = set()
        self._streaks: dict[tuple[str, str], Streak] = {}
        self._attempts = attempts
        self._deaths: Counter[str] = Counter()
        self._spent = 0.0
        self._dearest_here: dict[tuple[str, str], float] = {}  # what the dearest trial of each test and model cost
        self._unknown: Counter[tuple[str, str]] = Counter()  # trials of unknown cost, by test and model
        self._stop_early = stop_early
        self._max_cost = max_cost
        self._earlier = EarlierRuns(log_dir, besides=writer.path)
        price = (prices or Prices()).of_tokens
        self._ledger = Ledger(writer.path, since=since, is_alive=is_alive, price=price, keeps_outcomes=stop_early)

    def ask(self, trial_id: str) -> NotStarted | Literal["later"] | None:
        """Let a trial start, and note that it does (None); or say why it does not."""
        trial = self._plan[trial_id]
        with locked(self._writer.path / "run.json"):
            self._take_in(self._ledger.read())
            answer = self._faulty(trial) or self._proven(trial) or self._unaffordable(trial)
            if answer is None:
                self._writer.start(trial_id)
        return answer

    def _take_in(self, ledger: Ledger) -> None:
        """Take in what has ended since the last time: to look through all of it for each trial would take hours."""
        for record in ledger.ended:
            other = self._plan.get(record.trial_id)
            if other and not self._is_begun_again(record):
                self._streaks.setdefault((other.test, other.model), Streak()).add(record)
        for trial_id, cost in ledger.payments:
            self._spent += cost or 0.0
            if paid_for := self._plan.get(trial_id):
                group = paid_for.test, paid_for.model
                if cost:
                    self._dearest_here[group] = max(cost, self._dearest_here.get(group, 0.0))
                self._unknown[group] += cost is None
        ledger.ended.clear()
        ledger.payments.clear()

    def _faulty(self, trial: PlannedTrial) -> NotStarted | None:
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
        flying = self._ledger.in_flight()
        for trial_id in self._ledger.changed | (flying ^ self._flying):
            if other := self._plan.get(trial_id):
                now = self._ledger.standing(trial_id, in_flight=trial_id in flying, is_tolerated=is_tolerated)
                self._series[other.test, other.model].take_in(trial_id, now)
        self._flying = flying
        self._ledger.changed.clear()
        proof = self._series[trial.test, trial.model].proof()
        return NotStarted("proven", f"stopped early: {proof}", RULE) if proof else None

    def _unaffordable(self, trial: PlannedTrial) -> NotStarted | Literal["later"] | None:
        if self._max_cost is None or not is_paid_trial(trial):
            return None
        # Of unknown cost, although the price is known: most likely no more than the dearest of its kind.
        unknown = (count * (self._dearest(self._any(*group)) or 0.0) for group, count in self._unknown.items() if count)
        spent = self._spent + sum(unknown)
        funds = Funds(self._max_cost, spent=spent)
        for attempt, in_flight in self._ledger.attempts():
            other = self._plan.get(attempt.trial_id)
            if other and is_paid_trial(other):
                funds = funds.reserving(self._dearest(other), in_flight=in_flight)
        return funds.answer(self._dearest(trial))

    def _any(self, test: str, model: str) -> PlannedTrial:
        return self._plan[self._groups[test, model][0]]

    def _dearest(self, trial: PlannedTrial) -> float | None:
        """Return what the dearest trial of the same test and model cost, here or in earlier runs; None: unknown."""
        here = self._dearest_here.get((trial.test, trial.model), 0.0)
        return max(here, self._earlier.dearest(trial) or 0.0) or None


class Streak:
    """How the last trials of a test and model ended: in one fault again and again, or not."""

    def __init__(self) -> None:
        self._ended: list[tuple[float, str]] = []
        """When the last of them ended, and where their faults happened (empty: it has a grade)."""
        self._told: dict[str, tuple[float, str]] = {}
        """When a fault happened first, and what was said of it then, by place."""

    def add(self, record: Record) -> None:
        """Take in a finished trial. One whose fault is tolerated says nothing: the next may fare better."""
        end_s = datetime.fromisoformat(record.started).timestamp() + record.seconds.get("total", 0.0)
        if record.graded or record.fault is None:
            self._insert(end_s, "")
        elif not is_tolerated(record):
            first, *_ = record.fault.message.splitlines() or [""]
            said = f"{record.fault.kind} fault: {first}"
            told = f"{REPEATS} trials in a row ended in the same {said}"
            remedy = CAUSES[cause_of(record)].remedy
            place, said = record.fault.place, f"{told}; {remedy}, then go on with --resume"
            self._told[place] = min((end_s, said), self._told.get(place, (math.inf, "")))
            self._insert(end_s, place)

    def _insert(self, end_s: float, place: str) -> None:
        bisect.insort(self._ended, (end_s, place))
        del self._ended[:-REPEATS]

    @property
    def reason(self) -> str:
        """Why no more of them are played; empty if they are."""
        places = {place for _, place in self._ended}
        if len(self._ended) < REPEATS or len(places) > 1:
            return ""
        return self._told.get(places.pop(), (0.0, ""))[1]  # as the first said: one reason for all


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
