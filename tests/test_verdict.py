"""Verdicts: proven by order of start, whatever a run was planned to be, and never of trials that a fault chose."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from pytest_rltask.proof import interval, proven
from pytest_rltask.run.record import Fault, Record
from pytest_rltask.task import Band
from pytest_rltask.verdict import CAUSES, GATES, Proof, cause_of, first_proof, is_tolerated, judge

WALKS = 20_000
TOLERANCE = 4 * (0.05 * 0.95 / WALKS) ** 0.5
"""Four standard errors of a simulated chance of 5 %."""
WORDS = (None, "too easy", "too hard", "in band")


@cache
def words_by_counts(runs: int) -> np.ndarray:
    """Return what counts prove, ``[judged, passed]``, as places in WORDS."""
    table = np.zeros((runs + 1, runs + 1), dtype=np.int8)
    for judged in range(runs + 1):
        table[judged, : judged + 1] = [WORDS.index(proven(k, judged, Band())) for k in range(judged + 1)]
    return table


def first_words(passed: np.ndarray, errored: np.ndarray) -> np.ndarray:
    """Return the first verdict that each walk proves; a walk a row, its trials in order."""
    judged = np.cumsum(~errored, axis=1)
    words = words_by_counts(passed.shape[1])[judged, np.cumsum(passed & ~errored, axis=1)]
    trials = np.arange(1, passed.shape[1] + 1)
    words[(trials - judged) * 5 > trials] = 0  # more than a fifth are errored
    return words[np.arange(len(words)), np.argmax(words > 0, axis=1)]


@pytest.mark.parametrize("edge", [0.10, 0.40])
def test_errored_trials_that_are_tolerated_mislead_in_no_more_than_five_of_a_hundred_suites(edge: float):
    rng = np.random.default_rng(50)
    passed, errored = rng.random((WALKS, 100)) < edge, rng.random((WALKS, 100)) < 0.15

    words = first_words(passed, errored)

    assert np.mean((words == WORDS.index("too easy")) | (words == WORDS.index("too hard"))) <= 0.05 + TOLERANCE
    assert np.mean(words == WORDS.index("in band")) <= 0.05 + TOLERANCE
    for walk in range(0, WALKS, WALKS // 100):  # the simulation speaks for first_proof
        outcomes = [None if e else bool(p) for p, e in zip(passed[walk], errored[walk], strict=True)]
        proof = first_proof(outcomes, band=Band())
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

    by_start = first_words(passed, none)
    by_end = first_words(np.take_along_axis(passed, np.argsort(ends, axis=1), axis=1), none)

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
            proof = first_proof(map(bool, passed[walk, :prefix]), band=Band())
            if proof:
                everything = first_proof(map(bool, passed[walk, :trial]), band=Band())
                assert everything == proof
                break


@pytest.mark.parametrize(
    ("outcomes", "proof"),
    [
        ([True] * 20, Proof("too easy", 6, 6)),
        ([True] * 5, None),
        ([True] * 5 + [None, True], Proof("too easy", 6, 6)),
        ([None, None, *[True] * 7], None),  # more than a fifth is errored
        ([None, None, *[True] * 8], Proof("too easy", 8, 8)),
        ([True] * 6 + [False] * 15, Proof("too easy", 6, 6)),  # it stands
        ([], None),
    ],
)
def test_the_first_proof_of_a_series(outcomes: list[bool | None], proof: Proof | None):
    assert first_proof(outcomes, band=Band()) == proof


def test_a_proof_that_stopped_a_series_stands_whatever_gate():
    proof = Proof("too easy", 6, 6)

    for gate in GATES:
        verdict = judge(passed=6, judged=16, expected=100, band=Band(), gate=gate, proof=proof)
        assert (verdict.word, verdict.proven, verdict.holds, verdict.rate) == ("too easy", True, False, 6 / 16)


def test_trials_that_were_not_started_are_not_missing():
    verdict = judge(passed=2, judged=6, expected=6, band=Band())

    assert (verdict.word, verdict.proven, verdict.holds) == ("in band", False, True)
    assert judge(passed=2, judged=6, expected=8, band=Band()).word == "incomplete"


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
    verdict = judge(passed=passed, judged=judged, expected=planned, band=Band(), gate=gate)

    assert (verdict.word, verdict.proven, verdict.holds) == (word, is_proven, holds)


@pytest.mark.parametrize(
    ("passed", "runs", "word"), [(3, 10, "in band"), (0, 10, "too hard"), (6, 10, "too easy"), (25, 90, "in band")]
)
def test_it_says_how_many_more_runs_would_prove_the_verdict(passed: int, runs: int, word: str):
    verdict = judge(passed=passed, judged=runs, expected=runs, band=Band())

    assert verdict.more_runs is not None
    enough = runs + verdict.more_runs
    assert proven(round(passed / runs * enough), enough, Band()) == word
    assert proven(round(passed / runs * (enough - 1)), enough - 1, Band()) is None


def test_a_rate_on_an_edge_is_proven_by_no_number_of_runs():
    assert judge(passed=4, judged=10, expected=10, band=Band()).more_runs is None


def test_the_interval_is_that_of_the_look_that_proved_what_stands():
    now = judge(passed=6, judged=16, expected=16, band=Band())
    then = judge(passed=6, judged=16, expected=16, band=Band(), proof=Proof("too easy", 6, 6))

    assert (now.interval, now.interval_runs) == (interval(6, 16, Band()), 16)
    assert (then.interval, then.interval_runs) == (interval(6, 6, Band()), 6)
    assert then.interval[0] > 0.40


@pytest.mark.parametrize(("passed", "runs"), [(6, 6), (23, 100), (0, 60), (3, 10), (40, 1300)])
def test_a_verdict_depends_on_nothing_but_the_counts_and_the_band(passed: int, runs: int):
    verdicts = {judge(passed=passed, judged=runs, expected=expected, band=Band(), gate="strict")
                for expected in (runs, round(runs * 1.2))}  # fmt: skip

    assert len(verdicts) == 1
    (verdict,) = verdicts
    assert verdict.word == (proven(passed, runs, Band()) or "undecided")


def errored(fault: Fault | None, *, turns: int = 1) -> Record:
    """Return the record of an errored trial."""
    return Record("test[run-00]", "sum", "d", "policy:null", run=0, seed=0, turns=turns, fault=fault)


@pytest.mark.parametrize(
    ("record", "cause", "tolerated"),
    [
        (errored(Fault("api", "overloaded")), "api", True),
        (errored(Fault("sandbox", "no space", code_ran=False)), "sandbox before any code ran", True),
        (errored(Fault("sandbox", "watcher died", code_ran=True)), "sandbox after code ran", False),
        (errored(Fault("sandbox", "of an old record"), turns=0), "sandbox before any code ran", True),
        (errored(Fault("sandbox", "of an old record"), turns=1), "sandbox after code ran", False),
        (errored(Fault("task", "the grader: KeyError"), turns=0), "task", False),
        (errored(Fault("harness", "KeyError")), "harness", False),
        (errored(Fault("process", "died")), "process", False),
        (errored(Fault("of a later version", "x")), "harness", False),  # type: ignore[arg-type]
        (errored(None), "test", False),
    ],
)
def test_what_may_be_missing_from_a_pass_rate(record: Record, cause: str, tolerated: bool):
    assert cause_of(record) == cause
    assert is_tolerated(record) == CAUSES[cause].tolerated == tolerated


@pytest.mark.parametrize("gate", GATES)
def test_one_fault_that_is_not_tolerated_makes_it_incomplete_whatever_the_others_prove(gate):
    verdict = judge(passed=23, judged=99, expected=100, band=Band(), gate=gate, untolerated=1)

    assert (verdict.word, verdict.proven, verdict.holds) == ("incomplete", False, False)
    stopped = judge(
        passed=6, judged=6, expected=7, band=Band(), gate=gate, untolerated=1, proof=Proof("too easy", 6, 6)
    )
    assert stopped.word == "incomplete"
