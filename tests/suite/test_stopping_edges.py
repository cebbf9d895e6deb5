"""Who may still start where it is close: money to the cent, trials of others, and what ends a row of faults."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pytest_rltask.run.planned import NotStarted, PlannedTrial
from pytest_rltask.run.record import Fault, Record
from pytest_rltask.suite.stopping import LATER, Funds, Streak
from tests.suite.test_stopping import BUG, CLAUDE, Process, ends_in, never, plan, raised, record


def test_what_is_known_of_a_trial_in_flight_is_set_aside():
    funds = Funds(1.0, spent=0.2, reserved=0.1)

    assert funds.reserving(0.3, in_flight=True) == Funds(1.0, spent=0.2, reserved=0.4)
    assert funds.reserving(None, in_flight=True) == Funds(1.0, spent=0.2, reserved=0.1, is_testing=True)


def test_of_a_trial_whose_process_died_what_its_like_cost_is_spent():
    funds = Funds(1.0, spent=0.25, reserved=0.1)

    assert funds.reserving(0.5, in_flight=False) == Funds(1.0, spent=0.75, reserved=0.1)
    assert funds.reserving(None, in_flight=False) == funds


@pytest.mark.parametrize(
    ("funds", "dearest", "said"),
    [
        (Funds(1.0, spent=1.0), None, "--max-cost 1: $1.00 is spent"),
        (Funds(1.0, spent=0.9), 0.2, "--max-cost 1: $0.9000 is spent, and another trial may cost $0.2000"),
    ],
)
def test_it_says_what_is_spent_and_what_would_be(funds: Funds, dearest: float | None, said: str):
    assert funds.answer(dearest) == NotStarted("cost", said)


def test_ten_dimes_are_a_dollar():
    assert Funds(1.0, spent=sum([0.1] * 7), reserved=0.2).answer(0.1) is None
    assert Funds(0.3, spent=sum([0.1] * 2)).answer(0.1) is None


def test_trials_that_cost_nothing_hold_up_none_that_are_paid(tmp_path: Path):
    free, paid = plan(1, "policy:solver"), plan(1)
    free = [replace(trial, trial_id="t.py::t[policy]") for trial in free]
    process = Process(tmp_path / "run", "main", [*free, *paid], max_cost=1.0)

    assert process.ask(free[0].trial_id) is None
    assert process.ask(paid[0].trial_id) is None


def test_trials_that_are_planned_no_more_hold_up_none(tmp_path: Path):
    trials = plan(2)
    process = Process(tmp_path / "run", "main", trials, max_cost=1.0)
    process.writer.start("t.py::gone[run-00]")
    process.writer.append(replace(record(trials[0]), trial_id="t.py::dear[run-00]"))

    assert process.ask(trials[0].trial_id) is None  # nothing is known of its like
    assert process.ask(trials[1].trial_id) == LATER


def test_what_another_test_costs_says_nothing_of_this_one(tmp_path: Path):
    ours, other = plan(3), [replace(trial, trial_id=f"o{trial.trial_id}", test="other") for trial in plan(2)]
    process = Process(tmp_path / "run", "main", [*ours, *other], max_cost=1.0)
    process.ask(other[0].trial_id)
    process.writer.append(record(other[0], cost=0.9))

    assert process.ask(ours[0].trial_id) is None  # its like may cost anything: it starts alone
    assert never(process.ask(other[1].trial_id)).endswith("another trial may cost $0.9000")


def test_the_dearest_of_its_like_is_set_aside_in_whatever_order_they_ended(tmp_path: Path):
    for number, costs in enumerate([(0.1, 0.4), (0.4, 0.1)]):
        trials = plan(4)
        process = Process(tmp_path / f"run{number}" / "run", "main", trials, max_cost=0.95)
        for trial, cost in zip(trials, costs, strict=False):
            process.ask(trial.trial_id)
            process.writer.append(record(trial, cost=cost))

        assert process.ask(trials[2].trial_id) is None
        assert process.ask(trials[3].trial_id) == LATER  # 0.5 is spent, and 0.4 in flight


def test_without_a_limit_nothing_is_asked_of_costs(tmp_path: Path):
    trials = plan(2)
    process = Process(tmp_path / "run", "main", trials)
    process.ask(trials[0].trial_id)
    process.writer.append(record(trials[0], cost=None))

    assert process.ask(trials[1].trial_id) is None


def test_a_trial_without_grade_or_fault_ends_a_row_of_faults():
    streak = Streak()
    for second in (0, 1, 3):
        streak.add(ends_in(second, BUG))
    streak.add(replace(ends_in(2, None), outcome="errored", score=None))

    assert streak.reason == ""


def test_where_a_trial_ends_is_its_start_and_the_seconds_that_it_took():
    streak = Streak()
    long: Record = replace(ends_in(0, None), seconds={"total": 5.0})
    for played in (ends_in(2, BUG), ends_in(3, BUG), ends_in(4, BUG), long):
        streak.add(played)

    assert streak.reason == ""  # it began first, and ended last, with a grade


def test_one_reason_is_given_for_all_that_are_given_up():
    streak = Streak()
    for second, said in enumerate(["first", "second", "third"]):
        streak.add(ends_in(second, raised(7, said)))
    told = streak.reason

    streak.add(ends_in(9, raised(7, "fourth")))

    assert streak.reason == told
    assert told == (
        "3 trials in a row ended in the same task fault: the grader: ValueError: first; "
        "mend the task, then go on with --resume"
    )


def test_a_fault_without_a_word_is_told_by_its_kind():
    streak = Streak()
    for second in range(3):
        streak.add(ends_in(second, Fault("task", "")))

    assert streak.reason.startswith("3 trials in a row ended in the same task fault: ;")


def test_each_test_and_model_is_given_up_by_itself(tmp_path: Path):
    ours, others = plan(4), [replace(trial, trial_id=f"o{trial.trial_id}", model="claude-opus-5") for trial in plan(4)]
    process = Process(tmp_path / "run", "main", [*ours, *others])
    for trial in [*ours[:2], others[0]]:
        process.writer.append(replace(record(trial, "errored"), fault=BUG))

    assert process.ask(ours[3].trial_id) is None
    process.writer.append(replace(record(ours[2], "errored"), fault=BUG))
    assert never(process.ask(ours[3].trial_id))
    assert process.ask(others[3].trial_id) is None


def test_a_proof_is_of_one_test_and_model(tmp_path: Path):
    ours: list[PlannedTrial] = plan(10)
    others = [replace(trial, trial_id=f"o{trial.trial_id}", model="claude-opus-5") for trial in plan(10)]
    process = Process(tmp_path / "run", "main", [*ours, *others], stop_early=True)
    for trial in ours[:6]:
        process.ask(trial.trial_id)
        process.writer.append(record(trial))

    assert never(process.ask(ours[6].trial_id))
    assert process.ask(others[0].trial_id) is None
    assert CLAUDE == ours[0].model != others[0].model
