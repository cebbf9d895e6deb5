"""Thresholds from scores: the chance that is claimed, and which scores are offered."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_rltask.analysis.order import chance_of_rank, chance_of_threshold, cuts
from pytest_rltask.task import Band

RANKS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(1, n), st.just(n)))
BANDS = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda edges: edges[0] < edges[1]).map(lambda e: Band(*e))
SCORES = st.lists(st.floats(-1e6, 1e6) | st.none(), max_size=60)


@settings(max_examples=30)
@given(RANKS, BANDS)
def test_the_chance_of_a_rank_is_that_of_the_beta_distribution(rank: tuple[int, int], band: Band) -> None:
    m, n = rank
    expected = stats.beta.cdf(band.high, m, n + 1 - m) - stats.beta.cdf(band.low, m, n + 1 - m)
    assert chance_of_rank(m, n, band) == pytest.approx(float(expected), abs=1e-9)


def test_the_fifth_best_of_twenty_is_in_the_band_with_the_chance_of_research() -> None:
    assert [round(chance_of_rank(m, n, Band()), 2) for n, m in ((10, 3), (15, 4), (20, 5), (30, 7), (50, 12))] == [
        0.76, 0.85, 0.91, 0.96, 0.99,
    ]  # fmt: skip


@settings(max_examples=30)
@given(RANKS)
def test_the_chance_of_a_fixed_threshold_is_that_of_a_uniform_prior(counts: tuple[int, int]) -> None:
    passed, n = counts
    expected = stats.beta(passed + 1, n - passed + 1)
    assert chance_of_threshold(passed, n, Band()) == pytest.approx(expected.cdf(0.4) - expected.cdf(0.1), abs=1e-9)


@given(SCORES, BANDS)
def test_a_threshold_without_a_tie_lets_as_many_trials_pass_as_its_rank(scores: list[float | None], band: Band) -> None:
    found = cuts(scores, band)
    for cut in found:
        passing = sum(score is not None and score >= cut.threshold for score in scores)
        assert cut.ties == scores.count(cut.threshold) - 1
        assert passing == cut.rank if not cut.ties else passing >= cut.rank
        lower = [score for score in scores if score is not None and score < cut.threshold]
        assert cut.next_lower == max(lower, default=None)
    untied = [cut.chance for cut in found if not cut.ties]
    assert untied == sorted(untied, reverse=True)
    assert [cut.ties > 0 for cut in found] == sorted(cut.ties > 0 for cut in found)


def test_what_no_threshold_lets_pass_counts_below_all_scores() -> None:
    scores: list[float | None] = [n / 10 for n in range(10)]
    assert cuts([*scores, *[None] * 10], Band())[0].threshold == 0.5  # the 5th best of 20
    assert cuts([0.9, *[None] * 19], Band()) == []


def test_the_claim_holds_where_it_is_simulated() -> None:
    rng = random.Random(5)
    chosen = [cuts([rng.random() for _ in range(20)], Band())[0] for _ in range(2000)]
    held = sum(1 - cut.threshold in Band() for cut in chosen) / len(chosen)
    assert held == pytest.approx(chosen[0].chance, abs=0.02)  # 3 standard errors
