"""What becomes of recorded trials once more are planned: which count, which are played, and what forbids a mixture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.load import Run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Fault, Record, Step
from pytest_rltask.suite.resume import (
    Opened,
    Resumption,
    changes,
    others_alone,
    outlook,
    resumption,
    seen_otherwise,
    united,
)

SINCE = "2026-11-28T12:00:00+00:00"
TOOLS = [{"name": "run"}, {"name": "look"}]


def planned(run: int, *, seed: int | None = None, model: str = "fake", test: str = "t.py::test_sum", **own: Any):
    trial_id = own.pop("trial_id", f"{test}[run-{run:02d}]")
    fields = {"limits": {"turns": 10, "wall_s": 60.0}, **own}
    return PlannedTrial(
        trial_id, test, "sum", "d", model, run, 42 + run if seed is None else seed, (0.1, 0.4), **fields
    )


def played(trial: PlannedTrial, *, graded: bool = True, **fields: Any) -> Record:
    known: dict[str, Any] = {"prompt_digest": "p", "tools_digest": "t", "tools": TOOLS, "started": "2026-11-28T10"}
    if graded:
        known |= {"outcome": "failed", "score": 0.0}
    else:
        known |= {"outcome": "errored", "fault": Fault("api", "down")}
    own = (trial.trial_id, trial.task, "d", trial.model, trial.run, trial.seed)
    return Record(*own, **{**known, **fields})


def recorded(*trials: PlannedTrial, records: list[Record] | None = None) -> Run:
    kept = [played(trial) for trial in trials] if records is None else records
    return Run(Path("run"), {}, list(trials), {record.trial_id: record for record in kept})


def the_same(trial: PlannedTrial, seed: int) -> Record:
    """Open an episode that is what it was."""
    return played(replace(trial, seed=seed))


def never(trial: PlannedTrial, seed: int) -> Record:
    raise AssertionError("there is nothing to compare")


# ---- what differs ----


def test_the_same_trials_and_more_of_them_are_no_change():
    old = [planned(run) for run in range(3)]

    assert list(changes(recorded(*old), [planned(run) for run in range(5)], the_same)) == []
    assert list(changes(recorded(*old), old[:1], the_same)) == []


@pytest.mark.parametrize(
    "plan",
    [[], [planned(0, test="t.py::test_other")], [planned(0, model="other", trial_id="t.py::test_sum[other-run-00]")]],
)
def test_what_is_planned_of_others_is_no_matter(plan: list[PlannedTrial]):
    assert list(changes(recorded(planned(0)), plan, never)) == []


def test_trials_without_a_grade_are_compared_with_nothing():
    old = planned(0)

    assert list(changes(recorded(old, records=[]), [planned(0, seed=7)], never)) == []
    assert list(changes(recorded(old, records=[played(old, graded=False)]), [planned(0, seed=7)], never)) == []


def test_other_seeds_are_told_once_with_their_number():
    old = [planned(run) for run in range(3)]

    told = list(changes(recorded(*old), [planned(run, seed=100 + run) for run in range(3)], the_same))

    assert told == ["test_sum[run-00] was played with seed 42, now 100 (and 2 more)"]


def test_a_run_that_is_left_out_now_is_compared_by_the_distance_of_its_seed():
    old = planned(5)

    assert list(changes(recorded(old), [planned(0)], the_same)) == []
    assert list(changes(recorded(old), [planned(0, seed=50)], the_same)) == [
        "test_sum[run-05] was played with seed 47, now 55"
    ]


def test_a_limit_that_changed_is_told_and_one_that_nobody_planned_is_not():
    old = planned(0)

    assert list(changes(recorded(old), [planned(0, limits={"turns": 12, "wall_s": 60.0})], the_same)) == [
        "limit turns of task sum was 10, is 12"
    ]
    assert list(changes(recorded(old), [planned(0, limits={})], the_same)) == []
    assert list(changes(recorded(planned(0, limits={})), [old], the_same)) == []


def test_each_kind_of_change_is_told():
    old = planned(0)
    now = planned(0, seed=7, limits={"turns": 12, "wall_s": 5.0})

    assert list(changes(recorded(old), [now], the_same)) == [
        "test_sum[run-00] was played with seed 42, now 7",
        "limit turns of task sum was 10, is 12",
        "limit wall_s of task sum was 60.0, is 5.0",
    ]


def test_another_model_under_the_same_name_is_told():
    old = planned(0)
    now = planned(0, model="other")

    assert list(changes(recorded(old), [now], the_same)) == ["test_sum[run-00] was played by fake, now other"]


def test_a_model_that_is_one_of_several_now_is_asked_for_again():
    now = planned(0, trial_id="t.py::test_sum[fake-run-00]")

    assert list(changes(recorded(planned(0)), [now], the_same)) == [
        "test_sum[run-00] is now test_sum[fake-run-00]: give the same --model options as before"
    ]


def test_an_id_without_a_file_is_told_whole():
    old = replace(planned(0), trial_id="sum")

    assert list(changes(recorded(old), [replace(old, seed=7)], the_same)) == ["sum was played with seed 42, now 7"]


# ---- what a model would see ----


def opened(**fields: Any) -> Callable[[PlannedTrial, int], Record]:
    return lambda trial, seed: played(replace(trial, seed=seed), **fields)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"prompt_digest": "q"}, ["the prompt of task sum changed (seed 42)"]),
        ({"tools_digest": "u", "tools": TOOLS[::-1]}, ["the tools of task sum changed (their order)"]),
        (
            {"tools_digest": "u", "tools": [{"name": "look", "description": "Look."}, {"name": "new"}]},
            ["the tools of task sum changed (no more run, new new, other look)"],
        ),
        (
            {"prompt_digest": "q", "tools_digest": "u", "tools": [TOOLS[0]]},
            ["the prompt of task sum changed (seed 42)", "the tools of task sum changed (no more look)"],
        ),
    ],
)
def test_what_a_model_would_see_otherwise_is_told(fields: dict[str, Any], told: list[str]):
    found = list(changes(recorded(planned(0)), [planned(0)], opened(**fields)))

    assert found == told
    assert all(isinstance(phrase, Opened) and phrase.trial == planned(0) for phrase in found)


def test_a_task_that_cannot_be_opened_cannot_be_compared():
    broken = opened(fault=Fault("task", "open:\n KeyError"), prompt_digest="q")

    found = list(changes(recorded(planned(0)), [planned(0)], broken))

    assert found == ["task sum cannot be compared, task fault: open: KeyError"]
    assert not isinstance(found[0], Opened)


def test_one_episode_of_each_test_and_model_is_opened_that_of_its_first_trial():
    asked: list[tuple[str, int]] = []

    def probe(trial: PlannedTrial, seed: int) -> Record:
        asked.append((trial.trial_id, seed))
        return the_same(trial, seed)

    trials = [planned(run, model=model) for model in ("fake", "other") for run in (1, 2)]
    trials = [replace(trial, trial_id=f"{trial.model}-{trial.run}") for trial in trials]
    assert list(changes(recorded(*trials), trials, probe)) == []

    assert asked == [("fake-1", 43), ("other-1", 43)]


def test_what_the_user_let_count_is_not_asked_again():
    old = planned(0, grader="new")
    step = Step("reuse", SINCE, "new", "the prompt changed")

    kept = recorded(old, records=[played(old, history=[step])])
    assert list(changes(kept, [old], never)) == []
    other = recorded(old, records=[played(old, history=[replace(step, grader="old")])])
    assert list(changes(other, [old], opened(prompt_digest="q"))) != []


def test_of_what_is_seen_otherwise_the_graded_trials_of_its_test_are_named_once():
    trials = [planned(0), planned(1), planned(2), planned(0, test="t.py::test_other")]
    run = recorded(*trials, records=[played(trials[0]), played(trials[1], graded=False), played(trials[3])])
    phrases = [Opened("the prompt changed", planned(0)), Opened("the tools changed", planned(0))]

    known: set[tuple[str, str]] = set()
    (one,) = seen_otherwise(run, phrases, known)

    assert [record.trial_id for record in one.records] == [trials[0].trial_id]
    assert (one.words, one.thresholds, one.today) == ("the prompt changed", None, planned(0))
    assert known == {("t.py::test_sum", "fake")}
    assert list(seen_otherwise(run, phrases, known)) == []


# ---- plans ----


def test_old_and_new_trials_make_one_plan_with_the_runs_of_each_test_in_order():
    old = [planned(1), planned(0, test="t.py::test_a"), planned(3)]
    new = [planned(2, grader="g"), planned(0, grader="g"), planned(0, test="t.py::test_b", grader="h")]

    whole = united(old, new)

    assert [(trial.test[6:], trial.run, trial.grader) for trial in whole] == [
        ("test_sum", 0, "g"),
        ("test_sum", 1, "g"),
        ("test_sum", 2, "g"),
        ("test_sum", 3, "g"),
        ("test_a", 0, ""),
        ("test_b", 0, "h"),
    ]


def test_a_trial_that_is_planned_anew_takes_the_place_of_the_old_one():
    (only,) = united([planned(0)], [planned(0, seed=7)])

    assert only.seed == 7


@pytest.mark.parametrize(
    ("reused", "errored", "missing", "said"),
    [
        (0, 0, 0, "0 trials reused, none to be played"),
        (1, 0, 0, "1 trial reused, none to be played"),
        (2, 0, 1, "2 trials reused, 1 missing to be played"),
        (0, 1, 0, "0 trials reused, 1 errored one to be played"),
        (0, 2, 0, "0 trials reused, 2 errored ones to be played"),
        (3, 1, 2, "3 trials reused, 1 errored one and 2 missing to be played"),
    ],
)
def test_what_becomes_of_trials_is_said_in_numbers(reused: int, errored: int, missing: int, said: str):
    trials = [planned(run) for run in range(reused + errored + missing)]
    records = [played(trial, graded=trial.run < reused) for trial in trials[: reused + errored]]

    assert outlook(recorded(*trials, records=records), [trial.trial_id for trial in trials]) == said


# ---- which run ----


def made(path: Path, **header: Any) -> Path:
    RunWriter(path, "main", {"id": path.name, "schema": 1, "command": "pytest", **header})
    return path


def test_nothing_is_held_that_is_no_run(tmp_path: Path):
    held: list[Path] = []

    with pytest.raises(pytest.UsageError, match=r"--resume nowhere: .* is not a directory; write --resume=DIR"):
        resumption("nowhere", "logs", tmp_path, since=SINCE, hold=held.append)
    assert held == []
    path = made(tmp_path / "logs" / "run_1")
    assert resumption("last", "logs", tmp_path, since=SINCE, hold=held.append).run.path == path
    assert held == [path]


@pytest.mark.parametrize("lacks", [{"id": None}, {"command": None}])
def test_a_header_that_lacks_what_a_run_has_is_none(tmp_path: Path, lacks: dict[str, Any]):
    path = made(tmp_path / "run_1", **lacks)

    with pytest.raises(RunLogError, match=r"its run.json has no id or command"):
        Resumption(path, since=SINCE)


# ---- who plays ----


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("a", "a", []),
        ("a", "ab", []),
        ("ab", "a", []),
        ("ab", "bc", []),
        ("a", "b", ["test_sum was played by a, now b (to add a model, write --model a --model b)"]),
        ("ab", "c", ["test_sum was played by a, b, now c (to add a model, write --model a --model b --model c)"]),
    ],
)
def test_models_may_join_those_that_have_played_and_not_replace_them(before: str, now: str, said: list[str]):
    old = [planned(run, model=model, trial_id=f"t.py::test_sum[{model}-{run}]") for model in before for run in range(2)]

    assert list(others_alone(recorded(*old), [planned(0, model=model) for model in now])) == said


def test_any_model_may_play_what_nobody_has_or_what_has_no_grade():
    old = planned(0, model="a")

    assert list(others_alone(recorded(old), [planned(0, model="b", test="t.py::test_other")])) == []
    assert list(others_alone(recorded(old, records=[]), [planned(0, model="b")])) == []
    assert list(others_alone(recorded(old, records=[played(old, graded=False)]), [planned(0, model="b")])) == []


@pytest.mark.parametrize(
    ("inside", "names"),
    [("run-03", False), ("run-03-far", False), ("fake-run-03", True), ("fake-run-03-run-03", True), ("run-030", True)],
)
def test_an_id_is_known_to_name_its_model(inside: str, names: bool):
    assert planned(3, trial_id=f"t.py::test_sum[{inside}]").names_its_model is names
