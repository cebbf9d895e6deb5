"""`--resume`: a run goes on where it ended, and what has a grade is never played again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from pytest_rltask.run.load import load_run
from tests.conftest import WAYS, WAYS_IDS, workers_at_once
from tests.plugin.resumed import Runs, headline, rows, trials, wait_until
from tests.plugin.tries import Tries


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
@pytest.mark.parametrize("any_runs", WAYS, ids=WAYS_IDS, indirect=True)
def test_a_killed_run_goes_on_without_playing_anything_twice(any_runs: Runs):
    command = [sys.executable, "-m", "pytest", "--model", "policy:slow", "--conv-steps", "5", *any_runs.workers]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        command, cwd=any_runs.pytester.path, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            wait_until(lambda: sum(any_runs.plays()[seed] for seed in range(42, 52)) >= 4)
            wait_until(lambda: b"".join(any_runs.lines().values()).count(b'"type": "trial"') >= 3)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # its workers as well: they would play what they have left
    finished = [record.seed for record in any_runs.last_run().records.values()]
    (any_runs.pytester.path / "go").touch()

    result = any_runs.resume(model="policy:slow")

    assert sorted(finished) == [42, 43, 44]
    assert headline(result) == "rltask: resuming logs/RUN: 3 trials reused, 7 missing to be played"
    assert all(any_runs.plays()[seed] == 1 for seed in finished)
    (resumed,) = any_runs.run_dirs
    any_runs.play(model="policy:slow")
    assert rows(resumed) == rows(any_runs.run_dirs[-1])
    assert trials(resumed) == trials(any_runs.run_dirs[-1])
    assert [trial.run for trial in load_run(resumed).plan] == list(range(10))


def test_errored_trials_are_played_again_and_judged_ones_never(any_runs: Runs):
    first = any_runs.play(model="policy:moody")
    (any_runs.pytester.path / "mended").touch()

    result = any_runs.resume(model="policy:moody")
    again = any_runs.resume(model="policy:moody")

    assert first.ret == 1  # 2 of 10 errored, of a bug of the task
    assert headline(result) == "rltask: resuming logs/RUN: 8 trials reused, 2 errored ones to be played"
    assert headline(again) == "rltask: resuming logs/RUN: 10 trials reused, none to be played"
    assert any_runs.plays() == {**dict.fromkeys(range(42, 52), 1), 43: 2, 45: 2}
    (row,) = any_runs.report()["rows"]
    assert (row["passed"], row["failed"], row["errored"], row["lost"]) == (3, 7, 0, 0)
    result.assert_outcomes(passed=3)  # three trials and a gate, and no errors; what is missed has a word of its own
    result.stdout.fnmatch_lines(["*3 passed*7 missed, 1 in band*"])


def test_what_is_resumed_twice_writes_nothing_the_second_time(any_runs: Runs):
    any_runs.change("trial.score >= 1.0", "trial.score >= 0.5 and trial.record.seed != 43", "test_sum")
    any_runs.play()
    before, outcomes = any_runs.lines(), trials(any_runs.run_dirs[0])

    result = any_runs.resume()

    assert headline(result) == "rltask: resuming logs/RUN: 10 trials reused, none to be played"
    assert any_runs.lines() == before
    assert trials(any_runs.run_dirs[0]) == outcomes
    assert sum(any_runs.plays().values()) == 10


def test_the_run_directory_stays_that_of_the_first_command(any_runs: Runs):
    any_runs.begin("--runs", "3")
    header = (any_runs.run_dirs[0] / "run.json").read_text()

    result = any_runs.resume("--runs", "3")

    assert (any_runs.run_dirs[0] / "run.json").read_text() == header
    result.stdout.fnmatch_lines([f"rltask: {json.loads(header)['command']}"])
    assert "--resume" not in json.loads(header)["command"]


@workers_at_once("any_runs")
def test_more_runs_extend_a_run(any_runs: Runs):
    any_runs.begin("--runs", "3")

    result = any_runs.resume("--runs", "5")

    assert headline(result) == "rltask: resuming logs/RUN: 3 trials reused, 2 missing to be played"
    assert any_runs.plays() == dict.fromkeys(range(42, 47), 1)
    assert any_runs.report()["rows"][0]["judged"] == 5


def test_fewer_runs_keep_the_others(runs: Runs):
    runs.play("--runs", "4")

    result = runs.resume("--runs", "2")

    assert headline(result) == "rltask: resuming logs/RUN: 2 trials reused, none to be played"
    assert runs.report()["rows"][0]["judged"] == 4


def test_only_what_is_selected_is_played_and_all_is_reported(any_runs: Runs):
    any_runs.play()
    any_runs.lose(3, 5)

    result = any_runs.resume("-k", "run-03 or run-04")

    assert headline(result) == "rltask: resuming logs/RUN: 1 trial reused, 1 missing to be played"
    assert any_runs.plays() == {**dict.fromkeys(range(42, 52), 1), 45: 2}
    (row,) = any_runs.report()["rows"]
    assert (row["planned"], row["judged"], row["lost"]) == (10, 9, 1)


def test_a_test_that_is_gone_keeps_its_trials(runs: Runs):
    runs.write(test_other='from tasks import *\n@pytest.mark.rltask(task=Sum(), name="o")\ndef test_o(trial): pass\n')
    runs.play("--runs", "2")
    (runs.pytester.path / "test_other.py").unlink()

    runs.resume("--runs", "2")

    assert {row["task"]: row["judged"] for row in runs.report()["rows"]} == {"sum": 2, "o": 2}


def test_a_half_written_line_counts_as_missing(any_runs: Runs):
    any_runs.play("--runs", "4")
    file = any_runs.trial_files[-1]
    torn = file.read_bytes()[:-100]
    file.write_bytes(torn)

    result = any_runs.resume("--runs", "4")

    assert headline(result) == "rltask: resuming logs/RUN: 3 trials reused, 1 missing to be played"
    assert sorted(any_runs.plays().values()) == [1, 1, 1, 2]
    assert file.read_bytes().startswith(torn)
    assert any_runs.last_run().damaged_lines == 1
    assert any_runs.report()["rows"][0]["judged"] == 4


def test_gate_and_band_may_change(runs: Runs):
    assert runs.play().ret == 0

    result = runs.resume("--gate", "strict", "--band", "60,90")

    assert result.ret == 1
    (row,) = runs.report()["rows"]
    assert row["band"] == {"low": 0.6, "high": 0.9}
    assert runs.report()["gate"] == "strict"
    assert sum(runs.plays().values()) == 10


def test_an_assertion_that_changed_judges_what_is_on_disk(any_runs: Runs):
    any_runs.play("--runs", "2")
    any_runs.change("trial.score >= 1.0", "trial.score <= 0.5", "test_sum")
    any_runs.resume("--runs", "2", "--changed", "regrade")
    turned = trials(any_runs.run_dirs[0])
    any_runs.change("trial.score <= 0.5", "trial.score >= 1.0", "test_sum")
    any_runs.workers = () if any_runs.workers else ("-n", "2")  # who asserts last has the last word, in any file
    any_runs.resume("--runs", "2", "--changed", "regrade")

    assert [outcome for outcome, *_ in turned.values()] == ["passed", "failed"]
    assert [outcome for outcome, *_ in trials(any_runs.run_dirs[0]).values()] == ["failed", "passed"]
    first = any_runs.last_run().records["test_sum.py::test_sum[policy:noted-run-00]"]
    assert [step.before["outcome"] for step in first.history] == ["failed", "passed"]


def test_a_grade_that_no_assertion_has_judged_is_not_played_again(runs: Runs):
    runs.change("threshold: float | None = 1.0", "threshold: float | None = None")
    runs.change("assert trial.score", "raise KeyError\n    assert trial.score", "test_sum")
    runs.play("--runs", "3")
    unjudged = runs.report()["rows"][0]["errored"]
    runs.change("raise KeyError", "pass", "test_sum")

    result = runs.resume("--runs", "3", "--changed", "regrade")

    assert unjudged == 3
    assert headline(result) == "rltask: resuming logs/RUN: 3 trials reused, none to be played"
    (row,) = runs.report()["rows"]
    assert (row["passed"], row["failed"], row["errored"]) == (1, 2, 0)


def test_a_run_killed_before_its_plan_was_written_is_played(runs: Runs):
    runs.play("--runs", "2")
    (runs.run_dirs[0] / "plan.json").unlink()
    runs.lose(0, 1)

    result = runs.resume("--runs", "2")

    assert headline(result) == "rltask: resuming logs/RUN: 0 trials reused, 2 missing to be played"
    assert runs.report()["rows"][0]["judged"] == 2


@pytest.mark.parametrize("argument", ["--collect-only", "--setup-plan", "-k nothing"])
def test_what_plays_nothing_leaves_the_run_as_it_is(any_runs: Runs, argument: str):
    if "-n" in any_runs.workers and argument == "--collect-only":
        pytest.skip("pytest-xdist distributes nothing then")
    any_runs.begin("--runs", "2")
    any_runs.lose(1)
    (any_runs.run_dirs[0] / "report.json").unlink()

    result = any_runs.resume("--runs", "2", *argument.split())

    assert "rltask: " not in result.stdout.str()
    assert "pass rates" not in result.stdout.str()
    assert not (any_runs.run_dirs[0] / "report.json").exists()


def test_later_runs_are_told_what_reused_ones_tried(tries: Tries):
    tries.play("--runs", "4")
    (path,) = tries.run_dirs
    for file in path.glob("trials.*.jsonl"):
        kept = [line for line in file.read_text().splitlines() if json.loads(line).get("run") not in (1, 3)]
        file.write_text("".join(f"{line}\n" for line in kept))

    tries.play("--runs", "4", "--resume", "last", "-k", "run-03 or run-01")

    said = {run: lines for run, lines in tries.told().items() if run in (1, 3)}
    assert said == {1: ["number 42"], 3: ["number 42", "number 43", "number 44"]}
