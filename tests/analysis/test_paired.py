"""The statistics of a difference, beside numbers that others computed and published."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_rltask.analysis.paired import (
    Pairs,
    adjusted,
    exact_interval,
    fisher_p,
    mcnemar_p,
    paired_interval,
    unpaired_interval,
    wilson,
)

COUNTS = st.integers(0, 60)
TABLES = st.builds(Pairs, COUNTS, COUNTS, COUNTS, COUNTS).filter(lambda pairs: pairs.total)
TWO = st.tuples(st.integers(1, 60), st.integers(1, 60)).flatmap(
    lambda judged: st.tuples(st.tuples(*(st.integers(0, n) for n in judged)), st.just(judged))
)


@pytest.mark.parametrize(
    ("table", "p"),
    # statsmodels 0.15.0: contingency_tables.mcnemar(table, exact=True)
    [
        ((14, 5, 0, 22), 0.0625),
        ((1, 1, 7, 12), 0.0703125),
        ((59, 6, 16, 80), 0.052478790283203125),
        ((5, 12, 3, 30), 0.035156250),
        ((0, 0, 0, 5), 1.0),
        ((10, 4, 4, 2), 1.0),
    ],
)
def test_mcnemar_is_that_of_statsmodels(table: tuple[int, int, int, int], p: float) -> None:
    assert mcnemar_p(Pairs(*table)) == pytest.approx(p, rel=1e-12)


@settings(max_examples=30)
@given(TABLES)
def test_mcnemar_is_the_binomial_test_of_the_unequal_pairs(pairs: Pairs) -> None:
    unequal = pairs.only_a + pairs.only_b
    expected = stats.binomtest(pairs.only_a, unequal).pvalue if unequal else 1.0
    assert mcnemar_p(pairs) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_stands_thousands_of_pairs() -> None:
    assert 0.1 < mcnemar_p(Pairs(0, 2000, 1900, 0)) < 0.2


@settings(max_examples=30)
@given(TWO)
def test_fisher_is_that_of_scipy(counts: tuple[tuple[int, int], tuple[int, int]]) -> None:
    passed, judged = counts
    table = [[k, n - k] for k, n in zip(passed, judged, strict=True)]
    assert fisher_p(passed, judged) == pytest.approx(stats.fisher_exact(table).pvalue, abs=1e-9)


@pytest.mark.parametrize(
    ("passed", "judged", "p"),
    # Splits that are equally likely, which rounding tells apart; scipy 1.17.1: stats.fisher_exact
    [((0, 6), (1, 11), 1.0), ((0, 6), (2, 10), 5 / 11), ((0, 15), (2, 28), 14 / 29)],
)
def test_fisher_counts_splits_that_are_as_likely(passed: tuple[int, int], judged: tuple[int, int], p: float) -> None:
    assert fisher_p(passed, judged) == pytest.approx(p, rel=1e-9)


@pytest.mark.parametrize(
    ("passed", "judged", "low", "high"),
    # statsmodels 0.15.0: proportion.confint_proportions_2indep(b, n_b, a, n_a, method="newcomb", compare="diff")
    [
        ((9, 3), (20, 20), -0.5296962485585452, -0.015282314886274462),
        ((56, 48), (70, 80), -0.33387265403690614, -0.05243147240236498),
        ((0, 5), (10, 10), 0.11736746745022203, 0.7634069094874361),
        ((10, 0), (10, 20), -1.0, -0.6790860371419145),
        ((0, 0), (20, 20), -0.1611251580528194, 0.1611251580528194),
    ],
)
def test_the_unpaired_interval_is_that_of_statsmodels(
    passed: tuple[int, int], judged: tuple[int, int], low: float, high: float
) -> None:
    assert unpaired_interval(passed, judged) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize(
    ("table", "low", "high"),
    # Fagerland, Lydersen & Laake's R package contingencytables 3.0: Newcombe_square_and_add_CI_paired_2x2, of A less B
    [((59, 6, 16, 80), -0.1186, -0.0046), ((1, 1, 7, 12), -0.507, -0.026)],
)
def test_the_paired_interval_is_the_published_one(table: tuple[int, int, int, int], low: float, high: float) -> None:
    ours = [-bound for bound in paired_interval(Pairs(*table))]
    digits = len(str(low).partition(".")[2])
    assert [round(bound, digits) for bound in reversed(ours)] == [low, high]


def test_the_correlation_is_corrected_towards_0_and_not_past_it() -> None:
    assert Pairs(1, 1, 2, 1).correlation == pytest.approx(-1 / 6)  # -1 / sqrt(2 * 3 * 3 * 2)
    assert Pairs(2, 1, 1, 1).correlation == 0  # a cross product of 1, less than half of the pairs
    assert Pairs(9, 1, 1, 9).correlation == pytest.approx((80 - 10) / 100)
    assert Pairs(5, 0, 5, 0).correlation == 0


@given(TABLES)
def test_a_paired_interval_holds_the_difference_and_turns_with_the_runs(pairs: Pairs) -> None:
    low, high = paired_interval(pairs)
    other = paired_interval(Pairs(pairs.both, pairs.only_b, pairs.only_a, pairs.none))
    assert -1 <= low <= (pairs.only_b - pairs.only_a) / pairs.total <= high <= 1
    assert other == pytest.approx((-high, -low), abs=1e-9)


@given(TABLES)
def test_pairs_that_end_alike_narrow_the_interval(pairs: Pairs) -> None:
    a, b = pairs.passed
    width = [high - low for low, high in (paired_interval(pairs), unpaired_interval((a, b), (pairs.total,) * 2))]
    assert (width[0] <= width[1] + 1e-9) == (pairs.correlation >= 0)


@given(TWO)
def test_an_unpaired_interval_holds_the_difference(counts: tuple[tuple[int, int], tuple[int, int]]) -> None:
    (a, b), (m, n) = counts
    low, high = unpaired_interval(*counts)
    assert -1 <= low <= b / n - a / m + 1e-12
    assert b / n - a / m - 1e-12 <= high <= 1


@settings(max_examples=30)
@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_intervals_of_a_rate_are_those_of_scipy(counts: tuple[int, int]) -> None:
    test = stats.binomtest(*counts)
    for ours, method in ((exact_interval, "exact"), (wilson, "wilson")):
        theirs = test.proportion_ci(method=method)
        assert ours(*counts) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


@given(st.lists(st.floats(0, 1), max_size=12))
def test_several_questions_make_no_p_smaller_nor_larger_than_bonferroni(ps: list[float]) -> None:
    found = adjusted(ps)
    assert all(p <= after <= min(1.0, p * len(ps)) + 1e-12 for p, after in zip(ps, found, strict=True))
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    assert [found[index] for index in order] == sorted(found)


def test_of_several_questions_the_smallest_p_pays_for_all_and_the_next_for_the_rest() -> None:
    assert adjusted([0.5, 0.01, 0.02, 0.03]) == pytest.approx([0.5, 0.04, 0.06, 0.06])


def test_equal_runs_are_seldom_called_different_whatever_the_rate() -> None:
    """Exact: the chance of p <= 5 %, over all pairs of counts of 20 trials of one rate."""
    for rate in (0.1, 0.25, 0.4, 0.5):
        pmf = [math.comb(20, k) * rate**k * (1 - rate) ** (20 - k) for k in range(21)]
        alarms = [(a, b) for a in range(21) for b in range(21) if fisher_p((a, b), (20, 20)) <= 0.05]
        assert 0.001 < sum(pmf[a] * pmf[b] for a, b in alarms) <= 0.05
