"""The parts of the data: sizes, strata, duplicates, and scaling, of the blobs and of the credit-card data."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from numpy.typing import NDArray

from benchmarks.imbalance import synthetic
from benchmarks.imbalance.data import Dataset, credit_card, gaussian_blobs
from benchmarks.imbalance.difficulty import SYNTHETIC_TAUS
from benchmarks.imbalance.kaggle import CreditCard
from benchmarks.imbalance.synthetic import draw, sizes
from tests.benchmarks.imbalance.minority_fractions import FRACTIONS

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


@pytest.mark.slow
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
