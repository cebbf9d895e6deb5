"""F1 and thresholds, against scikit-learn and against trying every threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score, precision_recall_fscore_support

from benchmarks.imbalance.scores import (
    Confusion,
    all_positive_f1,
    best_threshold,
    confusion,
    f1_curve,
    logit,
    probability,
)

Scored = tuple[NDArray[np.float64], NDArray[np.int8]]

# What a learner says is float32 widened to float64; a few values that often repeat make ties.
LOGITS = st.one_of(st.floats(width=32, allow_nan=False, allow_infinity=False), st.sampled_from([-1.0, 0.0, 0.5, 1.0]))
ROWS = st.lists(st.tuples(LOGITS, st.integers(0, 1)), min_size=1, max_size=12)


def scored(rows: list[tuple[float, int]]) -> Scored:
    logits, labels = zip(*rows, strict=True)
    return np.array(logits, dtype=np.float64), np.array(labels, dtype=np.int8)


# The best threshold


@given(rows=ROWS)
@example(rows=[(0.0, 1), (0.0, 0), (0.0, 1)])
@example(rows=[(-3.4028234663852886e38, 1), (3.4028234663852886e38, 0), (3.4028234663852886e38, 1)])
@settings(deadline=None)
def test_no_threshold_has_a_higher_f1_than_the_best_one(rows: list[tuple[float, int]]) -> None:
    logits, labels = scored(rows)
    assume(labels.any())

    _, f1 = best_threshold(logits, labels) or (math.nan, math.nan)

    tried = [f1_score(labels, logits >= threshold, zero_division=0) for threshold in [*set(logits.tolist()), math.inf]]
    assert f1 == pytest.approx(max(tried), rel=1e-12)


@given(rows=ROWS)
@settings(deadline=None)
def test_the_best_threshold_has_the_f1_that_it_says(rows: list[tuple[float, int]]) -> None:
    logits, labels = scored(rows)
    assume(labels.any())

    threshold, f1 = best_threshold(logits, labels) or (math.nan, math.nan)

    assert confusion(logits, labels, threshold).f1 == pytest.approx(f1, rel=1e-12)


@given(rows=ROWS)
@settings(deadline=None)
def test_of_equally_good_thresholds_it_is_the_one_that_calls_the_fewest_rows(rows: list[tuple[float, int]]) -> None:
    logits, labels = scored(rows)
    assume(labels.any())

    threshold, f1 = best_threshold(logits, labels) or (math.nan, math.nan)

    as_good = [value for value in logits if math.isclose(confusion(logits, labels, value).f1, f1, rel_tol=1e-12)]
    assert (logits >= threshold).sum() == (logits >= max(as_good)).sum()


def test_it_lies_midway_between_the_rows_that_it_parts() -> None:
    assert best_threshold(*scored([(-2.0, 0), (1.0, 0), (4.0, 1), (9.0, 1)])) == (2.5, 1.0)


def test_below_all_rows_it_is_the_lowest_logit() -> None:
    assert best_threshold(*scored([(3.0, 1), (4.0, 1)])) == (3.0, 1.0)


def test_of_equal_logits_all_are_called() -> None:
    threshold, f1 = best_threshold(*scored([(0.0, 0), (1.0, 0), (1.0, 1), (1.0, 1)])) or (0.0, 0.0)

    assert threshold == 0.5
    assert f1 == pytest.approx(0.8)


@pytest.mark.parametrize(("low", "high"), [(1.0, math.nextafter(1.0, 2.0)), (0.0, 5e-324), (1.5e308, 1.7e308)])
def test_it_parts_rows_that_have_no_middle(low: float, high: float) -> None:
    logits, labels = scored([(low, 0), (high, 1)])

    threshold, f1 = best_threshold(logits, labels) or (math.nan, math.nan)

    assert confusion(logits, labels, threshold).f1 == f1 == 1.0


@pytest.mark.parametrize("position", [0, 7, 19])
def test_it_finds_a_single_positive(position: int) -> None:
    logits, labels = np.linspace(-5.0, 5.0, 20), np.zeros(20, np.int8)
    labels[position] = 1

    threshold, f1 = best_threshold(logits, labels) or (0.0, 0.0)

    assert f1 == pytest.approx(2 / (2 + 19 - position))
    assert (logits >= threshold).sum() == 20 - position


def test_without_a_positive_there_is_none() -> None:
    assert best_threshold(*scored([(0.0, 0), (1.0, 0)])) is None
    assert best_threshold(np.array([]), np.array([], dtype=np.int8)) is None


def test_it_is_exact_on_many_rows() -> None:
    rng = np.random.default_rng(5)
    labels = (rng.random(5000) < 0.05).astype(np.int8)
    logits = (rng.normal(size=5000) + 1.5 * labels).astype(np.float32).astype(np.float64)

    threshold, f1 = best_threshold(logits, labels) or (0.0, 0.0)

    assert f1 == pytest.approx(max(f1_curve(logits, labels, logits.tolist())), rel=1e-12)
    assert f1 == pytest.approx(f1_score(labels, logits >= threshold), rel=1e-12)


def test_the_rows_are_left_as_they_are() -> None:
    logits, labels = scored([(3.0, 1), (-1.0, 0), (2.0, 1)])

    best_threshold(logits, labels)
    f1_curve(logits, labels, [0.0])

    assert logits.tolist() == [3.0, -1.0, 2.0]
    assert labels.tolist() == [1, 0, 1]


# What a threshold gets right


@given(rows=ROWS, threshold=LOGITS)
@settings(deadline=None)
def test_precision_recall_and_f1_are_scikit_learns(rows: list[tuple[float, int]], threshold: float) -> None:
    logits, labels = scored(rows)

    found = confusion(logits, labels, threshold)

    expected = precision_recall_fscore_support(labels, logits >= threshold, average="binary", zero_division=0)[:3]
    assert (found.precision, found.recall, found.f1) == pytest.approx(expected, rel=1e-12)


@given(rows=ROWS, thresholds=st.lists(LOGITS, max_size=8))
@settings(deadline=None)
def test_the_curve_is_the_f1_of_each_threshold(rows: list[tuple[float, int]], thresholds: list[float]) -> None:
    logits, labels = scored(rows)

    curve = f1_curve(logits, labels, thresholds)

    assert curve == pytest.approx([confusion(logits, labels, threshold).f1 for threshold in thresholds], rel=1e-12)
    assert all(type(score) is float for score in curve)


def test_a_row_at_the_threshold_is_called() -> None:
    assert confusion(*scored([(0.0, 1), (0.0, 0)]), 0.0) == Confusion(1, 1, 0)
    assert f1_curve(*scored([(0.0, 1), (-1.0, 0)]), [0.0]) == [1.0]


def test_nothing_called_and_nothing_to_find_scores_zero() -> None:
    empty = Confusion(0, 0, 0)

    assert (empty.precision, empty.recall, empty.f1) == (0.0, 0.0, 0.0)
    assert f1_curve(*scored([(-1.0, 0)]), [0.0]) == [0.0]


def test_counts_do_not_overflow_the_labels_type() -> None:
    labels = np.ones(1000, np.int8)

    assert confusion(np.zeros(1000), labels, 0.0) == Confusion(1000, 0, 0)
    assert confusion(np.zeros(1000), labels, 1.0) == Confusion(0, 0, 1000)


@pytest.mark.parametrize(("positives", "rows"), [(1, 1), (1, 5), (3, 100), (40, 100)])
def test_calling_every_row_positive_scores_what_the_formula_says(positives: int, rows: int) -> None:
    labels = np.arange(rows) < positives

    assert all_positive_f1(positives / rows) == pytest.approx(f1_score(labels, np.ones(rows)), rel=1e-12)


# Logits and probabilities


@given(p=st.floats(0.0, 1.0, exclude_min=True, exclude_max=True))
def test_a_probability_survives_the_way_to_a_logit_and_back(p: float) -> None:
    assert probability(logit(p)) == pytest.approx(p, rel=1e-12, abs=1e-307)


@given(z=st.floats(-700.0, 10.0))
def test_a_logit_survives_the_way_to_a_probability_and_back(z: float) -> None:
    assert logit(probability(z)) == pytest.approx(z, rel=1e-11, abs=1e-11)


@given(z=st.floats(allow_nan=False))
def test_every_logit_has_a_probability(z: float) -> None:
    assert 0.0 <= probability(z) <= 1.0
    assert probability(z) + probability(-z) == pytest.approx(1.0, rel=1e-15)


@given(p=st.floats(0.0, 1.0, exclude_min=True, exclude_max=True))
@example(p=5e-324)
@example(p=math.nextafter(1.0, 0.0))
def test_every_probability_between_0_and_1_has_a_finite_logit_of_its_side(p: float) -> None:
    assert math.isfinite(logit(p))
    assert (logit(p) >= 0.0) == (p >= 0.5)


def test_extreme_logits_are_certain() -> None:
    assert [probability(z) for z in (-1e300, -800.0, 0.0, 40.0, 1e300)] == [0.0, 0.0, 0.5, 1.0, 1.0]
