"""The data of a trial and how hard they are: draws, splits, the best possible F1, and the values of tau."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from benchmarks.imbalance import certificate, difficulty, session, synthetic
from benchmarks.imbalance.certificate import is_certified
from benchmarks.imbalance.data import Dataset, _drawn, credit_card, gaussian_blobs
from benchmarks.imbalance.difficulty import SYNTHETIC_TAUS, calibrated_tau, check_tau
from benchmarks.imbalance.kaggle import CreditCard
from benchmarks.imbalance.scores import all_positive_f1, best_threshold
from benchmarks.imbalance.synthetic import (
    MINORITY_FRACS,
    Geometry,
    bayes_f1,
    bayes_f1_of,
    draw,
    geometry,
    sizes,
)
from tests.conftest import slow

FRACTIONS = st.floats(*MINORITY_FRACS)

ROWS, FRAUDS = 9000, 300
LARGEST_GROUP = 6


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> CreditCard:
    """A small credit-card data set, read-only like the real one; 250 groups of up to six equal rows, 30 of frauds."""
    rng = np.random.default_rng(3)
    labels = np.zeros(ROWS, np.int8)
    labels[:FRAUDS] = 1
    groups = np.arange(ROWS, dtype=np.int32)
    for start in (*range(0, 180, 6), *range(FRAUDS, FRAUDS + 220 * 6, 6)):
        groups[start : start + rng.integers(2, LARGEST_GROUP + 1)] = start
    order = rng.permutation(ROWS)
    labels, groups = labels[order], np.unique(groups[order], return_inverse=True)[1].astype(np.int32)
    features = rng.normal(50.0, 9.0, (groups.max() + 1, 4)).astype(np.float32)[groups]
    features[:, 0] = groups  # tells rows apart after scaling
    features[:, 3] = 7.0
    for array in (features, labels, groups):
        array.flags.writeable = False
    cards = CreditCard(features, labels, groups, csv_sha256="0123456789abcdef")
    monkeypatch.setattr("benchmarks.imbalance.data.kaggle.load", lambda: cards)
    return cards


def groups_of(data: Dataset) -> list[NDArray[np.intp]]:
    """Return the group of each row of the three parts, told by the first feature, which scaling leaves in order."""
    parts = (data.train, data.validation, data.test)
    firsts = np.concatenate([part.features[:, 0] for part in parts])
    found = np.unique(firsts, return_inverse=True)[1]
    return np.split(found, np.cumsum([part.rows for part in parts[:2]]))


def arrays_of(data: Dataset) -> list[bytes]:
    return [
        array.tobytes() for part in (data.train, data.validation, data.test) for array in (part.features, part.labels)
    ]


# The blobs' parts


@pytest.mark.parametrize("minority_frac", sorted(SYNTHETIC_TAUS))
def test_each_part_has_its_size_and_its_share_of_the_minority(minority_frac: float) -> None:
    data = gaussian_blobs(minority_frac, 42)

    parts = (data.train, data.validation, data.test)
    assert tuple(part.rows for part in parts) == sizes(minority_frac)
    assert [part.positives for part in parts] == [round(minority_frac * size) for size in sizes(minority_frac)]
    assert all(part.features.shape == (part.rows, synthetic.FEATURES) for part in parts)
    assert {(str(part.features.dtype), str(part.labels.dtype)) for part in parts} == {("float32", "int8")}


@given(minority_frac=FRACTIONS)
@settings(max_examples=15, deadline=None)
def test_at_any_fraction_parts_are_stratified_to_a_row(minority_frac: float) -> None:
    data = gaussian_blobs(minority_frac, 42)

    for part, size in zip((data.train, data.validation, data.test), sizes(minority_frac), strict=True):
        assert abs(part.rows - size) <= 2
        assert abs(part.positives - minority_frac * part.rows) <= 2


@pytest.mark.parametrize("minority_frac", [0.009, 0.011, 0.05001])
def test_at_any_fraction_each_part_has_exactly_its_size(minority_frac: float) -> None:
    data = gaussian_blobs(minority_frac, 42)

    assert (data.train.rows, data.validation.rows, data.test.rows) == sizes(minority_frac)


@given(minority_frac=FRACTIONS)
@example(minority_frac=0.003)
def test_validation_and_test_have_enough_positives(minority_frac: float) -> None:
    _, validation, test = sizes(minority_frac)

    assert validation * minority_frac >= 89.9
    assert test * minority_frac >= 359.9


def test_each_drawn_row_is_in_exactly_one_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbered(
        minority_frac: float, seed: int, rows: int, attempt: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        return np.arange(rows, dtype=np.float32)[:, None], draw(minority_frac, seed, rows, attempt)[1]

    monkeypatch.setattr("benchmarks.imbalance.data.synthetic.draw", numbered)
    monkeypatch.setattr("benchmarks.imbalance.data.is_certified", lambda *_: True)

    data = gaussian_blobs(0.03, 42)

    parts = groups_of(data)
    labels = draw(0.03, 42, sum(sizes(0.03)))[1]
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    assert np.array_equal(data.test.labels, labels[parts[2]])


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert arrays_of(gaussian_blobs(0.03, 42)) == arrays_of(gaussian_blobs(0.03, 42))


def test_another_seed_gives_other_rows() -> None:
    ours, theirs = gaussian_blobs(0.03, 42), gaussian_blobs(0.03, 43)

    assert not np.isclose(ours.train.features[:100], theirs.train.features[:100]).all(axis=1).any()


def test_the_origin_says_which_data_these_are(cards: CreditCard) -> None:
    assert gaussian_blobs(0.03, 42).origin == "Gaussian blobs, 0.03 minority"
    assert credit_card(None, 42).origin == "creditcardfraud 0123456789ab"


# The credit-card split


@pytest.mark.parametrize(
    ("sample_n", "expected"),
    [(None, (4500, 1800, 2700)), (3000, (2000, 1000, 6000)), (600, (400, 200, 8400))],
)
def test_the_parts_have_their_shares_of_rows_and_frauds(
    sample_n: int | None, expected: tuple[int, int, int], cards: CreditCard
) -> None:
    data = credit_card(sample_n, 42)

    # A group that does not fit goes to the next part, among frauds and among the others.
    for part, size in zip((data.train, data.validation, data.test), expected, strict=True):
        assert abs(part.rows - size) <= 2 * LARGEST_GROUP
        assert abs(part.positives - size * FRAUDS / ROWS) <= LARGEST_GROUP
    assert data.train.rows <= expected[0]


@pytest.mark.parametrize("sample_n", [None, 3000, 600])
def test_every_row_is_in_exactly_one_part_and_duplicates_stay_together(sample_n: int | None, cards: CreditCard) -> None:
    parts = groups_of(credit_card(sample_n, 42))

    assert np.array_equal(np.sort(np.concatenate(parts)), np.sort(cards.groups))
    for ours, theirs in itertools.combinations(parts, 2):
        assert not np.intersect1d(ours, theirs).size


def test_rows_keep_their_labels(cards: CreditCard) -> None:
    data = credit_card(None, 42)

    label_of_group = np.zeros(cards.groups.max() + 1, np.int8)
    label_of_group[cards.groups] = cards.labels
    for part, groups in zip((data.train, data.validation, data.test), groups_of(data), strict=True):
        assert np.array_equal(part.labels, label_of_group[groups])


def test_duplicates_of_both_classes_stay_together(cards: CreditCard, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = cards.labels.copy()
    numbers, first = np.unique(cards.groups, return_index=True)
    doubled = np.bincount(cards.groups)[numbers] > 1
    labels[first[doubled]] = 1
    mixed = CreditCard(cards.features, labels, cards.groups, cards.csv_sha256)
    monkeypatch.setattr("benchmarks.imbalance.data.kaggle.load", lambda: mixed)

    parts = groups_of(credit_card(None, 42))

    assert sum(len(np.unique(part)) for part in parts) == len(numbers)


def test_the_same_seed_splits_alike_and_another_one_otherwise(cards: CreditCard) -> None:
    first, again, other = (groups_of(credit_card(3000, seed)) for seed in (42, 42, 43))

    assert all(map(np.array_equal, first, again))
    assert 0.1 < np.isin(other[0], first[0]).mean() < 0.4  # 22 % by chance


def test_a_sample_is_drawn_from_everywhere(cards: CreditCard) -> None:
    train = groups_of(credit_card(600, 42))[0]

    quarters = np.bincount(train * 4 // (cards.groups.max() + 1), minlength=4) / len(train)
    assert (abs(quarters - 0.25) < 0.12).all()


# Scaling


def test_the_training_rows_are_standardised(cards: CreditCard) -> None:
    features = credit_card(None, 42).train.features.astype(np.float64)

    assert np.allclose(features.mean(axis=0), 0.0, atol=1e-5)
    assert np.allclose(features[:, :3].std(axis=0), 1.0, atol=1e-5)


def test_all_parts_are_scaled_by_the_training_rows(cards: CreditCard) -> None:
    data = credit_card(3000, 42)

    parts = groups_of(data)
    row_of_group = np.unique(cards.groups, return_index=True)[1]
    train, validation, test = (cards.features[row_of_group[groups], 1:3].astype(np.float64) for groups in parts)
    for part, rows in ((data.train, train), (data.validation, validation), (data.test, test)):
        expected = (rows - train.mean(axis=0)) / train.std(axis=0)
        assert np.allclose(part.features[:, 1:3], expected, atol=1e-5)


def test_other_test_rows_would_change_nothing_of_training_and_validation(
    cards: CreditCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = credit_card(3000, 42)
    features = cards.features.copy()
    features[np.isin(cards.groups, groups_of(before)[2])] *= 1000.0
    changed = CreditCard(features, cards.labels, cards.groups, cards.csv_sha256)
    monkeypatch.setattr("benchmarks.imbalance.data.kaggle.load", lambda: changed)

    after = credit_card(3000, 42)

    assert arrays_of(after)[:4] == arrays_of(before)[:4]
    assert arrays_of(after)[4] != arrays_of(before)[4]


def test_a_constant_feature_is_zero_and_not_missing(cards: CreditCard) -> None:
    data = credit_card(None, 42)

    assert all((part.features[:, 3] == 0.0).all() for part in (data.train, data.validation, data.test))


# The blobs


def test_the_draw_has_the_exact_number_of_each_class_in_random_order() -> None:
    _, labels = draw(0.03, 42, 10_000)

    assert labels.sum() == 300
    assert all(abs(part.sum() - 75) < 30 for part in np.split(labels, 4))


def test_another_seed_does_not_just_turn_the_same_rows() -> None:
    drawn = [draw(0.4, seed, 500) for seed in (42, 43)]

    ours, theirs = (np.linalg.norm(features, axis=1) for features, _ in drawn)  # the same however they are turned
    assert np.isclose(ours, theirs, atol=1e-3).sum() < 10
    assert not np.array_equal(drawn[0][1], drawn[1][1])


def test_the_rotation_is_orthogonal_and_a_matter_of_the_seed() -> None:
    rotation = synthetic._rotation(42)

    assert np.allclose(rotation @ rotation.T, np.eye(synthetic.FEATURES), atol=1e-12)
    assert np.array_equal(rotation, synthetic._rotation(42))
    assert not np.allclose(rotation, synthetic._rotation(43), atol=0.1)


def test_no_direction_is_preferred() -> None:
    rotations = np.stack([synthetic._rotation(seed) for seed in range(600)])

    # Of a uniformly distributed orthogonal matrix, the trace has mean 0 and variance 1 (Diaconis and Mallows), an
    # entry mean 0 and variance 1 / 12, and the determinant is either sign.
    traces = np.trace(rotations, axis1=1, axis2=2)
    assert abs(traces.mean()) < 5 / math.sqrt(600)
    assert 0.75 < traces.var() < 1.3
    assert abs(rotations.mean(axis=0)).max() < 5 * math.sqrt(1 / 12 / 600)
    assert 0.4 < (np.linalg.det(rotations) > 0).mean() < 0.6


def test_each_minority_cluster_lies_inside_the_majority() -> None:
    drawn = [geometry(0.03, seed) for seed in range(40)]

    assert {len(one.minority) for one in drawn} == {4, 5, 6}
    for one in drawn:
        assert one.majority.shape == (3, 8)
        distances = np.linalg.norm(one.minority[:, None] - one.majority, axis=2)
        assert np.allclose(abs(distances - 1.6).min(axis=1), 0.0, atol=1e-9)


def test_tightness_is_a_matter_of_the_seed_and_of_the_fraction() -> None:
    for minority_frac, (low, high) in synthetic.MINORITY_WIDTHS.items():
        means = [geometry(minority_frac, seed).widths.mean() for seed in range(60)]
        assert 0.85 * low <= min(means) < low + 0.25 * (high - low)
        assert high - 0.25 * (high - low) < max(means) <= 1.15 * high
        for seed in range(5):
            widths = geometry(minority_frac, seed).widths
            assert widths.max() / widths.min() <= 1.15 / 0.85


def test_another_attempt_is_another_draw_of_the_same_seed() -> None:
    assert not np.allclose(geometry(0.03, 42, 0).majority, geometry(0.03, 42, 1).majority)
    assert np.array_equal(geometry(0.03, 42, 1).majority, geometry(0.03, 42, 1).majority)
    assert not np.array_equal(draw(0.03, 42, 1000, 0)[0], draw(0.03, 42, 1000, 1)[0])


def test_turned_back_the_rows_lie_around_their_centres(turned_back: Callable[[int], NDArray[np.float64]]) -> None:
    minority, majority = turned_back(1), turned_back(0)

    drawn = geometry(0.4, 42)
    # Squared distances to the nearest centre, in standard deviations; those to the row's own have a mean of 8.
    assert 7.0 < _nearest(minority, drawn.minority, drawn.widths).mean() < 8.05
    assert 5.5 < _nearest(majority, drawn.majority, np.full(3, 1.3)).mean() < 8.05
    assert np.allclose(minority[:, :8].mean(axis=0), drawn.minority.mean(axis=0), atol=0.06)
    assert np.allclose(majority[:, :8].mean(axis=0), drawn.majority.mean(axis=0), atol=0.06)
    for rows in (minority, majority):
        assert np.allclose(rows[:, 8:].mean(axis=0), 0.0, atol=0.04)
        assert np.allclose(rows[:, 8:].std(axis=0), 1.0, atol=0.04)


@pytest.fixture(scope="module")
def turned_back() -> Callable[[int], NDArray[np.float64]]:
    """The rows of a class, in the space in which the clusters were laid out."""
    features, labels = draw(0.4, 42, 50_000)
    rows = features.astype(np.float64) @ synthetic._rotation(42).T
    return lambda label: rows[labels == label]


def _nearest(
    rows: NDArray[np.float64], centres: NDArray[np.float64], widths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the squared distance of each row to the nearest centre, in its standard deviations."""
    distances: NDArray[np.float64] = (((rows[:, None, :8] - centres) ** 2).sum(axis=2) / widths**2).min(axis=1)
    return distances


# The certificate


@pytest.mark.parametrize(("minority_frac", "seed"), [(0.03, 42), (0.2, 42), (0.2, 43), slow(0.2, 30009)])
def test_what_is_drawn_has_its_certificate_and_what_was_refused_has_none(minority_frac: float, seed: int) -> None:
    tau = calibrated_tau("synthetic", minority_frac)
    data = gaussian_blobs(minority_frac, seed)

    for attempt in range(50):
        candidate = _drawn(minority_frac, seed, attempt)
        is_it = np.array_equal(candidate.train.features, data.train.features)
        assert is_certified(candidate, tau, seed, attempt) == is_it
        if is_it:
            break


def test_a_draw_is_refused_if_the_plan_misses_or_the_plain_model_comes_close() -> None:
    data = gaussian_blobs(0.2, 42)

    assert is_certified(data, 0.7, 42)
    assert not is_certified(data, 0.97, 42)  # out of reach
    assert not is_certified(data, 0.5, 42)  # within reach of the plain model


def test_a_certificate_trains_as_long_and_as_fast_as_a_session_may() -> None:
    assert (certificate.EPOCHS, certificate.LR) == (session.AUTO_EPOCHS + session.FREE_EPOCHS, session.MAX_LR)


def test_the_longer_it_takes_the_less_is_asked_of_the_plain_model() -> None:
    data = _drawn(0.2, 30009, 9)  # of a seed whose initial weights suit the plain model

    assert not is_certified(data, 0.7, 30009, 0)
    assert is_certified(data, 0.7, 30009, 9)


def test_a_seed_without_a_draw_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.imbalance.data.is_certified", lambda *_: False)
    monkeypatch.setattr("benchmarks.imbalance.data.MAX_ATTEMPTS", 2)

    with pytest.raises(RuntimeError, match=r"none of 2 draws of seed 42 at a minority of 0\.03 can be passed"):
        gaussian_blobs(0.03, 42)


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
