"""Verdicts: exact, calibrated, and honest about what a few runs can prove."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_rltask.task import Band
from pytest_rltask.verdict import (
    CAPS,
    Levels,
    _ever,
    _Tails,
    calibrate,
    clopper_pearson,
    judge,
    levels,
    proven,
)

COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_the_interval_is_scipys_exact_one(counts: tuple[int, int], level: float):
    passed, runs = counts

    low, high = clopper_pearson(passed, runs, level)

    exact = stats.binomtest(passed, runs).proportion_ci(level, method="exact")
    assert low == pytest.approx(exact.low, abs=1e-9)
    assert high == pytest.approx(exact.high, abs=1e-9)


def test_an_impossible_count_is_refused():
    with pytest.raises(ValueError, match="need 0 <= passed <= runs"):
        clopper_pearson(3, 2)


@pytest.mark.parametrize("cap", CAPS)
def test_the_shipped_levels_are_the_calibrated_ones(cap: int):
    exact, shipped = calibrate(Band(), cap), levels(Band(), cap)

    for name in ("too_easy", "too_hard", "in_band"):
        assert 0 <= getattr(exact, name) - getattr(shipped, name) < 2e-6


@pytest.mark.parametrize(("cap", "edge"), [(cap, edge) for cap in (20, 50, 100) for edge in (0.10, 0.40)])
def test_a_wrong_verdict_is_ever_proven_in_at_most_five_of_a_hundred_suites_on_an_edge(cap: int, edge: float):
    band, rng, wrong, suites = Band(), random.Random(cap), 0, 4000
    decided = {(k, n): proven(k, n, band, cap) for n in range(1, cap + 1) for k in range(n + 1)}
    outside = "too easy" if edge == 0.40 else "too hard"

    for _ in range(suites):
        passed = 0
        for n in range(1, cap + 1):
            passed += rng.random() < edge
            if decided[passed, n] == outside:
                wrong += 1
                break

    assert wrong / suites <= 0.05 + 3 * (0.05 * 0.95 / suites) ** 0.5


def test_the_risk_is_counted_along_the_way_not_only_at_the_end():
    tails = _Tails(0.5, 10)
    region = [(tails.first_below(n, 0.2), n) for n in range(11)]

    assert _ever(0.5, region) > 0.2


@pytest.mark.parametrize(
    ("passed", "runs", "cap", "word"),
    [
        # the decision table of the research for a horizon of 100
        (9, 10, 100, "too easy"),
        (8, 10, 100, None),
        (14, 20, 100, "too easy"),
        (0, 40, 100, "too hard"),
        (9, 40, 100, "in band"),
        (18, 100, 100, "in band"),
        (30, 100, 100, None),
        (3, 100, 100, "too hard"),
        (53, 100, 100, "too easy"),
        (0, 10, 20, None),
        (0, 0, 20, None),
    ],
)
def test_what_the_counts_prove(passed: int, runs: int, cap: int, word: str | None):
    assert proven(passed, runs, Band(), cap) == word


@pytest.mark.parametrize(
    ("passed", "judged", "planned", "gate", "word", "is_proven", "holds"),
    [
        (1, 10, 10, "point", "in band", False, True),  # both ends belong to the band
        (4, 10, 10, "point", "in band", False, True),
        (5, 10, 10, "point", "too easy", False, False),
        (0, 10, 10, "point", "too hard", False, False),
        (10, 10, 10, "point", "too easy", True, False),
        (5, 10, 10, "proven", "undecided", False, True),
        (10, 10, 10, "proven", "too easy", True, False),
        (3, 10, 10, "strict", "undecided", False, False),
        (23, 100, 100, "strict", "in band", True, True),
        (2, 8, 10, "point", "in band", False, True),  # a fifth may be errored
        (2, 7, 10, "point", "incomplete", False, False),
        (0, 0, 10, "proven", "incomplete", False, False),
    ],
)
def test_the_gate(passed: int, judged: int, planned: int, gate, word: str, is_proven: bool, holds: bool):
    verdict = judge(passed=passed, judged=judged, planned=planned, band=Band(), gate=gate)

    assert (verdict.word, verdict.proven, verdict.holds) == (word, is_proven, holds)


@pytest.mark.parametrize(("passed", "band"), [(200, Band(0.9, 1.0)), (0, Band(0.0, 0.4)), (37, Band(0.0, 1.0))])
def test_a_band_that_reaches_an_end_needs_no_proof_on_that_side(passed: int, band: Band):
    verdict = judge(passed=passed, judged=200, planned=200, band=band, gate="strict")

    assert (verdict.word, verdict.proven) == ("in band", True)


def test_it_says_how_many_more_runs_would_prove_the_verdict():
    verdict = judge(passed=3, judged=10, planned=10, band=Band())

    assert verdict.more_runs is not None
    runs = 10 + verdict.more_runs
    assert proven(round(0.3 * runs), runs, Band(), next(cap for cap in CAPS if runs <= cap)) == "in band"


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 0.5), st.floats(0.05, 0.4))
def test_any_band_is_calibrated(low: float, width: float):
    band = Band(low, low + width)

    found = calibrate(band, 20)

    assert isinstance(found, Levels)
    assert 0 < found.too_easy <= 0.05
    assert 0 < found.too_hard <= 0.05
