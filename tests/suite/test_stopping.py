"""Who may still start, asked directly: money in flight, dead processes, and who goes first."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_rltask.clock import utc_now
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import NotStarted, PlannedTrial
from pytest_rltask.run.record import Fault, Outcome, Record, RequestLog, Usage
from pytest_rltask.suite.stopping import LATER, Admission, Funds, Streak, locked

CLAUDE = "claude-haiku-4-5"


@pytest.mark.parametrize(
    ("funds", "dearest", "answer"),
    [
        (Funds(1.0, spent=0.0), None, "starts"),
        (Funds(1.0, spent=0.0, is_testing=True), None, "later"),  # one of unknown cost at a time
        (Funds(1.0, spent=0.0, is_testing=True), 0.3, "starts"),
        (Funds(1.0, spent=0.5, reserved=0.2), 0.3, "starts"),  # to the very limit
        (Funds(1.0, spent=0.5, reserved=0.3), 0.3, "later"),  # those in flight may turn out cheaper
        (Funds(1.0, spent=0.8), 0.3, "never"),
        (Funds(1.0, spent=0.8, reserved=0.1), 0.3, "never"),  # whatever they turn out to cost
        (Funds(1.0, spent=1.0), None, "never"),
        (Funds(1.0, spent=0.9), None, "starts"),
    ],
)
def test_money_lasts_or_does_not(funds: Funds, dearest: float | None, answer: str):
    given = funds.answer(dearest)

    assert answer == {None: "starts", LATER: "later"}.get(given if not isinstance(given, NotStarted) else "", "never")


def plan(runs: int, model: str = CLAUDE) -> list[PlannedTrial]:
    """Plan the trials of one task."""
    return [
        PlannedTrial(f"t.py::t[run-{i:02d}]", "t.py::t", "t", "digest", model, i, i, (0.1, 0.4)) for i in range(runs)
    ]


def record(trial: PlannedTrial, outcome: Outcome = "passed", cost: float | None = 0.1) -> Record:
    """Make the record of a trial that ended just now."""
    request = RequestLog("req", trial.model, "end_turn", Usage(10, 10), cost, 0.1)
    return Record(
        trial.trial_id, trial.task, trial.task_digest, trial.model, trial.run, trial.seed, outcome,
        score=None if outcome == "errored" else float(outcome == "passed"), requests=[request], started=utc_now(),
        fault=Fault("api", "down") if outcome == "errored" else None,
    )  # fmt: skip


class Process:
    """A process of a run, as long as it is alive."""

    def __init__(self, path: Path, name: str, trials: list[PlannedTrial], **options: object) -> None:
        self.writer = RunWriter(path, name, {"id": "a", "schema": 1})
        self.life = path / f"{name} is alive"
        self.life.touch()
        settings = {"since": "", "stop_early": False, "max_cost": None, "log_dir": path.parent}
        settings["is_alive"] = lambda writer: (path / f"{writer} is alive").exists()
        self.ask = Admission(self.writer, trials, **{**settings, **options}).ask

    def die(self) -> None:
        self.life.unlink()


def never(answer: object) -> str:
    """Return why a trial never starts."""
    assert isinstance(answer, NotStarted)
    return answer.reason


def test_the_first_trial_of_unknown_cost_starts_alone_in_all_processes(tmp_path: Path):
    trials = plan(4)
    one, two = (Process(tmp_path / "run", name, trials, max_cost=0.25) for name in ("gw0", "gw1"))

    assert one.ask(trials[0].trial_id) is None
    assert two.ask(trials[1].trial_id) == LATER
    one.writer.append(record(trials[0]))
    assert two.ask(trials[1].trial_id) is None
    assert one.ask(trials[2].trial_id) == LATER  # 0.10 is spent and 0.10 in flight
    two.writer.append(record(trials[1], cost=0.02))
    assert one.ask(trials[2].trial_id) is None
    one.writer.append(record(trials[2]))
    assert never(one.ask(trials[3].trial_id)) == "--max-cost 0.25: $0.2200 is spent, and another trial may cost $0.1000"


def test_a_trial_whose_process_died_counts_as_spent(tmp_path: Path):
    trials = plan(3)
    one, two = (Process(tmp_path / "run", name, trials, max_cost=0.25) for name in ("gw0", "gw1"))
    one.ask(trials[0].trial_id)
    one.writer.append(record(trials[0]))
    one.ask(trials[1].trial_id)
    assert two.ask(trials[2].trial_id) == LATER

    one.die()

    assert "$0.2000 is spent" in never(two.ask(trials[2].trial_id))


def test_what_an_earlier_invocation_left_in_flight_is_not_waited_for(tmp_path: Path):
    trials = plan(3)
    before = Process(tmp_path / "run", "main", trials, max_cost=1.0)
    before.ask(trials[0].trial_id)
    before.die()

    now = Process(tmp_path / "run", "main", trials, max_cost=1.0, since="9999")

    assert now.ask(trials[0].trial_id) is None


def test_earlier_runs_say_what_to_set_aside(tmp_path: Path):
    trials = plan(5)
    for cost in (0.1, 0.2):
        RunWriter(tmp_path / f"run_{cost}", "main", {"id": str(cost), "schema": 1}).append(record(trials[0], cost=cost))
    process = Process(tmp_path / "run_now", "main", trials, max_cost=0.5)

    assert [process.ask(trial.trial_id) for trial in trials[:3]] == [None, None, LATER]


def test_what_is_not_paid_is_not_counted(tmp_path: Path):
    trials = plan(3, "policy:solver")
    process = Process(tmp_path / "run", "main", trials, max_cost=0.01)

    assert [process.ask(trial.trial_id) for trial in trials] == [None, None, None]


@pytest.mark.parametrize(("limit", "starts"), [(0.5, True), (0.0002, True), (0.0001, False)])
def test_a_trial_of_unknown_cost_counts_by_the_price_of_the_model_that_was_asked_for(
    tmp_path: Path, limit: float, *, starts: bool
):
    trials = plan(2)
    process = Process(tmp_path / "run", "main", trials, max_cost=limit)
    process.ask(trials[0].trial_id)
    process.writer.append(record(trials[0], cost=None))  # 10 tokens each way: $0.00006

    answer = process.ask(trials[1].trial_id)

    assert (answer is None) == starts


def test_a_trial_whose_price_nobody_knows_counts_as_the_dearest(tmp_path: Path):
    trials = plan(3, "claude-of-unknown-price")
    process = Process(tmp_path / "run", "main", trials, max_cost=0.25)
    for trial, cost in zip(trials, (None, 0.1), strict=False):
        assert process.ask(trial.trial_id) is None
        process.writer.append(record(trial, cost=cost))

    assert "$0.2000 is spent, and another trial may cost $0.1000" in never(process.ask(trials[2].trial_id))


def test_a_series_is_read_in_the_order_of_its_starts_up_to_the_first_in_flight(tmp_path: Path):
    trials = plan(20)
    one, two = (Process(tmp_path / "run", name, trials, stop_early=True) for name in ("gw0", "gw1"))
    assert one.ask(trials[0].trial_id) is None  # the first to start is the last to end
    for trial in trials[1:7]:
        assert two.ask(trial.trial_id) is None
        two.writer.append(record(trial))

    assert two.ask(trials[7].trial_id) is None
    one.writer.append(record(trials[0]))
    assert never(one.ask(trials[8].trial_id)) == "stopped early: too easy is proven after 6 runs, 6 of them passed"


def test_a_trial_that_is_played_again_counts_where_it_began_last(tmp_path: Path):
    trials = plan(20)
    process = Process(tmp_path / "run", "main", trials, stop_early=True)
    process.ask(trials[0].trial_id)
    process.writer.append(record(trials[0], "errored"))
    for trial in trials[1:5]:
        process.ask(trial.trial_id)
        process.writer.append(record(trial))

    assert process.ask(trials[0].trial_id) is None  # four of four are no proof
    process.writer.append(record(trials[0], "failed"))
    assert process.ask(trials[5].trial_id) is None


def test_the_last_word_on_a_trial_is_the_tests(tmp_path: Path):
    trials = plan(20)
    process = Process(tmp_path / "run", "main", trials, stop_early=True)
    for trial in trials[:6]:
        process.ask(trial.trial_id)
        process.writer.append(record(trial))
    assert never(process.ask(trials[6].trial_id))

    process.writer.amend(trials[2].trial_id, "failed", "no")

    assert process.ask(trials[6].trial_id) is None


def ends_in(second: int, fault: Fault | None) -> Record:
    """Make the record of a trial that ended at a second of its minute."""
    at = f"2026-11-28T10:00:{second:02d}.000+00:00"
    outcome: Outcome = "errored" if fault else "failed"
    return Record("t", "t", "d", CLAUDE, 0, 0, outcome, score=None if fault else 0.0, fault=fault, started=at)


def raised(line: int, said: str) -> Fault:
    """Make the fault of a grader that raised at a line."""
    traceback = (
        f'Traceback (most recent call last):\n  File "t.py", line {line}, in grade\n    f()\nValueError: {said}\n'
    )
    return Fault("task", f"the grader: ValueError: {said}", details=traceback)


BUG, OTHER, API = raised(7, "a"), raised(9, "a"), Fault("api", "down")


@pytest.mark.parametrize(
    ("faults", "given_up"),
    [
        ([BUG, BUG], False),
        ([BUG, BUG, BUG], True),
        ([BUG, raised(7, "b"), raised(7, "c\nd")], True),  # one place, whatever it said
        ([BUG, BUG, OTHER], False),
        ([BUG, None, BUG, BUG], False),  # a grade in between
        ([None, None, BUG, BUG, BUG], True),
        ([BUG, BUG, BUG, None], False),  # one that was in flight
        ([BUG, API, BUG, API, BUG], True),
        ([API, API, API], False),
        ([Fault("sandbox", "died", code_ran=True)] * 3, True),
        ([Fault("sandbox", "no room", code_ran=False)] * 3, False),
    ],
)
def test_a_task_is_given_up_after_three_equal_faults_in_a_row(faults: list[Fault | None], given_up: bool):
    streak = Streak()

    for second, fault in reversed(list(enumerate(faults))):  # as workers' files may be read in any order
        streak.add(ends_in(second, fault))

    assert bool(streak.reason) == given_up


def test_what_an_earlier_invocation_met_gives_nothing_up(tmp_path: Path):
    trials = plan(8)
    before = Process(tmp_path / "run", "main", trials)
    for trial in trials[:3]:
        before.writer.append(replace(record(trial, "errored"), fault=BUG))

    assert never(before.ask(trials[3].trial_id)).startswith(
        "3 trials in a row ended in the same task fault: the grader"
    )
    again = Process(tmp_path / "run", "gw0", trials, since=f"{utc_now()}~")
    assert again.ask(trials[0].trial_id) is None


def test_a_process_that_is_forked_meanwhile_holds_up_nobody(tmp_path: Path):
    path = tmp_path / "run.json"
    path.touch()
    ends, ours = os.pipe()
    with locked(path):
        child = os.fork()
        if not child:
            os.close(ours)
            os.read(ends, 1)
            os._exit(0)

    with path.open("rb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises if it is held

    os.close(ours)
    os.close(ends)
    os.waitpid(child, 0)


def test_trials_that_a_cluster_plays_once_more_give_up_none(tmp_path: Path):
    trials = plan(5)
    process = Process(tmp_path / "run", "main", trials, attempts=2)
    died = [replace(record(trial, "errored"), fault=Fault("process", "a node died")) for trial in trials[:3]]
    for trial, death in zip(trials, died, strict=False):
        process.ask(trial.trial_id)
        process.writer.append(death)

    assert [process.ask(trial.trial_id) for trial in trials[:4]] == [None, None, None, None]

    for death in died:
        process.writer.append(death)
    assert "process fault: a node died" in never(process.ask(trials[4].trial_id))
