"""Where the chances of a proposed threshold would be wrong: each such case with its reason, and with what to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_rltask.analysis.order import Cut
from pytest_rltask.analysis.rows import Row
from pytest_rltask.verdict import MAX_ERROR_SHARE

__all__ = ["FEWEST", "Refusal", "refusals"]

FEWEST = 10
"""Scores from which on a threshold is proposed."""


@dataclass(frozen=True)
class Refusal:
    """Why no threshold is proposed, and what to do."""

    kind: str
    """``errored``, ``few``, ``thresholds``, ``overruled``, ``binary``, ``unreached`` or ``ties``."""
    why: str
    do: str


def refusals(
    row: Row, scores: Sequence[float | None], errored: int, found: Sequence[Cut], *, fresh: str, again: str
) -> Iterator[Refusal]:
    """Yield why no threshold can be proposed, the most fundamental reason first.

    Args:
        row: the trials.
        scores: of the judged ones; None for one that no threshold lets pass.
        errored: trials without a grade.
        found: the thresholds that would be proposed.
        fresh: command that plays other seeds.
        again: command that plays errored trials again.
    """
    yield from _of_trials(row, errored, fresh=fresh, again=again)
    yield from _of_thresholds(row)
    yield from _of_scores(scores, found)


def _of_trials(row: Row, errored: int, *, fresh: str, again: str) -> Iterator[Refusal]:
    begun = len(row.judged) + errored
    if errored > MAX_ERROR_SHARE * begun:
        why = f"{errored} of {begun} trials have no grade, more than 20 %: what is left may be the easy ones"
        yield Refusal("errored", why, f"have them played again: {again}")
    if len(row.judged) < FEWEST:
        why = f"{len(row.judged)} scores are fewer than {FEWEST}, which tell no threshold from another"
        yield Refusal("few", why, f"play more trials: {fresh}")


def _of_thresholds(row: Row) -> Iterator[Refusal]:
    thresholds = Counter(record.threshold for record in row.judged)
    if len(thresholds) > 1:
        said = ", ".join(
            f"{'none' if value is None else f'{value:g}'} in {count}" for value, count in thresholds.most_common(3)
        )
        why = f"the threshold differs from trial to trial ({said}): no one number can replace it"
        do = "have the grader return the score as a share of its threshold, which is 1 then"
        yield Refusal("thresholds", why, do)
    overruled = sum(
        record.outcome == "passed"
        and record.threshold is not None
        and record.score is not None
        and record.score < record.threshold
        for record in row.judged
    )
    if overruled:
        why = f"{overruled} trials passed with a score below the threshold: the test's assertion judges, not the score"
        yield Refusal("overruled", why, "have the test assert what the grade says, and play again")


def _of_scores(scores: Sequence[float | None], found: Sequence[Cut]) -> Iterator[Refusal]:
    known = [score for score in scores if score is not None]
    values = sorted(set(known))
    if len(values) == 2 or (len(values) == 1 and len(known) == len(scores)):
        why = f"the scores are {' and '.join(f'{value:g}' for value in values)} alone: no threshold divides them anew"
        yield Refusal("binary", why, "have the grader return how good a trial is, not only whether it passed")
    if not found:
        why = f"a threshold could let {len(known)} of {len(scores)} trials pass, which are too few for the band"
        yield Refusal("unreached", why, "see what the others missed by: another demand than the score binds")
    elif all(cut.ties for cut in found):
        cut = max(found, key=lambda one: one.chance)
        why = f"a tie at the cut: {cut.ties + 1} of {len(scores)} trials have the score {cut.threshold:g}"
        is_worst = cut.threshold == values[0]
        do = "give part of the score for the first steps" if is_worst else "have the grader tell finer scores apart"
        yield Refusal("ties", why, f"{do}, or play more trials")
