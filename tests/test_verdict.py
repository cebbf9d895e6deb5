"""Verdicts: exact, calibrated, and honest about what a few runs can prove."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_rltask.task import Band
from pytest_rltask.verdict import (
    CAPS,
    GATES,
    Levels,
    Proof,
    _ever,
    _Tails,
    calibrate,
    clopper_pearson,
    first_proof,
    judge,
    levels,
    proven,
)

COUNTS = st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_the_interval_is_scipys_exact_one(counts: tuple[int, int], level: float):
    passed, runs = counts

    low, high = clopper_pearson(passed, runs, level)

    exact = stats.binomtest(passed, runs).proportion_ci(level, method="exact")
    assert low == pytest.approx(exact.low, abs=1e-9)
    assert high == pytest.approx(exact.high, abs=1e-9)


def test_an_impossible_count_is_refused():
    with pytest.raises(ValueError, match="need 0 <= passed <= runs"):
        clopper_pearson(3, 2)


@pytest.mark.parametrize("cap", CAPS)
def test_the_shipped_levels_are_the_calibrated_ones(cap: int):
    exact, shipped = calibrate(Band(), cap), levels(Band(), cap)

    for name in ("too_easy", "too_hard", "in_band"):
        assert 0 <= getattr(exact, name) - getattr(shipped, name) < 2e-6


EDGES = [(cap, edge) for cap in CAPS for edge in (0.10, 0.40)]
WALKS = 40_000
TOLERANCE = 4 * (0.05 * 0.95 / WALKS) ** 0.5
"""Four standard errors of a simulated chance of 5 %."""


WORDS = (None, "too easy", "too hard", "in band")


@cache
def words_by_counts(cap: int) -> np.ndarray:
    """Return what counts prove by scipy's tails, ``[judged, passed]``, as places in WORDS."""
    level, judged = levels(Band(), cap), np.arange(cap + 1)[:, np.newaxis]
    passed = np.arange(cap + 1)[np.newaxis, :]
    at_least = {p: stats.binom.sf(passed - 1, judged, p) for p in (0.10, 0.40)}
    at_most = {p: stats.binom.cdf(passed, judged, p) for p in (0.10, 0.40)}
    table = np.zeros((cap + 1, cap + 1), dtype=np.int8)
    table[(at_least[0.10] < level.in_band) & (at_most[0.40] < level.in_band)] = WORDS.index("in band")
    table[at_most[0.10] < level.too_hard] = WORDS.index("too hard")
    table[at_least[0.40] < level.too_easy] = WORDS.index("too easy")
    table[passed > judged] = 0
    return table


@pytest.mark.parametrize(("cap", "edge"), EDGES)
@pytest.mark.parametrize("words", [{1, 2}, {3}], ids=["outside", "inside"])
def test_the_chance_of_ever_proving_a_wrong_verdict_counted_path_by_path(cap: int, edge: float, words: set[int]):
    # Whole numbers of paths that have met no proof, where calibrate() carries chances along.
    table, paths, wrong = words_by_counts(cap), [1], 0.0

    for n in range(1, cap + 1):
        moved = [a + b for a, b in zip([*paths, 0], [0, *paths], strict=True)]
        met = [k for k in range(n + 1) if table[n, k] in words]
        wrong += sum(moved[k] / math.comb(n, k) * float(stats.binom.pmf(k, n, edge)) for k in met if moved[k])
        paths = [0 if k in met else moved[k] for k in range(n + 1)]

    assert wrong <= 0.05 + 1e-6
    assert wrong > 0.01 or cap == 20  # where no more than `too easy` can be proven


def first_words(passed: np.ndarray, errored: np.ndarray, cap: int) -> np.ndarray:
    """Return the first verdict that each walk proves; a walk a row, its trials in order."""
    judged = np.cumsum(~errored, axis=1)
    words = words_by_counts(cap)[judged, np.cumsum(passed & ~errored, axis=1)]
    trials = np.arange(1, passed.shape[1] + 1)
    words[(trials - judged) * 5 > trials] = 0  # more than a fifth are errored
    return words[np.arange(len(words)), np.argmax(words > 0, axis=1)]


@pytest.mark.parametrize("error_rate", [0.0, 0.15], ids=["judged", "some errored"])
@pytest.mark.parametrize(("cap", "edge"), EDGES)
def test_a_wrong_verdict_is_proven_first_in_at_most_five_of_a_hundred_suites(cap: int, edge: float, error_rate: float):
    rng = np.random.default_rng(cap)
    passed, errored = rng.random((WALKS, cap)) < edge, rng.random((WALKS, cap)) < error_rate

    words = first_words(passed, errored, cap)

    assert np.mean((words == WORDS.index("too easy")) | (words == WORDS.index("too hard"))) <= 0.05 + TOLERANCE
    assert np.mean(words == WORDS.index("in band")) <= 0.05 + TOLERANCE
    for walk in range(0, WALKS, WALKS // 200):  # the simulation speaks for first_proof
        outcomes = [None if e else bool(p) for p, e in zip(passed[walk], errored[walk], strict=True)]
        proof = first_proof(outcomes, band=Band(), planned=cap)
        assert (proof.word if proof else None) == WORDS[words[walk]]


def played(rng: np.random.Generator, edge: float, cap: int) -> tuple[np.ndarray, np.ndarray]:
    """Play walks ten trials at a time, a pass taking five times as long as a miss: outcomes and ends, as started."""
    passed = rng.random((WALKS, cap)) < edge
    seconds = rng.exponential(np.where(passed, 5.0, 1.0))
    free, ends, walks = np.zeros((WALKS, 10)), np.empty((WALKS, cap)), np.arange(WALKS)
    for trial in range(cap):
        place = np.argmin(free, axis=1)
        ends[:, trial] = free[walks, place] = free[walks, place] + seconds[:, trial]
    return passed, ends


def test_stopping_by_order_of_start_is_right_where_stopping_by_order_of_end_is_not():
    cap, edge, none = 100, 0.10, np.zeros((WALKS, 100), dtype=bool)
    passed, ends = played(np.random.default_rng(7), edge, cap)

    by_start = first_words(passed, none, cap)
    by_end = first_words(np.take_along_axis(passed, np.argsort(ends, axis=1), axis=1), none, cap)

    assert np.mean(by_start == WORDS.index("too hard")) <= 0.05 + TOLERANCE
    assert np.mean(by_end == WORDS.index("too hard")) > 0.20


def test_what_is_in_flight_when_a_series_stops_changes_no_verdict():
    rng, cap = np.random.default_rng(8), 50
    passed, ends = played(rng, 0.6, cap)

    for walk in range(500):
        starts = np.concatenate([np.zeros(10), np.sort(ends[walk])[: cap - 10]])
        for trial in range(cap):
            ended = ends[walk, :trial] <= starts[trial]
            prefix = trial if ended.all() else int(np.argmin(ended))
            proof = first_proof(map(bool, passed[walk, :prefix]), band=Band(), planned=cap)
            if proof:
                everything = first_proof(map(bool, passed[walk, :trial]), band=Band(), planned=cap)
                assert everything == proof
                break


@pytest.mark.parametrize(
    ("outcomes", "proof"),
    [
        ([True] * 20, Proof("too easy", 5, 5)),
        ([True] * 4, None),
        ([True] * 4 + [None, True], Proof("too easy", 5, 5)),
        ([None, None, *[True] * 7], None),  # more than a fifth is errored
        ([None, None, *[True] * 8], Proof("too easy", 8, 8)),
        ([True] * 5 + [False] * 15, Proof("too easy", 5, 5)),  # it stands
        ([], None),
    ],
)
def test_the_first_proof_of_a_series(outcomes: list[bool | None], proof: Proof | None):
    assert first_proof(outcomes, band=Band(), planned=20) == proof


def test_a_proof_that_stopped_a_series_stands_whatever_gate():
    proof = Proof("too easy", 6, 6)

    for gate in GATES:
        verdict = judge(passed=6, judged=16, planned=100, band=Band(), gate=gate, proof=proof)
        assert (verdict.word, verdict.proven, verdict.holds, verdict.rate) == ("too easy", True, False, 6 / 16)


def test_trials_that_were_not_started_are_not_missing():
    verdict = judge(passed=2, judged=6, planned=20, started=6, band=Band())

    assert (verdict.word, verdict.proven, verdict.holds) == ("in band", False, True)
    assert judge(passed=2, judged=6, planned=20, started=8, band=Band()).word == "incomplete"


def test_a_series_that_was_cut_short_is_held_to_the_levels_of_its_plan():
    assert judge(passed=5, judged=5, planned=5, band=Band()).proven
    assert not judge(passed=5, judged=5, planned=100, started=5, band=Band()).proven


def test_the_risk_is_counted_along_the_way_not_only_at_the_end():
    tails = _Tails(0.5, 10)
    region = [(tails.first_below(n, 0.2), n) for n in range(11)]

    assert _ever(0.5, region) > 0.2


@pytest.mark.parametrize(
    ("passed", "runs", "cap", "word"),
    [
        # the decision table of the research for a horizon of 100
        (9, 10, 100, "too easy"),
        (8, 10, 100, None),
        (14, 20, 100, "too easy"),
        (0, 40, 100, "too hard"),
        (9, 40, 100, "in band"),
        (18, 100, 100, "in band"),
        (30, 100, 100, None),
        (3, 100, 100, "too hard"),
        (53, 100, 100, "too easy"),
        (0, 10, 20, None),
        (0, 0, 20, None),
    ],
)
def test_what_the_counts_prove(passed: int, runs: int, cap: int, word: str | None):
    assert proven(passed, runs, Band(), cap) == word


@pytest.mark.parametrize(
    ("passed", "judged", "planned", "gate", "word", "is_proven", "holds"),
    [
        (1, 10, 10, "point", "in band", False, True),  # both ends belong to the band
        (4, 10, 10, "point", "in band", False, True),
        (5, 10, 10, "point", "too easy", False, False),
        (0, 10, 10, "point", "too hard", False, False),
        (10, 10, 10, "point", "too easy", True, False),
        (5, 10, 10, "proven", "undecided", False, True),
        (10, 10, 10, "proven", "too easy", True, False),
        (3, 10, 10, "strict", "undecided", False, False),
        (23, 100, 100, "strict", "in band", True, True),
        (2, 8, 10, "point", "in band", False, True),  # a fifth may be errored
        (2, 7, 10, "point", "incomplete", False, False),
        (0, 0, 10, "proven", "incomplete", False, False),
    ],
)
def test_the_gate(passed: int, judged: int, planned: int, gate, word: str, is_proven: bool, holds: bool):
    verdict = judge(passed=passed, judged=judged, planned=planned, band=Band(), gate=gate)

    assert (verdict.word, verdict.proven, verdict.holds) == (word, is_proven, holds)


@pytest.mark.parametrize(("passed", "band"), [(200, Band(0.9, 1.0)), (0, Band(0.0, 0.4)), (37, Band(0.0, 1.0))])
def test_a_band_that_reaches_an_end_needs_no_proof_on_that_side(passed: int, band: Band):
    verdict = judge(passed=passed, judged=200, planned=200, band=band, gate="strict")

    assert (verdict.word, verdict.proven) == ("in band", True)


def test_it_says_how_many_more_runs_would_prove_the_verdict():
    verdict = judge(passed=3, judged=10, planned=10, band=Band())

    assert verdict.more_runs is not None
    runs = 10 + verdict.more_runs
    assert proven(round(0.3 * runs), runs, Band(), next(cap for cap in CAPS if runs <= cap)) == "in band"


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 0.5), st.floats(0.05, 0.4))
def test_any_band_is_calibrated(low: float, width: float):
    band = Band(low, low + width)

    found = calibrate(band, 20)

    assert isinstance(found, Levels)
    assert 0 < found.too_easy <= 0.05
    assert 0 < found.too_hard <= 0.05
