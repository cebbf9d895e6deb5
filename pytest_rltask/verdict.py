"""Is the pass rate in the band? Pure functions from counts to an interval, a verdict and a gate.

The observed rate alone answers badly: at a true rate of 25 %, ten runs fall outside 10-40 % one time in seven.
So every verdict says whether it is *proven*, by exact (Clopper-Pearson) binomial tails at levels calibrated so
that one may look after every run up to a cap: at a pass rate on an edge of the band, the chance that a wrong
verdict is ever proven stays at most 5 %.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Literal

from pytest_rltask.task import Band

__all__ = [
    "GATES",
    "Gate",
    "Levels",
    "Proof",
    "Verdict",
    "VerdictWord",
    "clopper_pearson",
    "first_proof",
    "judge",
    "levels",
    "proven",
]

VerdictWord = Literal["in band", "too easy", "too hard", "undecided", "incomplete"]
Gate = Literal["point", "proven", "strict"]
GATES: tuple[Gate, ...] = ("point", "proven", "strict")

MAX_ERROR_SHARE = 0.20
"""Share of the planned trials that may end without a grade before the verdict is `incomplete`."""
RISK = 0.05
"""Chance of ever proving a wrong verdict at an edge of the band."""
NEGLIGIBLE = 1e-12
"""A chance that could not change the third digit of the risk."""
CAPS = (20, 50, 100, 200)
"""Numbers of runs up to which one may look after each; a run plan belongs to the smallest that holds it."""


@dataclass(frozen=True)
class Levels:
    """One-sided tail probabilities below which a verdict counts as proven."""

    too_easy: float
    too_hard: float
    in_band: float


@dataclass(frozen=True)
class Verdict:
    """What the outcomes of one task and model say about its difficulty."""

    word: VerdictWord
    proven: bool
    """Whether the word holds with the stated risk, however often one looked."""
    rate: float | None
    """Observed pass rate in [0, 1]; None without a judged trial."""
    interval: tuple[float, float] | None
    """Exact 95 % interval of the pass rate."""
    holds: bool
    """Whether the gate holds."""
    more_runs: int | None
    """About how many further runs would prove the word at the observed rate; None: proven, or beyond all caps."""


@dataclass(frozen=True)
class Proof:
    """A verdict that the first trials of a series prove."""

    word: VerdictWord
    passed: int
    judged: int
    """Trials with a grade, in order of start, that prove it."""

    def __str__(self) -> str:
        return f"{self.word} is proven after {self.judged} runs, {self.passed} of them passed"


def clopper_pearson(passed: int, runs: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact binomial interval of a pass rate (Clopper & Pearson 1934, eq. of the two tails).

    Args:
        passed: successes, 0 <= passed <= runs.
        runs: judged trials, at least 1.
        level: confidence level in (0, 1).

    Returns:
        Lower and upper bound in [0, 1].

    Example:
        >>> low, high = clopper_pearson(3, 10)
        >>> f"{low:.3f} {high:.3f}"
        '0.067 0.652'
    """
    if not 0 <= passed <= runs or runs < 1:
        raise ValueError(f"need 0 <= passed <= runs and runs >= 1, got {passed} of {runs}")
    tail = (1 - level) / 2
    low = 0.0 if passed == 0 else _bisect(lambda p: _at_least(passed, runs, p) < tail)
    high = 1.0 if passed == runs else _bisect(lambda p: _at_most(passed, runs, p) > tail)
    return low, high


@lru_cache(maxsize=4096)  # a run that may stop early asks again before each trial
def proven(passed: int, runs: int, band: Band, cap: int) -> VerdictWord | None:
    """Return the verdict that the counts prove, or None.

    Args:
        passed: passed trials.
        runs: judged trials, at most `cap`.
        band: where the pass rate should lie.
        cap: number of runs up to which one may look after each.
    """
    if runs == 0:
        return None
    level = levels(band, cap)
    if _at_least(passed, runs, band.high) < level.too_easy:
        return "too easy"
    if _at_most(passed, runs, band.low) < level.too_hard:
        return "too hard"
    # No rate lies below 0 or above 1: there, that side needs no proof.
    above = band.low == 0 or _at_least(passed, runs, band.low) < level.in_band
    below = band.high == 1 or _at_most(passed, runs, band.high) < level.in_band
    return "in band" if above and below else None


def first_proof(outcomes: Iterable[bool | None], *, band: Band, planned: int) -> Proof | None:
    """Return the first verdict that a series proves, looking after each of its trials; None if it proves none.

    The levels hold for that many looks. They need the series in the order in which its trials *started*, cut off
    before the first that has not ended: in the order in which they end, those that end fast come first, and they may
    be the failures.

    Args:
        outcomes: of the trials in order of start: passed, missed, or None for an errored one.
        band: where the pass rate should lie.
        planned: trials that were to be played at most.

    Example:
        >>> first_proof([True] * 20, band=Band(), planned=20)
        Proof(word='too easy', passed=5, judged=5)
    """
    cap = _cap(planned)
    passed = judged = 0
    for ended, outcome in enumerate(outcomes, start=1):
        passed += outcome is True
        judged += outcome is not None
        word = proven(passed, judged, band, cap)
        if word and ended - judged <= MAX_ERROR_SHARE * ended:
            return Proof(word, passed, judged)
    return None


def judge(
    *,
    passed: int,
    judged: int,
    planned: int,
    band: Band,
    gate: Gate = "point",
    started: int | None = None,
    proof: Proof | None = None,
) -> Verdict:
    """Judge the outcomes of one task and model.

    Args:
        passed: passed trials.
        judged: trials with a grade (passed, failed or cheated).
        planned: trials that were to be played.
        band: where the pass rate should lie.
        gate: ``point`` asks that the observed rate lies in the band, ``proven`` that it is not proven outside,
            ``strict`` that it is proven inside.
        started: trials that were given the chance, if not all that were planned; of these, those without a grade are
            errored or lost.
        proof: for which the series was stopped early. It stands, whatever trials still in flight then added.
    """
    rate = passed / judged if judged else None
    interval = clopper_pearson(passed, judged) if judged else None
    if proof is not None:
        return Verdict(proof.word, True, rate, interval, proof.word == "in band", None)
    expected = planned if started is None else started
    if rate is None or expected - judged > MAX_ERROR_SHARE * expected:
        return Verdict("incomplete", False, rate, interval, False, None)
    shown = proven(passed, judged, band, _cap(max(planned, judged)))
    observed: VerdictWord = "in band" if rate in band else "too easy" if rate > band.high else "too hard"
    word = observed if gate == "point" else shown or "undecided"
    holds = word == "in band" or (gate == "proven" and word == "undecided")
    is_proven = shown == word
    more = None if is_proven else _more_runs(rate, judged, band, observed)
    return Verdict(word, is_proven, rate, interval, holds, more)


@lru_cache(maxsize=64)
def levels(band: Band, cap: int) -> Levels:
    """Return the levels for a band and a cap: shipped for the default band, else calibrated.

    That takes an eighth of a second up to 200 runs, and a second for 1000.
    """
    if band == Band() and cap in _DEFAULT_LEVELS:
        return _DEFAULT_LEVELS[cap]
    return calibrate(band, cap)


def calibrate(band: Band, cap: int) -> Levels:
    """Find the largest levels at which no wrong verdict is ever proven with more than the stated risk.

    Exact dynamic programming over the paths of a binomial walk, absorbed where a verdict is proven: *too easy*
    is wrong up to the upper edge and likeliest there, *too hard* from the lower edge on, *in band* outside both.
    """
    low, high = _Tails(band.low, cap), _Tails(band.high, cap)
    easy = _largest(lambda a: _ever(band.high, [(high.first_below(n, a), n) for n in range(cap + 1)]))
    hard = _largest(lambda a: _ever(band.low, [(0, low.last_below(n, a)) for n in range(cap + 1)]))

    def inside(a: float) -> float:
        first = [0 if band.low == 0 else low.first_below(n, a) for n in range(cap + 1)]
        last = [n if band.high == 1 else high.last_below(n, a) for n in range(cap + 1)]
        region = list(zip(first, last, strict=True))
        edges = [edge for edge in (band.low, band.high) if 0 < edge < 1]
        return max((_ever(edge, region) for edge in edges), default=0.0)

    return Levels(easy, hard, _largest(inside))


# calibrate(Band(), cap), rounded down: saves a third of a second at the end of every run.
_DEFAULT_LEVELS = {
    20: Levels(0.021028, 0.049999, 0.049999),
    50: Levels(0.012294, 0.034336, 0.027988),
    100: Levels(0.009295, 0.022528, 0.017082),
    200: Levels(0.007048, 0.013505, 0.011203),
}


class _Tails:
    """Both tails of the binomial distribution for all n up to a cap, as far as levels reach."""

    def __init__(self, p: float, cap: int) -> None:
        self._at_most: list[list[float]] = []
        """For each n the chances of at most 0, 1, ... successes."""
        self._at_least: list[list[float]] = []
        """For each n the chances of at least n, n - 1, ... successes."""
        pmf = [1.0]
        for _ in range(cap + 1):
            self._at_most.append(_sums(pmf))
            self._at_least.append(_sums(reversed(pmf)))
            pmf = [a * (1 - p) + b * p for a, b in zip([*pmf, 0.0], [0.0, *pmf], strict=True)]

    def first_below(self, n: int, level: float) -> int:
        """Return the smallest k of which at least as many are less likely than the level; past n if there is none."""
        return n + 1 - bisect_left(self._at_least[n], level)

    def last_below(self, n: int, level: float) -> int:
        """Return the largest k of which at most as many are less likely than the level; -1 if there is none."""
        return bisect_left(self._at_most[n], level) - 1


def _sums(masses: Iterable[float]) -> list[float]:
    """Return the running sums up to the first that no level reaches."""
    sums: list[float] = []
    for total in accumulate(masses):
        sums.append(total)
        if total > 0.5:
            break
    return sums


def _ever(p: float, region: list[tuple[int, int]]) -> float:
    """Return the chance that a walk with success probability p ever enters region[n] = (first k, last k)."""
    alive, start, entered = [1.0], 0, 0.0  # alive[i]: the chance of start + i successes, the region never entered
    for first, last in region[1:]:
        alive = [a * (1 - p) + b * p for a, b in zip([*alive, 0.0], [0.0, *alive], strict=True)]
        low, high = max(first - start, 0), max(last - start + 1, 0)
        entered += sum(alive[low:high])
        alive[low:high] = [0.0] * len(alive[low:high])
        while alive and alive[-1] <= NEGLIGIBLE:
            alive.pop()
        lead = next((i for i, mass in enumerate(alive) if mass > NEGLIGIBLE), len(alive))
        alive, start = alive[lead:], start + lead
    return entered


def _largest(risk: Callable[[float], float]) -> float:
    """Return the largest level whose risk is at most RISK, by bisection; the risk grows with the level."""
    low, high = 0.0, RISK + 1e-9
    for _ in range(24):
        middle = (low + high) / 2
        low, high = (middle, high) if risk(middle) <= RISK else (low, middle)
    return low


def _cap(runs: int) -> int:
    return next((cap for cap in CAPS if runs <= cap), runs)


def _more_runs(rate: float, judged: int, band: Band, word: VerdictWord) -> int | None:
    """Return how many further runs would prove the word if the rate stayed, up to the largest cap."""
    for runs in range(judged + 1, CAPS[-1] + 1):
        if proven(round(rate * runs), runs, band, _cap(runs)) == word:
            return runs - judged
    return None


def _at_least(k: int, n: int, p: float) -> float:
    return _at_most(n - k, n, 1 - p)


def _at_most(k: int, n: int, p: float) -> float:
    """Return P(X <= k) of Binomial(n, p), summed in logarithms so that no term under- or overflows."""
    if k >= n or p <= 0:
        return 1.0
    if k < 0 or p >= 1:
        return 0.0 if k < n else 1.0
    log_p, log_q, log_n = math.log(p), math.log1p(-p), math.lgamma(n + 1)
    terms = (
        math.exp(log_n - math.lgamma(i + 1) - math.lgamma(n - i + 1) + i * log_p + (n - i) * log_q)
        for i in range(k + 1)
    )
    return min(1.0, math.fsum(terms))


def _bisect(below: Callable[[float], bool]) -> float:
    """Return where a predicate of p in [0, 1] turns from true to false."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2
