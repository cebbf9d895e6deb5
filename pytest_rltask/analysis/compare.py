"""``rltask compare A B``: is a task harder in run B than in run A, and what changed between the two?

Where both runs played the same seeds of the same task with the same prompts, trials are compared in pairs, which takes
the seeds' difficulty out of the question; else two rates are left, and the answer says that it is unpaired, and why.
The decision is by an exact test, at 5 % for all rows together (Holm); errored trials are left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from pytest_rltask.analysis.paired import (
    Pairs,
    adjusted,
    exact_interval,
    fisher_p,
    mcnemar_p,
    paired_interval,
    unpaired_interval,
)
from pytest_rltask.analysis.rows import Row, rows_of
from pytest_rltask.analysis.run_changes import Change, grader_changes, row_changes, run_changes
from pytest_rltask.analysis.spread import edges_of, five_numbers, histogram, scores_of
from pytest_rltask.run.load import Run
from pytest_rltask.run.record import Record

__all__ = ["FAIL_ON", "Compared", "Comparison", "Side", "compare"]

LEVEL = 0.05
"""Of 100 comparisons of equal runs, in at most five any row is called different."""
FAIL_ON = ("worse", "changed")
ENOUGH = 0.5
"""Trials are paired if at least this share of the fewer ones has a pair."""

Word = Literal["worse", "better", "not told apart", "nothing to compare"]


@dataclass(frozen=True)
class Side:
    """The trials of a task in one of the runs."""

    test: str
    model: str
    judged: int
    passed: int
    cheated: int
    errored: int
    """Without a grade: left out."""
    interval: tuple[float, float] | None
    """Of the pass rate, exact at 95 %; None without a judged trial."""
    scores: tuple[float, ...]
    """Least score, quartiles, best score."""
    histogram: list[int]


@dataclass(frozen=True)
class Compared:
    """A task and model in both runs."""

    task: str
    a: Side
    b: Side
    word: Word
    """What is shown of B beside A, at 5 % for all rows together."""
    pairs: Pairs | None
    """Trials by seed; None: unpaired."""
    unpaired: str
    """Why they are not paired; empty if they are."""
    alone: tuple[int, int]
    """Judged trials of A and of B without a pair, if the others are paired."""
    difference: float | None
    """Pass rate of B less that of A, of the pairs if there are any."""
    interval: tuple[float, float] | None
    """Of the difference: Newcombe's, at 95 %."""
    p: float | None
    """Exact, two-sided: McNemar's of pairs, else Fisher's."""
    p_all: float | None
    """The same, for all rows together."""
    edges: tuple[float, float]
    """Ends of both histograms."""
    changes: list[Change]
    grader: list[str]
    """How what graded them differs."""
    prompts: int
    """Seeds of both runs whose prompts differ."""
    is_task_changed: bool

    @property
    def is_changed(self) -> bool:
        """Whether the task, its prompts or its grader are others."""
        return bool(self.is_task_changed or self.prompts or self.grader)


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side."""

    a: str
    b: str
    """Names of the run directories."""
    rows: list[Compared]
    only_a: list[str]
    """Tasks, with the model, that the other run has not."""
    only_b: list[str]
    changes: list[Change]
    """What the headers of the runs tell."""

    def fails(self, fail_on: str | None) -> list[str]:
        """Say why a comparison fails, a phrase each; nothing if it does not.

        Args:
            fail_on: ``worse`` if B is shown to be lower somewhere; ``changed`` if it is shown to be lower or higher, a
                task, prompt or grader is another, or only one run has a task; None never fails.
        """
        words = {"worse": ("worse",), "changed": ("worse", "better")}.get(fail_on or "", ())
        found = [f"{row.task} by {row.b.model} is {row.word}" for row in self.rows if row.word in words]
        if fail_on == "changed":
            found += [f"{row.task} by {row.b.model} is another: {what}" for row in self.rows for what in _others(row)]
            found += [
                f"{name} is only in {run}" for run, names in (("A", self.only_a), ("B", self.only_b)) for name in names
            ]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return asdict(self)


def compare(a: Run, b: Run) -> Comparison:
    """Set two runs side by side.

    Args:
        a: the earlier one, or what B is measured against.
        b: the later one.
    """
    matched, only_a, only_b = _matched(rows_of(a), rows_of(b))
    rows = [_compared(a, row_a, b, row_b) for row_a, row_b in matched]
    asked = [row.p for row in rows if row.p is not None]
    ps = iter(adjusted(asked))
    rows = [row if row.p is None else _judged(row, next(ps)) for row in rows]
    return Comparison(
        a=a.path.resolve().name,
        b=b.path.resolve().name,
        rows=rows,
        only_a=[f"{row.name} by {row.model}" for row in only_a],
        only_b=[f"{row.name} by {row.model}" for row in only_b],
        changes=run_changes(a, b),
    )


def _others(row: Compared) -> Iterator[str]:
    if row.is_task_changed:
        yield "the task"
    if row.prompts:
        yield "its prompts"
    if row.grader:
        yield "its grader"


def _matched(a: list[Row], b: list[Row]) -> tuple[list[tuple[Row, Row]], list[Row], list[Row]]:
    """Return the rows of the same test and model, then of the same task and model, then the only ones of a task."""
    pairs: list[tuple[Row, Row]] = []

    def take(key: Any) -> None:
        for row in list(a):
            mine, theirs = ([one for one in side if key(one) == key(row)] for side in (a, b))
            if len(mine) == len(theirs) == 1:
                pairs.append((row, theirs[0]))
                a.remove(row)
                b.remove(theirs[0])

    several = {row.test for side in (a, b) for row in side if sum(other.test == row.test for other in side) > 1}
    take(lambda row: (row.test, row.model))
    take(lambda row: (row.name, row.model))
    # One model each: whatever they are called, the question is which of them is better.
    take(lambda row: row.test if row.test not in several else (row.test, row.model))
    return pairs, a, b


def _compared(run_a: Run, a: Row, run_b: Run, b: Row) -> Compared:
    both = list(_by_seed(a.judged, b.judged))
    digests = [{record.task_digest for record in side.judged} for side in (a, b)]
    is_task_changed = digests[0] != digests[1] and all(digests)
    prompts = sum(one.prompt_digest != other.prompt_digest for one, other in both)
    why = _why_unpaired(a, b, len(both), prompts, is_task_changed=is_task_changed)
    edges = edges_of(scores_of(a.judged), scores_of(b.judged))
    row = Compared(
        task=b.name,
        a=_side(a, edges),
        b=_side(b, edges),
        word="nothing to compare",
        pairs=None,
        unpaired=why,
        alone=(0, 0),
        difference=None,
        interval=None,
        p=None,
        p_all=None,
        edges=edges,
        changes=[*_prompt_change(prompts, len(both)), *row_changes(a, b)],
        grader=grader_changes(run_a, a, run_b, b),
        prompts=prompts,
        is_task_changed=is_task_changed,
    )
    if not a.judged or not b.judged:
        return row
    if why:
        passed, judged = (a.passed, b.passed), (len(a.judged), len(b.judged))
        difference = b.passed / len(b.judged) - a.passed / len(a.judged)
        interval = unpaired_interval(passed, judged)
        return replace(row, difference=difference, interval=interval, p=fisher_p(passed, judged))
    pairs = _pairs(both)
    difference = (pairs.only_b - pairs.only_a) / pairs.total
    alone = (len(a.judged) - len(both), len(b.judged) - len(both))
    interval = paired_interval(pairs)
    return replace(row, pairs=pairs, alone=alone, difference=difference, interval=interval, p=mcnemar_p(pairs))


def _prompt_change(prompts: int, seeds: int) -> Iterator[Change]:
    if prompts:
        yield Change("prompt", "one text", f"another for {prompts} of {seeds} seeds")


def _judged(row: Compared, p_all: float) -> Compared:
    assert row.difference is not None
    word: Word = "not told apart" if p_all > LEVEL else "worse" if row.difference < 0 else "better"
    return replace(row, word=word, p_all=p_all)


def _why_unpaired(a: Row, b: Row, seeds: int, prompts: int, *, is_task_changed: bool) -> str:
    fewer = min(len(a.judged), len(b.judged))
    if not fewer:
        return f"no judged trial in {'A' if not a.judged else 'B'}"
    if is_task_changed:
        return "task changed"
    if prompts:
        return f"prompt changed ({prompts} of {seeds} seeds)"
    if seeds < ENOUGH * fewer:
        return f"seeds differ ({seeds} of {fewer} in both)"
    return ""


def _by_seed(a: Sequence[Record], b: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Yield the trials of the same seed; of several trials of one seed the first ones, in their order."""
    left: dict[int, list[Record]] = {}
    for record in b:
        left.setdefault(record.seed, []).append(record)
    for record in a:
        if left.get(record.seed):
            yield record, left[record.seed].pop(0)


def _pairs(both: Iterable[tuple[Record, Record]]) -> Pairs:
    ended = [(one.outcome == "passed", other.outcome == "passed") for one, other in both]
    return Pairs(*(ended.count(how) for how in ((True, True), (True, False), (False, True), (False, False))))


def _side(row: Row, edges: tuple[float, float]) -> Side:
    scores = scores_of(row.judged)
    return Side(
        test=row.test,
        model=row.model,
        judged=len(row.judged),
        passed=row.passed,
        cheated=sum(record.outcome == "cheated" for record in row.judged),
        errored=len(row.errored) + row.cut_off,
        interval=exact_interval(row.passed, len(row.judged)) if row.judged else None,
        scores=five_numbers(scores),
        histogram=histogram(scores, *edges),
    )
