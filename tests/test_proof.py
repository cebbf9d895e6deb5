"""What counts prove: a rule whose risk stands any extension, and an interval that says the same in every cell."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_rltask.proof import (
    MOST,
    ProvenWord,
    _ever,
    _Tails,
    at_least,
    at_most,
    calibrate,
    interval,
    levels,
    proven,
)
from pytest_rltask.task import Band
from pytest_rltask.verdict import first_proof
from tests.bench.proof import ever, rule_1_extended, rule_2, wrong
from tests.conftest import slow

BANDS = [
    Band(),
    Band(0, 0.4),
    Band(0.05, 0.2),
    Band(0.24, 0.25),
    Band(0, 1),
    *map(slow, [Band(0.1, 1), Band(0.3, 0.7), Band(0.2, 0.9), Band(0.5, 0.50001), Band(0.9, 0.99), Band(0, 0.001)]),
    *map(slow, [Band(0.001, 0.002), Band(0.01, 0.99)]),
]
PROBABILITIES = st.floats(0, 1) | st.sampled_from([0.0, 1e-9, 0.1, 0.4, 1 - 1e-9, 1.0])
COUNTS = st.integers(1, 3000).flatmap(lambda n: st.tuples(st.integers(-1, n), st.just(n)))


@given(COUNTS, PROBABILITIES)
def test_tails_are_scipys(counts: tuple[int, int], p: float):
    k, n = counts

    assert at_most(k, n, p) == pytest.approx(float(stats.binom.cdf(k, n, p)), rel=1e-8, abs=1e-200)
    assert at_least(k, n, p) == pytest.approx(float(stats.binom.sf(k - 1, n, p)), rel=1e-5, abs=1e-12)


def drawn(passed: int, runs: int, band: Band) -> ProvenWord | None:
    """Return where the interval of some counts lies, if that is on one side of each edge."""
    low, high = interval(passed, runs, band)
    assert 0 <= low <= passed / runs <= high <= 1
    if low > band.high:
        return "too easy"
    if high < band.low:
        return "too hard"
    return "in band" if (low > band.low or band.low == 0) and (high < band.high or band.high == 1) else None


@pytest.mark.parametrize("band", BANDS, ids=str)
def test_the_interval_lies_in_or_beside_the_band_exactly_where_that_is_proven(band: Band):
    for n in [*range(1, 62), 80, 100, 150, 200] if band == Band() else [1, 2, 6, 10, 37, 40, 61, 120]:
        words = [proven(k, n, band) for k in range(n + 1)]
        assert [drawn(k, n, band) for k in range(n + 1)] == words, n

        order: list[ProvenWord | None] = ["too hard", "in band", "too easy"]
        places = [order.index(word) for word in words if word]
        assert places == sorted(places)  # more passes never make a task look harder


@pytest.mark.slow
def test_that_is_so_in_every_cell_up_to_200_runs():
    for n in range(1, 201):
        for k in range(n + 1):
            assert drawn(k, n, Band()) == proven(k, n, Band()), (k, n)


def test_no_miss_proves_it_too_easy_and_no_pass_too_hard():
    for n in range(1, 150):
        for k in range(n + 1):
            assert proven(k, n, Band()) == "too easy" or proven(k, n + 1, Band()) != "too easy"
            assert proven(k, n, Band()) == "too hard" or proven(k + 1, n + 1, Band()) != "too hard"


@pytest.mark.parametrize("band", BANDS, ids=str)
def test_at_one_look_the_interval_holds_the_rate_in_at_least_95_of_100_suites(band: Band):
    for n in (1, 7, 20, 60, 150):
        limits = [interval(k, n, band) for k in range(n + 1)]
        for rate in [*np.linspace(0, 1, 41), band.low, band.high]:
            holds = [low <= rate <= high for low, high in limits]
            assert stats.binom.pmf(np.arange(n + 1), n, rate)[holds].sum() >= 0.95


def test_an_impossible_count_is_refused():
    with pytest.raises(ValueError, match="need 0 <= passed <= runs"):
        interval(3, 2, Band())


@pytest.mark.parametrize("band", BANDS, ids=str)
def test_a_wrong_verdict_is_ever_proven_in_at_most_five_of_a_hundred_suites(band: Band):
    # By another program, and scipy's tails: to 200 runs and to 1000, with a look after each.
    highest: dict[str, float] = {}
    for word, rate in wrong(band):
        chances = ever(rate, (word,), band, rule_2(band), 1000)

        assert chances[200] <= chances[1000] < 0.05, (word, rate)
        highest[word] = max(highest.get(word, 0.0), chances[1000])
        for beyond in (rate * 0.9, rate + 0.1 * (1 - rate)):
            if not (band.low <= beyond <= band.high) and (word == "in band" or (word == "too easy") == (beyond < rate)):
                assert ever(beyond, (word,), band, rule_2(band), 200)[-1] <= chances[200]
    for word, chance in highest.items():  # and the levels are as high as that allows
        assert chance > 0.035 or getattr(levels(band), word.replace(" ", "_")) == MOST


def paths_to(word: ProvenWord, runs: int) -> Iterator[tuple[int, int, int]]:
    """Yield n, k and the number of paths of passes and misses that prove a word with these counts, and not before."""
    paths = [1]
    for n in range(1, runs + 1):
        paths = [a + b for a, b in zip([*paths, 0], [0, *paths], strict=True)]
        for k, number in enumerate(paths):
            if number and proven(k, n, Band()) == word:
                yield n, k, number
                paths[k] = 0


@pytest.mark.parametrize(("word", "rate"), list(wrong(Band())))
def test_the_paths_to_a_wrong_verdict_counted_one_by_one(word: ProvenWord, rate: float):
    # Whole numbers and fractions, where everything else here adds up floating-point numbers.
    p = Fraction(rate).limit_denominator(10)
    found = list(paths_to(word, 200))

    chance = sum(Fraction(p.numerator) ** k * (p.denominator - p.numerator) ** (n - k) * number / p.denominator**n
                 for n, k, number in found)  # fmt: skip

    assert 0.04 < chance < 0.05
    assert float(chance) == pytest.approx(ever(rate, (word,), Band(), rule_2(Band()), 200)[-1], abs=1e-9)


@pytest.mark.parametrize(("word", "rate"), list(wrong(Band())))
def test_the_rule_before_did_not_stand_extension(word: str, rate: float):
    assert ever(rate, (word,), Band(), rule_1_extended, 200)[-1] > 0.06


SUITES = 3000
TOLERANCE = 4 * (0.05 * 0.95 / SUITES) ** 0.5
"""Four standard errors of a simulated chance of 5 %."""


@pytest.mark.parametrize(("rate", "outside"), [(0.10, "too hard"), (0.40, "too easy")])
@pytest.mark.parametrize("runs", [200, slow(1000)])
def test_who_extends_run_by_run_until_something_is_proven_is_misled_in_at_most_five_of_a_hundred_suites(
    runs: int, rate: float, outside: str
):
    passed = np.random.default_rng(runs).random((SUITES, runs)) < rate

    proofs = [first_proof(suite, band=Band()) for suite in passed.tolist()]

    words = [proof.word for proof in proofs if proof]
    assert words.count("in band") <= (0.05 + TOLERANCE) * SUITES
    assert words.count(outside) <= (0.05 + TOLERANCE) * SUITES
    assert len(words) > 0.05 * SUITES  # both together: it is not that nothing is ever proven


def test_the_shipped_levels_are_the_calibrated_ones():
    exact, shipped = calibrate(Band()), levels(Band())

    for name in ("too_easy", "too_hard", "in_band"):
        assert getattr(shipped, name) == pytest.approx(getattr(exact, name), rel=0.02)


@settings(max_examples=5)
@given(st.floats(0, 1), st.floats(0, 1))
@example(0.0, 5e-324)
@example(0.0, 1e-200)
@example(0.25, math.nextafter(0.25, 1))
@example(math.nextafter(1, 0), 1.0)
def test_any_band_has_levels_and_an_interval(one: float, other: float):
    if one == other:
        with pytest.raises(ValueError, match="low < high"):
            Band(one, other)
        return
    band = Band(min(one, other), max(one, other))

    found = levels(band)

    assert all(0 < level <= MOST for level in (found.too_easy, found.too_hard, found.in_band))
    for passed in (0, 1, 5):
        assert drawn(passed, 5, band) == proven(passed, 5, band)


def test_the_risk_is_counted_along_the_way_not_only_at_the_end():
    tails = _Tails(0.5)
    region = [(tails.first_below(n, 0.02), n) for n in range(11)]

    assert _ever(0.5, region) > 0.02


@pytest.mark.parametrize(
    ("passed", "runs", "word"),
    [
        # the decision table of the research
        (6, 6, "too easy"),
        (5, 5, None),
        (9, 10, "too easy"),
        (8, 10, None),
        (14, 20, "too easy"),
        (13, 20, None),
        (0, 36, None),
        (0, 37, "too hard"),
        (9, 39, None),
        (9, 40, "in band"),
        (19, 100, "in band"),
        (27, 100, "in band"),
        (28, 100, None),
        (3, 100, "too hard"),
        (54, 100, "too easy"),
        (8, 200, "too hard"),
        (34, 200, "in band"),
        (60, 200, "in band"),
        (102, 200, "too easy"),
        (0, 0, None),
    ],
)
def test_what_the_counts_prove(passed: int, runs: int, word: str | None):
    assert proven(passed, runs, Band()) == word


def test_a_band_that_reaches_an_end_needs_no_proof_on_that_side():
    assert proven(200, 200, Band(0.9, 1.0)) == "in band"
    assert proven(0, 200, Band(0.0, 0.4)) == "in band"
    assert proven(37, 200, Band(0.0, 1.0)) == "in band"
    assert math.isclose(levels(Band(0.0, 1.0)).in_band, MOST)
