"""Are two pass rates different? Pure functions: exact tests for the decision, Newcombe's intervals for the size.

Two runs that played the same seeds of the same task are compared pair by pair: what both passed or both missed says
nothing of which is harder, so only the pairs that ended differently count (McNemar 1947). Without pairs two counts are
left (Fisher 1935). Both tests are exact and two-sided: equal runs are called different in at most as many of 100
comparisons as the level says, however few trials there are. The intervals are approximate, and decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from pytest_rltask.proof import at_least, at_most

__all__ = [
    "Pairs",
    "adjusted",
    "exact_interval",
    "fisher_p",
    "mcnemar_p",
    "paired_interval",
    "unpaired_interval",
    "wilson",
]

CONFIDENCE = 0.95
"""Of the intervals of a difference."""
_EQUAL = 1 + 1e-7
"""Within this factor two chances are one, which rounding has told apart; scipy takes the same."""


@dataclass(frozen=True)
class Pairs:
    """How pairs of trials ended, one trial of run A and one of run B each."""

    both: int
    """Pairs that passed in both runs."""
    only_a: int
    only_b: int
    none: int

    @property
    def total(self) -> int:
        """All pairs."""
        return self.both + self.only_a + self.only_b + self.none

    @property
    def passed(self) -> tuple[int, int]:
        """How many passed in A, and in B."""
        return self.both + self.only_a, self.both + self.only_b

    @property
    def correlation(self) -> float:
        """Newcombe's phi: how alike the two trials of a pair end, corrected towards 0; 0 where a rate is 0 or 1.

        Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10.
        """
        rows, columns = self.both + self.only_a, self.both + self.only_b
        scale = rows * (self.total - rows) * columns * (self.total - columns)
        cross = self.both * self.none - self.only_a * self.only_b
        corrected = cross if cross < 0 else max(cross - self.total / 2, 0.0)
        return corrected / math.sqrt(scale) if scale else 0.0


def mcnemar_p(pairs: Pairs) -> float:
    """Return the exact two-sided p of McNemar's test: is A as often the only one to pass as B is?

    Twice the smaller tail of Binomial(only_a + only_b, 1/2), at most 1 (McNemar 1947, Psychometrika 12, 153-157, in
    its exact form).

    Example:
        >>> mcnemar_p(Pairs(both=5, only_a=6, only_b=0, none=9))
        0.03125
    """
    unequal = pairs.only_a + pairs.only_b
    tail = ways = 1
    for k in range(min(pairs.only_a, pairs.only_b)):
        ways = ways * (unequal - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << unequal))  # whole numbers up to here: a float ends at 2 ** 1024


def fisher_p(passed: tuple[int, int], judged: tuple[int, int]) -> float:
    """Return the exact two-sided p of Fisher's test: could two counts be of one pass rate?

    The chance, given all passes, of every split that is no likelier than the one seen (Fisher 1935; scipy and R too).

    Args:
        passed: of A and of B.
        judged: trials of A and of B.

    Example:
        >>> round(fisher_p((9, 3), (20, 20)), 4)
        0.0824
    """
    passes = sum(passed)
    possible = range(max(0, passes - judged[1]), min(passes, judged[0]) + 1)
    ways = {k: _log_choose(judged[0], k) + _log_choose(judged[1], passes - k) for k in possible}
    seen = ways[passed[0]] + math.log(_EQUAL)
    # Sums of exp of differences, since the numbers of ways themselves are too large for a float.
    return min(1.0, math.fsum(math.exp(way - _log_choose(sum(judged), passes)) for way in ways.values() if way <= seen))


def wilson(passed: int, judged: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the score interval of a rate (Wilson 1927, JASA 22, 209-212).

    Example:
        >>> "{:.3f} {:.3f}".format(*wilson(5, 20))
        '0.112 0.469'
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, weight = passed / judged, z * z / judged
    middle = (rate + weight / 2) / (1 + weight)
    half = z / (1 + weight) * math.sqrt(rate * (1 - rate) / judged + weight / (4 * judged))
    # At 0 and 1 the limit is exact, and rounding must not put the rate outside.
    return 0.0 if passed == 0 else middle - half, 1.0 if passed == judged else middle + half


def exact_interval(passed: int, judged: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the exact interval of a rate (Clopper & Pearson 1934, Biometrika 26, 404-413).

    Example:
        >>> "{:.3f} {:.3f}".format(*exact_interval(5, 20))
        '0.087 0.491'
    """
    tail = (1 - confidence) / 2
    low = _root(lambda rate: at_least(passed, judged, rate) < tail) if passed else 0.0
    high = 1 - _root(lambda rate: at_most(passed, judged, 1 - rate) < tail) if passed < judged else 1.0
    return low, high


def paired_interval(pairs: Pairs, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the interval of the pass rate of B less that of A, from pairs.

    Square-and-add of the two Wilson intervals with the correlation of the pairs: Newcombe 1998, Statistics in Medicine
    17, 2635-2650, method 10.

    Args:
        pairs: at least one.
        confidence: share of such intervals that hold the true difference, about.

    Example:
        >>> "{:.3f} {:.3f}".format(*paired_interval(Pairs(both=5, only_a=6, only_b=0, none=9)))
        '-0.485 -0.067'
    """
    a, b = pairs.passed
    return _squared_and_added(a, pairs.total, b, pairs.total, pairs.correlation, confidence)


def unpaired_interval(
    passed: tuple[int, int], judged: tuple[int, int], confidence: float = CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of the pass rate of B less that of A, from two counts.

    The hybrid score interval: Newcombe 1998, Statistics in Medicine 17, 873-890, method 10.

    Args:
        passed: of A and of B.
        judged: trials of A and of B, at least one each.
        confidence: share of such intervals that hold the true difference, about.

    Example:
        >>> "{:.3f} {:.3f}".format(*unpaired_interval((9, 3), (20, 20)))
        '-0.530 -0.015'
    """
    return _squared_and_added(passed[0], judged[0], passed[1], judged[1], 0.0, confidence)


def adjusted(ps: Sequence[float]) -> list[float]:
    """Return p-values of several questions asked at once, so that a level holds for all of them together.

    Holm 1979, Scandinavian Journal of Statistics 6, 65-70.

    Example:
        >>> adjusted([0.5, 0.01, 0.02])
        [0.5, 0.03, 0.04]
    """
    largest, found = 0.0, [1.0] * len(ps)
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        found[index] = largest
    return found


def _squared_and_added(
    passed_a: int, judged_a: int, passed_b: int, judged_b: int, correlation: float, confidence: float
) -> tuple[float, float]:
    rate_a, rate_b = passed_a / judged_a, passed_b / judged_b
    low_a, high_a = wilson(passed_a, judged_a, confidence)
    low_b, high_b = wilson(passed_b, judged_b, confidence)
    difference = rate_b - rate_a
    below = _length(rate_b - low_b, high_a - rate_a, correlation)
    above = _length(high_b - rate_b, rate_a - low_a, correlation)
    return max(-1.0, difference - below), min(1.0, difference + above)


def _root(is_below: Callable[[float], bool]) -> float:
    """Return the rate up to which something holds."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return low


def _length(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
