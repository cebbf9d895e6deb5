"""Which verdict do k passes of n runs prove? One rule for any number of runs, however a run came to have so many.

A verdict is proven where an exact binomial tail, at an edge of the band, is smaller than a level. The levels depend on
n alone: constant up to 60 runs, then falling as n ** -1.5, so that what they risk adds up to little. Hence one may look
after every run and extend a run at will: at a pass rate on an edge of the band, the chance that a wrong verdict is
*ever* proven stays below 5 % (docs/verdict.md has the numbers). :func:`interval` is the same rule read the other way:
the rates that it does not rule out.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Literal

from pytest_rltask.task import Band

__all__ = ["RULE", "Levels", "ProvenWord", "calibrate", "interval", "levels", "proven"]

RULE = 2
"""Version of the rule, told in ``report.json``. 1 had levels for a planned number of runs, and stood no extension."""
RISK = 0.05
"""Chance, at most, of ever proving a wrong verdict at an edge of the band."""
AIM = RISK - 0.001
"""What levels are calibrated to: the rest is for what lies beyond HORIZON."""
HORIZON = 1000
"""Runs up to which the risk of a calibration is computed."""
MOST = 0.025
"""No level is higher, so that an interval, which has one at each end, misses the rate at most once in 20 looks."""
KNEE, POWER = 60, 1.5
"""Runs from which on the levels fall, and how steeply."""
STEPS = 6
"""Guesses at a level: its risk is then within a few hundredths of a point of what is aimed at."""
NEGLIGIBLE = 1e-10
"""A chance that could not change the third digit of the risk."""

ProvenWord = Literal["in band", "too easy", "too hard"]


@dataclass(frozen=True)
class Levels:
    """Tail probabilities below which a verdict counts as proven, up to KNEE runs."""

    too_easy: float
    too_hard: float
    in_band: float


# The largest at which each risk stays below 5 % as far as computed, 20,000 runs; saves half a second.
_DEFAULT = Levels(too_easy=0.0085, too_hard=0.0210, in_band=0.0165)


@lru_cache(maxsize=1 << 16)  # a run that may stop early asks again before each trial
def proven(passed: int, runs: int, band: Band) -> ProvenWord | None:
    """Return the verdict that the counts prove, or None.

    More passes never make a task look harder, and no miss proves it too easy, nor a pass too hard.

    Args:
        passed: passed trials, 0 <= passed <= runs.
        runs: judged trials.
        band: where the pass rate should lie.

    Example:
        >>> [proven(passed, 40, Band()) for passed in (0, 5, 9, 24)]
        ['too hard', None, 'in band', 'too easy']
    """
    if runs == 0:
        return None
    level, factor = levels(band), shape(runs)
    if at_least(passed, runs, band.high) < level.too_easy * factor:
        return "too easy"
    if at_most(passed, runs, band.low) < level.too_hard * factor:
        return "too hard"
    # No rate lies below 0 or above 1: there, that side needs no proof.
    above = band.low == 0 or at_least(passed, runs, band.low) < level.in_band * factor
    below = band.high == 1 or at_most(passed, runs, band.high) < level.in_band * factor
    return "in band" if above and below else None


def interval(passed: int, runs: int, band: Band) -> tuple[float, float]:
    """Return the pass rates that the rule does not rule out: an interval as by Clopper & Pearson (1934), at its levels.

    It lies above, below or within the band exactly where :func:`proven` says so. Its tails are those of the edges of
    the band, and in between between them. At a single look it holds the true rate in at least 95 of 100 suites.

    Args:
        passed: successes, 0 <= passed <= runs.
        runs: judged trials, at least 1.
        band: where the pass rate should lie.

    Returns:
        Lower and upper bound in [0, 1].

    Example:
        >>> "{:.3f} {:.3f}".format(*interval(5, 20, Band()))
        '0.078 0.510'
    """
    if not 0 <= passed <= runs or runs < 1:
        raise ValueError(f"need 0 <= passed <= runs and runs >= 1, got {passed} of {runs}")
    level, factor = levels(band), shape(runs)

    def is_too_low(rate: float) -> bool:
        return at_least(passed, runs, rate) < _between(rate, band, level.in_band, level.too_easy) * factor

    def is_too_high(rate: float) -> bool:
        return at_most(passed, runs, rate) < _between(rate, band, level.too_hard, level.in_band) * factor

    return (
        _limit(is_too_low, (band.high, band.low, 0.0), possible=1.0),
        _limit(is_too_high, (band.low, band.high, 1.0), possible=0.0),
    )


def shape(runs: int) -> float:
    """Return what the levels are multiplied by after some runs."""
    return min(1.0, (KNEE / runs) ** POWER) if runs else 1.0


@lru_cache(maxsize=256)
def levels(band: Band) -> Levels:
    """Return the levels for a band: shipped for the default one, else calibrated, which takes about half a second."""
    return _DEFAULT if band == Band() else calibrate(band)


def calibrate(band: Band) -> Levels:
    """Find the largest levels at which no wrong verdict is ever proven with more than the stated risk.

    Exact dynamic programming over the paths of a binomial walk, absorbed where a verdict is proven. A wrong verdict is
    likeliest at an edge of the band, since its paths have more passes (or fewer) than any rate beyond explains.
    """
    low, high = _Tails(band.low), _Tails(band.high)
    factors = [shape(n) for n in range(HORIZON + 1)]

    def easy(level: float) -> float:
        return _ever(band.high, [(high.first_below(n, level * factor), n) for n, factor in enumerate(factors)])

    def hard(level: float) -> float:
        return _ever(band.low, [(0, low.last_below(n, level * factor)) for n, factor in enumerate(factors)])

    def inside(level: float) -> float:
        first = [0 if band.low == 0 else low.first_below(n, level * factor) for n, factor in enumerate(factors)]
        last = [n if band.high == 1 else high.last_below(n, level * factor) for n, factor in enumerate(factors)]
        region = list(zip(first, last, strict=True))
        return max((_ever(edge, region) for edge in (band.low, band.high) if 0 < edge < 1), default=0.0)

    return Levels(too_easy=_largest(easy), too_hard=_largest(hard), in_band=_largest(inside))


def at_least(k: int, n: int, p: float) -> float:
    """Return P(X >= k) of Binomial(n, p)."""
    return _below(n - k, n, 1 - p, p)


def at_most(k: int, n: int, p: float) -> float:
    """Return P(X <= k) of Binomial(n, p)."""
    return _below(k, n, p, 1 - p)


def _below(k: int, n: int, p: float, q: float) -> float:
    """Return P(X <= k), a small one as exactly as a large one; `q` is 1 - p, told apart since both may be tiny."""
    if k < 0:
        return 0.0
    if k >= n or p <= 0:
        return 1.0
    if q <= 0:
        return 0.0
    return _tail(k, n, p, q) if k < n * p else 1 - _tail(n - k - 1, n, q, p)


def _tail(k: int, n: int, p: float, q: float) -> float:
    """Sum the chances of k, k - 1, ... successes, which fall, until they no longer count."""
    log_choose = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    term = total = math.exp(log_choose + k * math.log(p) + (n - k) * math.log(q))
    while term > total * 1e-17:  # past k = 0 it is 0
        term *= k * q / ((n - k + 1) * p)
        total += term
        k -= 1
    return min(1.0, total)


def _between(rate: float, band: Band, at_low: float, at_high: float) -> float:
    """Return the level for a rate: that of the nearer edge outside the band, linear between the edges."""
    if rate <= band.low:
        return at_low
    if rate >= band.high:
        return at_high
    return at_low + (rate - band.low) / (band.high - band.low) * (at_high - at_low)


def _limit(is_out: Callable[[float], bool], rates: Sequence[float], *, possible: float) -> float:
    """Return the last possible rate before those that are ruled out.

    The edges of the band are asked first and as they are, so that rounding cannot set the limit on their other side.

    Args:
        is_out: says whether a rate is ruled out.
        rates: the edge that is ruled out last, the other one, and the end of all rates.
        possible: a rate beyond the first of them.
    """
    for rate in rates:
        if is_out(rate):
            return _turn(is_out, out=rate, possible=possible)
        possible = rate
    return possible


def _turn(is_out: Callable[[float], bool], *, out: float, possible: float) -> float:
    """Return where, between a rate that is ruled out and a possible one, possible ones begin."""
    for _ in range(34):  # to 1e-10
        middle = (out + possible) / 2
        out, possible = (middle, possible) if is_out(middle) else (out, middle)
    return possible


class _Tails:
    """Both tails of the binomial distribution for all n up to HORIZON, as far as levels reach."""

    def __init__(self, p: float) -> None:
        self._at_most: list[tuple[int, list[float]]] = []
        """For each n a number of successes, and the chances of at most so many, one more, ..."""
        self._at_least: list[tuple[int, list[float]]] = []
        """For each n a number of misses, and the chances of at most so many, one more, ..."""
        pmf, start = [1.0], 0  # pmf[i]: the chance of start + i successes
        for n in range(HORIZON + 1):
            self._at_most.append((start, _sums(pmf)))
            self._at_least.append((n - start - len(pmf) + 1, _sums(reversed(pmf))))
            pmf, start = _step(pmf, start, p, negligible=1e-15)

    def first_below(self, n: int, level: float) -> int:
        """Return the smallest k of which at least as many are less likely than the level; past n if there is none."""
        skipped, sums = self._at_least[n]
        return n + 1 - skipped - bisect_left(sums, level)

    def last_below(self, n: int, level: float) -> int:
        """Return the largest k of which at most as many are less likely than the level; -1 if there is none."""
        skipped, sums = self._at_most[n]
        return skipped + bisect_left(sums, level) - 1


def _sums(masses: Iterable[float]) -> list[float]:
    """Return the running sums up to the first that no level reaches."""
    sums: list[float] = []
    for total in accumulate(masses):
        sums.append(total)
        if total > MOST:
            break
    return sums


def _ever(p: float, region: Sequence[tuple[int, int]]) -> float:
    """Return the chance that a walk with success probability p ever enters region[n] = (first k, last k)."""
    alive, start, entered = [1.0], 0, 0.0  # alive[i]: the chance of start + i successes, the region never entered
    for first, last in region[1:]:
        alive, start = _step(alive, start, p, negligible=NEGLIGIBLE)
        low, high = max(first - start, 0), max(last - start + 1, 0)
        entered += sum(alive[low:high])
        alive[low:high] = [0.0] * len(alive[low:high])
    return entered


def _step(masses: list[float], start: int, p: float, *, negligible: float) -> tuple[list[float], int]:
    """Return the chances of each number of successes, and the first number, after one more run."""
    moved = [a * (1 - p) + b * p for a, b in zip([*masses, 0.0], [0.0, *masses], strict=True)]
    end = len(moved)
    while end and moved[end - 1] <= negligible:
        end -= 1
    lead = 0
    while lead < end and moved[lead] <= negligible:
        lead += 1
    return moved[lead:end], start + lead


def _largest(risk: Callable[[float], float]) -> float:
    """Return about the largest level whose risk is at most AIM; the risk grows with the level, nearly in proportion."""
    low, low_risk, high, high_risk = 0.0, 0.0, MOST, risk(MOST)
    if high_risk <= AIM:
        return MOST
    for _ in range(STEPS):
        share = (AIM - low_risk) / (high_risk - low_risk)
        middle = low + min(max(share, 0.1), 0.9) * (high - low)
        if (middle_risk := risk(middle)) <= AIM:
            low, low_risk = middle, middle_risk
        else:
            high, high_risk = middle, middle_risk
    return low
