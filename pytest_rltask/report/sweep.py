"""A test over several values of its parameters: at which of them the pass rate lands in the band.

A sweep is for finding the difficulty at which a task is worth training on, so that its last line is the answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_rltask.run.planned import PlannedTrial, split_trial_id

__all__ = ["Point", "Sweep", "differing", "same_trials", "values_text"]

SIDES = ("in band", "too easy", "too hard", "undecided", "incomplete")
MOST_TOLD = 12
VALUE_CHARS = 40


@dataclass(frozen=True)
class Point:
    """One row of a sweep."""

    parameters: Mapping[str, Any]
    """Values of those parameters in which the rows differ."""
    verdict: str
    """Word of the verdict."""
    rate: float | None
    """Observed pass rate; None: nothing was judged."""


@dataclass(frozen=True)
class Sweep:
    """The rows of one test by one model, which differ in their parameters."""

    test: str
    """Node id of the test function."""
    task: str
    model: str
    points: list[Point] = field(default_factory=list)
    """In the order in which the test has them."""

    @property
    def in_band(self) -> list[Mapping[str, Any]]:
        """The values at which the pass rate lies in the band."""
        return [point.parameters for point in self.points if point.verdict == "in band"]

    def to_json(self) -> dict[str, Any]:
        """Return the sweep as JSON data."""
        points = [{**vars(point), "parameters": dict(point.parameters)} for point in self.points]
        in_band = [dict(one) for one in self.in_band]
        return {"test": self.test, "task": self.task, "model": self.model, "in_band": in_band, "points": points}

    def __str__(self) -> str:
        told = [f"{side} at {self._at(side)}" for side in SIDES if any(one.verdict == side for one in self.points)]
        names = " and ".join(next(iter(self.points)).parameters)
        who = f"{self.task} over {names} by {self.model}"
        if self.in_band:
            return f"{who}: {'; '.join(told)}"
        between = self._between()
        look = f"; look between {' and '.join(between)}" if between else ""
        return f"{who}: in band nowhere; {'; '.join(told)}{look}"

    def _at(self, side: str) -> str:
        found = [values_text(one.parameters) for one in self.points if one.verdict == side]
        more = [f"{len(found) - MOST_TOLD} more"] if len(found) > MOST_TOLD else []
        return (", " if len(self.points[0].parameters) == 1 else " | ").join([*found[:MOST_TOLD], *more])

    def _between(self) -> list[str]:
        """Return the neighbours, of a number, between which the rate goes from one side of the band to the other."""
        if len(self.points[0].parameters) != 1:
            return []
        numbers = [(next(iter(one.parameters.values())), one) for one in self.points if one.rate is not None]
        if not all(isinstance(value, int | float) and not isinstance(value, bool) for value, _ in numbers):
            return []
        ordered = sorted(numbers, key=lambda pair: pair[0])
        for (_, one), (_, other) in itertools.pairwise(ordered):
            if {one.verdict, other.verdict} == {"too easy", "too hard"}:
                return [values_text(one.parameters), values_text(other.parameters)]
        return []


def values_text(parameters: Mapping[str, Any]) -> str:
    """Return parameters in words.

    Example:
        >>> values_text({"bugs": 3, "language": "rust"})
        "bugs=3 language='rust'"
    """
    return " ".join(f"{name}={_short(value)}" for name, value in parameters.items())


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= VALUE_CHARS else f"{text[: VALUE_CHARS - 1]}…"


def differing(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the parameters in which rows differ, in their order."""
    every = list(rows)
    names = dict.fromkeys(name for one in every for name in one)
    return [name for name in names if len({repr(one.get(name)) for one in every}) > 1]


def same_trials(plan: Iterable[PlannedTrial]) -> Iterator[str]:
    """Yield which rows of a test play the same trials, since their parameters do not reach the task."""
    rows: dict[tuple[str, str], dict[str, list[PlannedTrial]]] = {}
    for trial in plan:
        if trial.parameters:
            test = split_trial_id(trial.test)[0]
            rows.setdefault((test, trial.model), {}).setdefault(trial.test, []).append(trial)
    told = dict[str, None]()
    for (test, _), own in rows.items():
        alike: dict[str, list[PlannedTrial]] = {}
        for trials in own.values():
            alike.setdefault(trials[0].task_digest, []).append(trials[0])
        for group in alike.values():
            names = differing(trial.parameters for trial in group)
            if len(group) > 1:
                what = " and ".join(names) or "what they differ in"
                does = "do" if len(names) > 1 else "does"
                told[
                    f"{len(group)} rows play the same trials: {test}: {what} {does} not reach the task, and may serve "
                    "the assertion alone"
                ] = None
    yield from told
