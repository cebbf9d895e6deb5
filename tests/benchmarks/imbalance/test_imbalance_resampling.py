"""SMOTE: row for row what imbalanced-learn makes by itself, with one search of neighbours for each k."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import SMOTE
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from benchmarks.imbalance.learner import Examples
from benchmarks.imbalance.resampling import Resampler, Smote

Rows = tuple[NDArray[np.float32], NDArray[np.int8]]


def oversample(resampler: Resampler, ratio: float, k: int, seed: int) -> Examples:
    return resampler.oversample(Smote(resampler.minority_after(ratio), k, seed))


def make(majority: int, minority: int, features: int = 12, seed: int = 1) -> Rows:
    """Make a training set in random order, with the minority shifted."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.array([0, 1], np.int8), [majority, minority]))
    values = rng.normal(size=(len(labels), features)) + 0.7 * labels[:, None]
    return values.astype(np.float32), labels


SMALL, MEDIUM, WIDE = make(60, 9), make(4000, 300), make(3000, 250, features=30)


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of neighbours of each search that scikit-learn does."""
    seen: list[int] = []
    search = NearestNeighbors.kneighbors

    def spy(self: NearestNeighbors, *args: Any, **options: Any) -> Any:
        seen.append(self.n_neighbors)
        return search(self, *args, **options)

    monkeypatch.setattr(NearestNeighbors, "kneighbors", spy)
    return seen


# Against imbalanced-learn


@pytest.mark.parametrize(
    ("rows", "ratio", "k", "seed"),
    [
        (SMALL, 0.3, 1, 0),
        (SMALL, 0.5, 5, 42),
        (SMALL, 1.0, 8, 2**32 - 1),
        (MEDIUM, 0.1, 5, 42),
        (MEDIUM, 0.5, 1, 7),
        (MEDIUM, 1.0, 5, 42),
        (MEDIUM, 0.3, 299, 42),
        (WIDE, 0.7, 5, 42),
    ],
    ids=lambda value: f"{len(value[1])}x{value[0].shape[1]}" if isinstance(value, tuple) else None,
)
def test_it_makes_the_rows_that_imbalanced_learn_makes(rows: Rows, ratio: float, k: int, seed: int) -> None:
    features, labels = SMOTE(sampling_strategy=ratio, k_neighbors=k, random_state=seed).fit_resample(*rows)

    made = oversample(Resampler(*rows), ratio, k, seed)

    assert np.array_equal(made.features.numpy(), features)
    assert np.array_equal(made.signs.numpy(), 2.0 * labels - 1.0)


@given(majority=st.integers(20, 80), minority=st.integers(2, 15), ratio=st.floats(0.05, 1.0))
@settings(max_examples=30, deadline=None)
def test_it_counts_like_imbalanced_learn(majority: int, minority: int, ratio: float) -> None:
    rows = make(majority, minority, features=2)
    resampler = Resampler(*rows)
    after = resampler.minority_after(ratio)
    assume(after > minority)

    _, labels = SMOTE(sampling_strategy=ratio, k_neighbors=1, random_state=0).fit_resample(*rows)
    made = oversample(resampler, ratio, 1, 0)

    assert after == labels.sum() == (made.signs > 0).sum()


def test_the_ratio_is_minority_over_majority_rows() -> None:
    resampler = Resampler(*SMALL)

    assert (resampler.minority, resampler.majority, resampler.ratio) == (9, 60, 0.15)
    assert resampler.minority_after(0.5) == 30


# The rows


@pytest.mark.parametrize(("rows", "ratio", "k"), [(SMALL, 1.0, 3), (MEDIUM, 0.5, 5)], ids=["small", "medium"])
def test_the_original_rows_come_first_and_unchanged(rows: Rows, ratio: float, k: int) -> None:
    before = [part.copy() for part in rows]

    made = oversample(Resampler(*rows), ratio, k, 42)

    count = len(rows[1])
    assert np.array_equal(made.features[:count].numpy(), before[0])
    assert np.array_equal(made.signs[:count].numpy(), 2.0 * before[1] - 1.0)
    assert [part.tobytes() for part in rows] == [part.tobytes() for part in before]


def test_the_new_rows_are_all_of_the_minority() -> None:
    made = oversample(Resampler(*SMALL), 1.0, 3, 42)

    assert made.signs[69:].tolist() == 51 * [1.0]


@pytest.mark.parametrize("k", [1, 3, 8])
def test_each_new_row_lies_between_a_minority_row_and_one_of_its_k_neighbours(k: int) -> None:
    made = oversample(Resampler(*SMALL), 1.0, k, 42).features[69:].numpy().astype(np.float64)

    minority = SMALL[0][SMALL[1] == 1].astype(np.float64)
    distances = np.linalg.norm(minority[:, None] - minority, axis=2)
    starts = np.repeat(minority, k, axis=0)
    steps = minority[np.argsort(distances, axis=1)[:, 1 : k + 1]].reshape(len(starts), -1) - starts
    along = ((made[:, None] - starts) * steps).sum(axis=2) / (steps**2).sum(axis=1)
    feet = starts + along.clip(0.0, 1.0)[:, :, None] * steps
    assert np.linalg.norm(made[:, None] - feet, axis=2).min(axis=1).max() < 1e-5


def test_rows_that_are_all_equal_are_repeated() -> None:
    features, labels = make(30, 6)
    features[labels == 1] = 2.5

    made = oversample(Resampler(features, labels), 0.5, 3, 42)

    assert (made.features[36:] == 2.5).all()


def test_the_types_are_those_that_a_learner_takes() -> None:
    made = oversample(Resampler(*SMALL), 0.5, 3, 42)

    kinds = [str(part.dtype) for part in (made.features, made.signs)]
    assert isinstance(made, Examples)
    assert kinds == ["torch.float32", "torch.float32"]


# Seeds and earlier calls


def test_the_same_seed_makes_the_same_rows() -> None:
    first, again = (oversample(Resampler(*MEDIUM), 0.5, 5, 42) for _ in range(2))

    assert first.features.numpy().tobytes() == again.features.numpy().tobytes()


def test_another_seed_makes_other_rows() -> None:
    resampler = Resampler(*SMALL)

    ours, theirs = (oversample(resampler, 1.0, 5, seed).features[69:] for seed in (42, 43))

    assert not np.isclose(ours, theirs).all(axis=1).any()


def test_earlier_calls_leave_no_trace() -> None:
    used, fresh = Resampler(*MEDIUM), Resampler(*MEDIUM)
    for smote in ((1.0, 5, 1), (0.2, 3, 2), (0.9, 5, 3)):
        oversample(used, *smote)

    ours, theirs = (oversample(resampler, 0.5, 5, 42) for resampler in (used, fresh))

    assert ours.features.numpy().tobytes() == theirs.features.numpy().tobytes()


def test_the_global_generator_is_left_alone() -> None:
    np.random.random()  # a state that no seed begins with
    before = str(np.random.get_state())

    oversample(Resampler(*SMALL), 1.0, 5, 42)

    assert str(np.random.get_state()) == before


def test_neighbours_are_searched_once_for_each_k(searches: list[int]) -> None:
    resampler = Resampler(*SMALL)

    for ratio, k, seed in ((0.5, 5, 1), (1.0, 5, 1), (0.5, 5, 2), (0.5, 3, 1), (0.7, 5, 3), (0.8, 3, 4)):
        oversample(resampler, ratio, k, seed)

    assert searches == [6, 4]  # a row is its own nearest neighbour


def test_two_training_sets_do_not_share_neighbours(searches: list[int]) -> None:
    for rows in (SMALL, MEDIUM):
        oversample(Resampler(*rows), 0.5, 5, 1)

    assert len(searches) == 2
