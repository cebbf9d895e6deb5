"""How far votes agree, and what they come to together: pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["agreement", "majority", "mean"]


def agreement(votes: Sequence[int]) -> float | None:
    """Return the share of pairs of votes that are equal; None for a single vote, which has nothing to agree with.

    This is P_i of Fleiss (1971), "Measuring nominal scale agreement among many raters", Psychological Bulletin 76 (5):
    378-382: the sum over the marks of n_j (n_j - 1), by n (n - 1). It does not correct for agreement by chance, which
    one subject says nothing of.

    Example:
        >>> agreement([1, 1, 0]), agreement([1])
        (0.3333333333333333, None)
    """
    if len(votes) < 2:
        return None
    pairs = sum(count * (count - 1) for count in Counter(votes).values())
    return pairs / (len(votes) * (len(votes) - 1))


def majority(votes: Sequence[int]) -> float:
    """Return the mark that most votes give; of several the lowest, so that a tie never lets pass.

    Example:
        >>> majority([2, 2, 1]), majority([1, 0])
        (2.0, 0.0)
    """
    count = Counter(votes)
    return float(min(count, key=lambda mark: (-count[mark], mark)))


def mean(votes: Sequence[int]) -> float:
    """Return the mean of the marks."""
    return sum(votes) / len(votes)
