"""The blobs: what is drawn, and which draws get a certificate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.imbalance import certificate, session, synthetic
from benchmarks.imbalance.certificate import is_certified
from benchmarks.imbalance.data import _drawn, gaussian_blobs
from benchmarks.imbalance.difficulty import calibrated_tau
from benchmarks.imbalance.synthetic import draw, geometry
from tests.conftest import slow

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
