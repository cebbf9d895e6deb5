"""Where must a threshold lie for the pass rate to lie in the band? Pure functions, from scores alone.

Take the m-th best of n scores as the threshold. Whatever the distribution of the scores, as long as no two are equal,
the share of *all* scores that reach it is then distributed as Beta(m, n + 1 - m): the law of order statistics (David &
Nagaraja 2003, Order Statistics, section 2.1). So the chance that the true pass rate lies in the band is known before
anything is played, and depends on m and n alone. Of a threshold that was fixed beforehand nothing so exact can be said:
its chance is that of Bayes, all pass rates taken for equally likely at first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pytest_rltask.proof import at_least
from pytest_rltask.task import Band

__all__ = ["WORTHWHILE", "Cut", "chance_of_rank", "chance_of_threshold", "cuts"]

WORTHWHILE = 0.9
"""Thresholds are offered, and today's is kept, whose chance is at least this share of the best one's."""


@dataclass(frozen=True)
class Cut:
    """A threshold that is one of the scores."""

    rank: int
    """It is the rank-th best: as many of the trials pass."""
    threshold: float
    chance: float
    """Probability, before anything was played, that the true pass rate at it lies in the band."""
    ties: int
    """Other trials that have the same score; with any, the chance holds no more."""
    next_lower: float | None
    """The best score below it: any number between the two passes the same trials."""


def chance_of_rank(rank: int, trials: int, band: Band) -> float:
    """Return the chance that the true pass rate lies in the band if the rank-th best score is the threshold.

    P(low <= Beta(rank, trials + 1 - rank) <= high), by the binomial tails which that is the same as.

    Args:
        rank: 1 for the best score.
        trials: how many scores there are.
        band: where the pass rate should lie.

    Example:
        >>> round(chance_of_rank(5, 20, Band()), 2)
        0.91
    """
    return max(0.0, at_least(rank, trials, band.high) - at_least(rank, trials, band.low))


def chance_of_threshold(passed: int, trials: int, band: Band) -> float:
    """Return the probability that the true pass rate lies in the band, after so many trials passed.

    P(low <= Beta(passed + 1, trials - passed + 1) <= high): Bayes' rule from a uniform prior.

    Example:
        >>> [round(chance_of_threshold(passed, 20, Band()), 2) for passed in (0, 5, 10)]
        [0.11, 0.89, 0.17]
    """
    return chance_of_rank(passed + 1, trials + 1, band)


def cuts(scores: Sequence[float | None], band: Band) -> list[Cut]:
    """Return the thresholds worth trying, the likeliest to put the pass rate into the band first.

    Args:
        scores: of all judged trials; None for one that no threshold lets pass.
        band: where the pass rate should lie.

    Returns:
        Those without a tie first. Empty if none of the ranks that are worth trying has a score.
    """
    known = sorted((score for score in scores if score is not None), reverse=True)
    counts = Counter(known)
    chances = {rank: chance_of_rank(rank, len(scores), band) for rank in range(1, len(scores) + 1)}
    best = max(chances.values(), default=0.0)
    found = []
    for rank, score in enumerate(known, start=1):
        if chances[rank] >= WORTHWHILE * best:
            lower = next((other for other in known[rank:] if other < score), None)
            found.append(Cut(rank, score, chances[rank], counts[score] - 1, lower))
    return sorted(found, key=lambda cut: (cut.ties > 0, -cut.chance))
