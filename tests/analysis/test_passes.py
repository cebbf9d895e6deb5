"""pass@k, pass^k and clustered errors, beside what they mean: all subsets counted, all outcomes weighed."""

from __future__ import annotations

import math
import statistics
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.analysis.passes import clustered_mean, pass_at_k, pass_hat_k

outcomes = st.lists(st.booleans(), min_size=1, max_size=9)
values = st.floats(-10, 10)


@given(outcomes, st.data())
def test_they_are_the_shares_of_all_subsets(trials: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(trials)))
    subsets = list(combinations(trials, k))
    assert pass_at_k(sum(trials), len(trials), k) == pytest.approx(sum(map(any, subsets)) / len(subsets))
    assert pass_hat_k(sum(trials), len(trials), k) == pytest.approx(sum(map(all, subsets)) / len(subsets))


@given(st.integers(1, 12), st.data(), st.floats(0, 1))
def test_they_are_unbiased(n: int, data: st.DataObject, p: float) -> None:
    k = data.draw(st.integers(1, n))
    weights = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    at = sum(weight * pass_at_k(c, n, k) for c, weight in enumerate(weights))
    hat = sum(weight * pass_hat_k(c, n, k) for c, weight in enumerate(weights))
    assert (at, hat) == (pytest.approx(1 - (1 - p) ** k), pytest.approx(p**k))


@pytest.mark.parametrize(("passed", "judged", "k"), [(1, 2, 3), (1, 2, 0), (1, 2, -1), (3, 2, 1), (0, 0, 1)])
def test_what_too_few_trials_cannot_tell_is_refused(passed: int, judged: int, k: int) -> None:
    for estimate in (pass_at_k, pass_hat_k):
        with pytest.raises(ValueError, match="trials"):
            estimate(passed, judged, k)


def test_many_trials_are_counted_exactly() -> None:
    assert pass_at_k(1, 5000, 5000) == 1.0
    assert pass_at_k(1, 10_000, 10) == pytest.approx(10 / 10_000)


@given(st.integers(1, 5).flatmap(lambda size: st.lists(st.lists(values, min_size=size, max_size=size), min_size=2)))
def test_of_clusters_of_one_size_the_error_is_that_of_their_means(clusters: list[list[float]]) -> None:
    means = [statistics.fmean(cluster) for cluster in clusters]
    found = clustered_mean(clusters)
    assert found.value == pytest.approx(statistics.fmean(means), abs=1e-9)
    assert found.error == pytest.approx(statistics.stdev(means) / math.sqrt(len(means)), abs=1e-9)


@given(st.lists(st.lists(values, min_size=1, max_size=5), min_size=2, max_size=6))
def test_the_error_is_the_sum_over_all_pairs_within_clusters(clusters: list[list[float]]) -> None:
    flat = [value for cluster in clusters for value in cluster]
    mean, n, g = statistics.fmean(flat), len(flat), len(clusters)
    pairs = sum((one - mean) * (other - mean) for cluster in clusters for one in cluster for other in cluster)
    assert clustered_mean(clusters).error == pytest.approx(math.sqrt(g / (g - 1) * max(pairs, 0)) / n, abs=1e-6)


def test_one_cluster_has_no_error_and_none_no_mean() -> None:
    assert clustered_mean([[1.0, 0.0], []]).error is None
    with pytest.raises(ValueError, match="no mean"):
        clustered_mean([[]])
