"""What regrading changed: each trial's grade before and after, and what became of the pass rates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pytest_rltask.run.load import Run
from pytest_rltask.run.record import Record, Step

__all__ = ["Move", "Rate", "moves", "rates"]


@dataclass(frozen=True)
class Move:
    """A trial that was graded anew."""

    before: Record
    after: Record

    @property
    def step(self) -> Step:
        """How, by what and since what change."""
        return self.after.history[-1]

    @property
    def is_other(self) -> bool:
        """Whether its grade is another one now, and not by the name of the threshold alone."""
        was, now = ({**_grade(record), "threshold": None} for record in (self.before, self.after))
        return was != now

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "trial_id": self.after.trial_id,
            "how": self.step.how,
            "changes": self.step.changes,
            "before": _grade(self.before),
            "after": _grade(self.after),
            "reason": self.after.reason,
        }


@dataclass(frozen=True)
class Rate:
    """Passed and judged trials of a test and model, before and after."""

    task: str
    model: str
    before: tuple[int, int]
    after: tuple[int, int]


def moves(before: Run, after: Run) -> list[Move]:
    """Return the trials that were graded anew between two readings of a run, in the order of its plan."""
    found = []
    for trial in after.plan:
        was, now = before.records.get(trial.trial_id), after.records.get(trial.trial_id)
        if was and now and was.started == now.started and len(now.history) > len(was.history):
            found.append(Move(was, now))
    return found


def rates(before: Run, after: Run) -> Iterator[Rate]:
    """Yield the rates of each test and model of a run."""
    groups: dict[tuple[str, str], tuple[str, list[str]]] = {}
    for trial in after.plan:
        groups.setdefault((trial.test, trial.model), (trial.task, []))[1].append(trial.trial_id)
    for (_, model), (task, ids) in groups.items():
        yield Rate(task, model, _counted(before, ids), _counted(after, ids))


def _counted(run: Run, ids: list[str]) -> tuple[int, int]:
    outcomes = [run.records[one].outcome for one in ids if one in run.records]
    judged = [outcome for outcome in outcomes if outcome != "errored"]
    return judged.count("passed"), len(judged)


def _grade(record: Record) -> dict[str, Any]:
    return {"outcome": record.outcome, "score": record.score, "threshold": record.threshold, "label": record.label}
