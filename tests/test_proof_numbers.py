"""The numbers of the rule of proof. What recorded runs prove is told by them: to change one is a new RULE."""

from __future__ import annotations

import pytest

from pytest_rltask import proof
from pytest_rltask.proof import RULE, Levels, at_least, at_most, calibrate, interval, levels, proven, shape
from pytest_rltask.task import Band

CLOSE = {"rel": 1e-8, "abs": 1e-11}


def test_this_is_the_second_rule():
    assert RULE == 2
    assert levels(Band()) == Levels(too_easy=0.0085, too_hard=0.0210, in_band=0.0165)


@pytest.mark.parametrize(
    ("band", "too_easy", "too_hard", "in_band"),
    [
        (Band(0.05, 0.2), 0.007903601602393895, 0.025, 0.025),
        (Band(0, 0.3), 0.008399593168963427, 0.025, 0.010597471155756938),
        (Band(0.5, 1), 0.025, 0.009126606981997389, 0.009126606981997389),
    ],
    ids=str,
)
def test_the_levels_of_a_band_stay_what_they_are(band: Band, too_easy: float, too_hard: float, in_band: float):
    found = calibrate(band)

    assert (found.too_easy, found.too_hard, found.in_band) == pytest.approx((too_easy, too_hard, in_band), **CLOSE)


@pytest.mark.parametrize(
    ("passed", "runs", "low", "high"),
    [
        (0, 1, 0.0, 0.9834999999846333),
        (1, 1, 0.01650000000372529, 1.0),
        (0, 10, 0.0, 0.3326898150669876),
        (3, 10, 0.057110674068098895, 0.6765695768757723),
        (6, 6, 0.45175519377226014, 1.0),
        (7, 60, 0.04426711795968005, 0.2323177535494324),
        (7, 61, 0.04330237540416419, 0.22928981240256685),
        (23, 100, 0.13583043676917445, 0.3465560352546163),
        (200, 1000, 0.15775143784703685, 0.2465966690855566),
    ],
)
def test_the_interval_of_a_count_stays_what_it_is(passed: int, runs: int, low: float, high: float):
    assert interval(passed, runs, Band()) == pytest.approx((low, high), **CLOSE)


@pytest.mark.parametrize("rate", [0.25, 0.3, 0.75])
def test_a_limit_is_told_to_ten_digits(rate: float):
    found = proof._turn(lambda asked: asked < rate, out=0.0, possible=1.0)

    assert rate <= found < rate + 1e-10


@pytest.mark.parametrize(
    ("runs", "share"), [(0, 1.0), (1, 1.0), (59, 1.0), (60, 1.0), (61, (60 / 61) ** 1.5), (240, 1 / 8), (960, 1 / 64)]
)
def test_levels_fall_from_sixty_runs_on(runs: int, share: float):
    assert shape(runs) == pytest.approx(share, rel=1e-12)


def test_of_no_run_nothing_is_proven_and_of_one_hardly_anything():
    assert proven(0, 0, Band()) is None
    assert proven(1, 1, Band()) is None
    assert proven(1, 1, Band(0, 0.001)) == "too easy"
    assert proven(0, 1, Band(0.999, 1)) == "too hard"
    assert proven(0, 1, Band(0, 1)) == "in band"


@pytest.mark.parametrize(("passed", "runs"), [(-1, 5), (6, 5), (0, 0), (0, -1)])
def test_counts_that_cannot_be_are_refused(passed: int, runs: int):
    with pytest.raises(ValueError, match=f"got {passed} of {runs}"):
        interval(passed, runs, Band())


@pytest.mark.parametrize(
    ("k", "n", "p", "most", "least"),
    [
        (0, 1, 0.25, 0.75, 1.0),
        (1, 1, 0.25, 1.0, 0.25),
        (1, 2, 0.5, 0.75, 0.75),
        (2, 4, 0.5, 11 / 16, 11 / 16),
        (3, 4, 0.5, 15 / 16, 5 / 16),
        (-1, 4, 0.5, 0.0, 1.0),
        (4, 4, 0.5, 1.0, 1 / 16),
        (5, 4, 0.5, 1.0, 0.0),
        (0, 4, 0.0, 1.0, 1.0),
        (1, 4, 0.0, 1.0, 0.0),
        (3, 4, 1.0, 0.0, 1.0),
        (4, 4, 1.0, 1.0, 1.0),
        (0, 0, 0.5, 1.0, 1.0),
    ],
)
def test_tails_of_small_numbers_are_fractions(k: int, n: int, p: float, most: float, least: float):
    assert (at_most(k, n, p), at_least(k, n, p)) == pytest.approx((most, least), rel=1e-12)


def test_a_tail_too_small_to_be_told_from_one_minus_it_is_exact():
    assert at_most(0, 1000, 0.5) == pytest.approx(2.0**-1000, rel=1e-9)
    assert at_least(1000, 1000, 0.5) == pytest.approx(2.0**-1000, rel=1e-9)
    assert at_least(3, 3, 1e-9) == pytest.approx(1e-27, rel=1e-9)
