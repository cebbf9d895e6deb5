"""``make bench-proof``: what the rule of proof risks and costs, beside the one it replaced and for other bands.

Nothing is simulated: chances are carried along the paths of a binomial walk, by scipy's tails and not the plugin's own.
Rule 1 had levels for each planned number of runs: what it cost where a run kept to its plan, and what it risked where a
user went on to the next plan as long as nothing was proven.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from pytest_rltask.proof import Levels, levels, shape
from pytest_rltask.report.table import aligned
from pytest_rltask.suite.options import parse_band
from pytest_rltask.task import Band

RULE_1 = {
    20: Levels(0.021028, 0.049999, 0.049999),
    50: Levels(0.012294, 0.034336, 0.027988),
    100: Levels(0.009295, 0.022528, 0.017082),
    200: Levels(0.007048, 0.013505, 0.011203),
}
"""Levels by planned runs, of the band 10-40 %."""
RATES = (0.0, 0.05, 0.1, 0.2, 0.25, 0.4, 0.5, 0.6, 0.8, 1.0)
LOOKS = (50, 200, 1000, 5000, 20_000)
BANDS = ("10,40", "0,40", "10,100", "5,20", "30,70", "24,25", "90,99", "20,90", "1,99", "1,2")
WORDS = ("too easy", "too hard", "in band")

LevelsAt = Callable[[int], Levels]
"""A rule: the levels after so many runs."""


def rule_2(band: Band) -> LevelsAt:
    """Return today's rule."""
    top = levels(band)
    return lambda n: Levels(top.too_easy * shape(n), top.too_hard * shape(n), top.in_band * shape(n))


def rule_1(planned: int) -> LevelsAt:
    """Return the old rule for a plan."""
    return lambda n: RULE_1[planned]


def rule_1_extended(n: int) -> Levels:
    """Return the old rule's levels for whoever plans no more than needed."""
    return RULE_1[next(planned for planned in RULE_1 if n <= planned)]


def proving(word: str, k: np.ndarray, n: int, band: Band, level: Levels) -> np.ndarray:
    """Say which numbers of passes prove a word."""
    if word == "too easy":
        return np.asarray(stats.binom.sf(k - 1, n, band.high) < level.too_easy)
    if word == "too hard":
        return np.asarray(stats.binom.cdf(k, n, band.low) < level.too_hard)
    above = (stats.binom.sf(k - 1, n, band.low) < level.in_band) | (band.low == 0)
    return np.asarray(above & ((stats.binom.cdf(k, n, band.high) < level.in_band) | (band.high == 1)))


def ever(rate: float, words: tuple[str, ...], band: Band, rule: LevelsAt, runs: int) -> np.ndarray:
    """Return the chance, by number of runs, that one of the words has been proven at some look."""
    alive, start, proved = np.array([1.0]), 0, [0.0]  # alive[i]: the chance of start + i passes, nothing proven
    for n in range(1, runs + 1):
        alive = np.append(alive * (1 - rate), 0.0) + np.append(0.0, alive * rate)
        k, level = start + np.arange(len(alive)), rule(n)
        met = np.logical_or.reduce([proving(word, k, n, band, level) for word in words])
        proved.append(proved[-1] + alive[met].sum())
        alive[met] = 0.0
        kept = np.flatnonzero(alive > 1e-16)
        if not len(kept):
            proved += [proved[-1]] * (runs - n)
            break
        alive, start = alive[kept[0] : kept[-1] + 1], start + int(kept[0])
    return np.array(proved)


def wrong(band: Band) -> Iterator[tuple[str, float]]:
    """Yield each word that can be wrong, and the rates at which it is likeliest to be proven then."""
    if band.high < 1:
        yield "too easy", band.high
    if band.low > 0:
        yield "too hard", band.low
    yield from (("in band", edge) for edge in (band.low, band.high) if 0 < edge < 1)


def risk_lines(runs: int) -> Iterator[list[str]]:
    """Yield what is ever proven wrongly, for several bands."""
    looks = [look for look in LOOKS if look <= runs]
    yield ["band", "rule", "wrong", "at", *(f"by {look}" for look in looks), "calibrated in"]
    for text in BANDS:
        band, begin = parse_band(text), time.process_time()
        top = levels(band)
        took = f"{time.process_time() - begin:.2f} s"
        name = f"{top.too_easy:.4f} {top.too_hard:.4f} {top.in_band:.4f}"
        for word, rate in wrong(band):
            chances = ever(rate, (word,), band, rule_2(band), runs)
            yield [str(band), name, word, f"{rate:.3g}", *(f"{100 * chances[look]:.2f}" for look in looks), took]
    for word, rate in wrong(Band()):
        chances = ever(rate, (word,), Band(), rule_1_extended, 200)
        shown = (f"{100 * chances[look]:.2f}" if look <= 200 else "-" for look in looks)
        yield [str(Band()), "1, extended", word, f"{rate:.3g}", *shown, "-"]


def cost_lines() -> Iterator[list[str]]:
    """Yield the mean number of runs until something is proven, and how often it is by the last one, in percent."""
    yield ["rule", "at most", *(f"p={rate:g}" for rate in RATES)]
    for planned in RULE_1:
        for name, rule in (("1", rule_1(planned)), ("2", rule_2(Band()))):
            proved = [ever(rate, WORDS, Band(), rule, planned) for rate in RATES]
            cells = (f"{(1 - chances[:-1]).sum():.0f} ({100 * chances[-1]:.0f})" for chances in proved)
            yield [name, str(planned), *cells]


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=5000, help="up to which risks are computed (20,000 take an hour)")
    runs = parser.parse_args().runs
    print("Chance in percent that a wrong verdict is ever proven, looking after each run:")
    print("\n".join(aligned(list(risk_lines(runs)), {"band", "rule", "wrong"})))
    print("\nMean runs until a verdict is proven, at most so many (and how often it is, in percent), band 10-40 %:")
    print("\n".join(aligned(list(cost_lines()), {"rule"})))


if __name__ == "__main__":
    main()
