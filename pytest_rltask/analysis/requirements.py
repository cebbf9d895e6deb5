"""What trials missed by: a grade has one threshold, but a grader may demand more, and then another demand may bind.

Records tell it in two ways. The label of a miss names the demand, and a metric that equals the score in all trials of a
label is what was held against it: where that is another one than in the trials that passed, the demand has a threshold
of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_rltask.run.record import Record

__all__ = ["Requirement", "is_out_of_reach", "requirements"]


@dataclass(frozen=True)
class Requirement:
    """A kind of miss."""

    label: str
    trials: int
    by: str
    """``score`` if a lower threshold lets them pass; ``other`` if none does, since they reached it or cheated;
    ``worst`` if all have the worst score there is; ``own`` if their score is another measure than that of the rest."""
    measure: str
    """The metric that the score is, in all of these trials; empty if none is."""


def is_out_of_reach(record: Record) -> bool:
    """Say whether no threshold lets a judged trial pass: it cheated, has no score, or missed in spite of it."""
    if record.outcome == "cheated" or record.score is None or not math.isfinite(record.score):
        return True
    return record.outcome == "failed" and record.threshold is not None and record.score >= record.threshold


def requirements(judged: Sequence[Record]) -> list[Requirement]:
    """Return what the trials of a row missed by, the most frequent first."""
    groups: dict[str, list[Record]] = {}
    for record in judged:
        if record.outcome != "passed":
            groups.setdefault(record.label or "assertion", []).append(record)
    usual = _usual_measure(judged)
    worst = min((record.score for record in judged if record.score is not None), default=None)
    found = [_requirement(label, records, usual, worst) for label, records in groups.items()]
    return sorted(found, key=lambda one: -one.trials)


def _requirement(label: str, records: list[Record], usual: str, worst: float | None) -> Requirement:
    names = _measures(records)
    measure = usual if usual in names else next(iter(names), "")
    if all(is_out_of_reach(record) for record in records):
        by = "other"
    elif all(record.score == worst for record in records):
        by = "worst"
    else:
        by = "own" if measure and usual and measure != usual else "score"
    return Requirement(label, len(records), by, measure)


def _usual_measure(judged: Sequence[Record]) -> str:
    """Return the metric that the score is in the trials that passed; without any, in the most of all."""
    if passed := [record for record in judged if record.outcome == "passed"]:
        return next(iter(_measures(passed)), "")
    count = Counter(name for record in judged for name in _measures([record]))
    return count.most_common(1)[0][0] if count else ""


def _measures(records: Sequence[Record]) -> list[str]:
    """Return the metrics that equal the score in all of some trials."""
    if not records:
        return []
    names = [name for name, value in records[0].metrics.items() if _is_score(value, records[0])]
    return [name for name in names if all(_is_score(record.metrics.get(name), record) for record in records)]


def _is_score(value: object, record: Record) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == record.score
