"""pass@k, pass^k, and means with their standard errors: pure functions of counts, without a library.

They take the trials of a task as independent samples of one problem: each has a seed of its own, so that what is drawn
with the seed, such as the data set, counts as part of the chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Mean", "clustered_mean", "pass_at_k", "pass_hat_k"]


@dataclass(frozen=True)
class Mean:
    """A mean and how far it may be off."""

    value: float
    error: float | None
    """Standard error; None if it cannot be told: of one task there is no spread between tasks."""


def pass_at_k(passed: int, judged: int, k: int) -> float:
    """Return the chance that at least one of k trials passes, estimated without bias.

    1 - C(n - c, k) / C(n, k): the share of the k-subsets of n trials, c of which passed, that hold one which passed.
    Chen et al. 2021, "Evaluating large language models trained on code", eq. 1.

    Args:
        passed: trials that passed.
        judged: trials that passed or did not.
        k: how many trials are allowed, at most `judged`.

    Raises:
        ValueError: there are fewer than k trials, or k is no positive number.

    Example:
        >>> pass_at_k(1, 4, 2)
        0.5
    """
    _check(passed, judged, k)
    return 1 - math.comb(judged - passed, k) / math.comb(judged, k)


def pass_hat_k(passed: int, judged: int, k: int) -> float:
    """Return the chance that all of k trials pass, estimated without bias.

    C(c, k) / C(n, k): the share of the k-subsets of n trials, c of which passed, that hold none which did not. Yao et
    al. 2024, "tau-bench: a benchmark for tool-agent-user interaction in real-world domains", where it is defined.

    Args:
        passed: trials that passed.
        judged: trials that passed or did not.
        k: how many trials have to pass, at most `judged`.

    Raises:
        ValueError: there are fewer than k trials, or k is no positive number.

    Example:
        >>> pass_hat_k(3, 4, 2)
        0.5
    """
    _check(passed, judged, k)
    return math.comb(passed, k) / math.comb(judged, k)


def clustered_mean(clusters: Sequence[Sequence[float]]) -> Mean:
    """Return the mean of values that come in clusters, with a standard error that knows so.

    Trials of one task resemble each other, so that many trials of few tasks say less of a suite than as many of many
    tasks. With m the mean of all n values, and G clusters, the error is
    sqrt(G / (G - 1)) / n * sqrt(sum over clusters of (sum within of (value - m))^2).
    The sum is that of Miller 2024, "Adding error bars to evals", on clustered standard errors; the factor, for few
    clusters, that of Cameron and Miller 2015, "A practitioner's guide to cluster-robust inference". For clusters of one
    size it is the standard error of the mean of the clusters' means.

    Args:
        clusters: values of each, at least one.

    Raises:
        ValueError: there is no value.

    Example:
        >>> clustered_mean([[1.0, 1.0], [0.0, 0.0]])
        Mean(value=0.5, error=0.5)
    """
    filled = [cluster for cluster in clusters if cluster]
    count = sum(map(len, filled))
    if not count:
        raise ValueError("no value has no mean")
    mean = math.fsum(value for cluster in filled for value in cluster) / count
    if len(filled) < 2:
        return Mean(mean, None)
    squares = math.fsum(math.fsum(value - mean for value in cluster) ** 2 for cluster in filled)
    return Mean(mean, math.sqrt(len(filled) / (len(filled) - 1) * squares) / count)


def _check(passed: int, judged: int, k: int) -> None:
    if not 0 <= passed <= judged:
        raise ValueError(f"{passed} of {judged} trials cannot have passed")
    if not 1 <= k <= judged:
        raise ValueError(f"of {judged} trials nothing can be said of {k}: k is from 1 to the number of judged trials")
