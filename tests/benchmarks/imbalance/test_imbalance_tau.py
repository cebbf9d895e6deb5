"""How hard the data are: the best possible F1, and the values of tau."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from benchmarks.imbalance import difficulty, synthetic
from benchmarks.imbalance.difficulty import SYNTHETIC_TAUS, calibrated_tau, check_tau
from benchmarks.imbalance.scores import all_positive_f1, best_threshold
from benchmarks.imbalance.synthetic import MINORITY_FRACS, Geometry, bayes_f1, bayes_f1_of, draw, geometry
from tests.benchmarks.imbalance.minority_fractions import FRACTIONS

# The best possible F1


@pytest.mark.parametrize(("minority_frac", "rows", "tolerance"), [(0.03, 100_000, 0.01), (0.4, 30_000, 0.007)])
def test_the_bound_is_the_f1_of_the_exact_posterior_on_fresh_rows(
    minority_frac: float, rows: int, tolerance: float
) -> None:
    features, labels = draw(minority_frac, 123, rows)
    drawn = geometry(minority_frac, 123)

    _, f1 = best_threshold(_log_density_ratio(features, drawn, seed=123), labels) or (0.0, 0.0)

    assert f1 == pytest.approx(bayes_f1_of(drawn, minority_frac), abs=tolerance)


@pytest.mark.parametrize("minority_frac", [0.003, 0.01, 0.03, 0.2, 0.4])
def test_the_bound_is_certain_to_half_a_percent(minority_frac: float) -> None:
    features, labels = draw(0.4, 5, 100_000)
    drawn = geometry(0.4, 5)

    # Majority rows that look like the minority are rare, so they are estimated from minority rows, each counted by
    # how much less likely it is in the majority.
    ratios = -np.sort(-_log_density_ratio(features[labels == 1], drawn, seed=5))
    recall = np.arange(1, len(ratios) + 1) / len(ratios)
    false_alarms = np.cumsum(np.exp(-ratios)) / len(ratios)
    called = minority_frac * recall + (1 - minority_frac) * false_alarms
    best = (2 * minority_frac * recall / (called + minority_frac)).max()
    assert bayes_f1_of(drawn, minority_frac) == pytest.approx(best, abs=0.007)


def test_the_bound_of_a_fraction_is_that_of_the_easiest_of_sixteen_geometries() -> None:
    bounds = [bayes_f1_of(geometry(0.03, seed), 0.03) for seed in range(16)]

    assert bayes_f1(0.03) == max(bounds) > 1.2 * min(bounds)


@given(minority_frac=FRACTIONS)
@settings(max_examples=10, deadline=None)
def test_the_bound_beats_calling_all_positive(minority_frac: float) -> None:
    assert all_positive_f1(minority_frac) + 0.1 < bayes_f1(minority_frac) < 1.0


def _log_density_ratio(features: NDArray[np.float32], drawn: Geometry, *, seed: int) -> NDArray[np.float64]:
    """Return the logarithm of minority over majority density, by scipy, in the space of the rows."""
    rotation = synthetic._rotation(seed)

    def density(means: NDArray[np.float64], widths: NDArray[np.float64]) -> NDArray[np.float64]:
        spreads = [rotation.T @ np.diag([width**2] * 8 + [1.0] * 4) @ rotation for width in widths]
        padded = np.pad(means, ((0, 0), (0, 4))) @ rotation
        parts = [
            multivariate_normal(mean, spread).logpdf(features) for mean, spread in zip(padded, spreads, strict=True)
        ]
        total: NDArray[np.float64] = logsumexp(parts, axis=0) - math.log(len(means))
        return total

    return density(drawn.minority, drawn.widths) - density(drawn.majority, np.full(3, 1.3))


# Tau


@pytest.mark.parametrize(("minority_frac", "tau"), SYNTHETIC_TAUS.items())
def test_at_the_calibrated_fractions_tau_is_the_calibrated_one(minority_frac: float, tau: float) -> None:
    assert calibrated_tau("synthetic", minority_frac) == tau


def test_in_between_tau_follows_the_logarithm_of_the_fraction() -> None:
    for (low, low_tau), (high, high_tau) in itertools.pairwise(sorted(SYNTHETIC_TAUS.items())):
        assert calibrated_tau("synthetic", math.sqrt(low * high)) == pytest.approx((low_tau + high_tau) / 2, abs=6e-4)


@given(fractions=st.tuples(FRACTIONS, FRACTIONS))
def test_a_larger_minority_never_has_a_lower_tau(fractions: tuple[float, float]) -> None:
    low, high = sorted(fractions)

    assert calibrated_tau("synthetic", low) <= calibrated_tau("synthetic", high)


def test_the_kaggle_data_have_one_tau() -> None:
    assert calibrated_tau("kaggle", 0.03) == calibrated_tau("kaggle", 0.4) == difficulty.KAGGLE_TAU


def test_the_calibration_covers_all_fractions() -> None:
    assert (min(SYNTHETIC_TAUS), max(SYNTHETIC_TAUS)) == MINORITY_FRACS


@given(minority_frac=FRACTIONS)
@example(minority_frac=MINORITY_FRACS[0])
@example(minority_frac=MINORITY_FRACS[1])
@settings(max_examples=12, deadline=None)
def test_the_calibrated_tau_is_within_reach_at_any_fraction(minority_frac: float) -> None:
    tau = calibrated_tau("synthetic", minority_frac)

    check_tau(tau, "synthetic", minority_frac)
    check_tau(math.nextafter(tau, 0.0), "synthetic", minority_frac)  # without the short cut of the calibrated one


def test_the_calibrated_tau_is_accepted_without_computing_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("benchmarks.imbalance.synthetic.bayes_f1")

    check_tau(0.3, "synthetic", 0.03)
    check_tau(0.75, "kaggle", 0.03)


@pytest.mark.parametrize("minority_frac", [0.003, 0.03, 0.4])
@pytest.mark.parametrize("side", ["low", "high"])
def test_a_tau_out_of_reach_is_refused_with_the_range_of_those_within(side: str, minority_frac: float) -> None:
    bounds = {"low": all_positive_f1(minority_frac) + 0.02, "high": bayes_f1(minority_frac)}
    outward = {"low": -1e-6, "high": 1e-6}[side]

    check_tau(bounds[side] - outward, "synthetic", minority_frac)
    with pytest.raises(ValueError, match=re.escape(f"not within {bounds['low']:.3f} to {bounds['high']:.3f}: ")) as why:
        check_tau(bounds[side] + outward, "synthetic", minority_frac)

    assert f"calling every row positive has an F1 of {bounds['low'] - 0.02:.3f}" in str(why.value)
    assert f"the best classifier there is at minority_frac {minority_frac:g} has {bounds['high']:.3f}" in str(why.value)


@pytest.mark.parametrize("tau", [0.0, 0.023, 1.001, math.nan, math.inf, -math.inf])
def test_the_kaggle_data_take_what_lies_between_all_positive_and_perfect(tau: float) -> None:
    check_tau(0.024, "kaggle", 0.03)
    check_tau(0.99, "kaggle", 0.03)

    with pytest.raises(ValueError, match=r"not within 0\.023 to 1\.000: .* a perfect one of these data has 1\.000"):
        check_tau(tau, "kaggle", 0.03)
