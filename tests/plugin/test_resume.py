"""`--resume`: a run goes on where it ended; what has a grade is never played again, and nothing is mixed with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.run.load import load_run
from pytest_rltask.run.record import SCHEMA_VERSION
from tests.conftest import SUITE, WAYS, WAYS_IDS, Suite, workers_at_once
from tests.plugin.test_sequential import Tries, tries  # noqa: F401

# Policies that say in a file what they play, and that files can make misbehave.
NOTED = (
    SUITE
    + """
import pathlib, time

def note(view):
    with open("plays.txt", "a") as file:
        file.write(f"{view.seed}\\n")

def noted(view):
    note(view)
    yield from knows(43, 46, 49)(view)

def slow(view):
    note(view)
    while view.seed >= 45 and not pathlib.Path("go").exists():
        time.sleep(0.02)
    yield from knows(43, 46, 49)(view)

def moody(view):
    note(view)
    if view.seed in (43, 45) and not pathlib.Path("mended").exists():
        yield call("crash")
    yield from knows(43, 46, 49)(view)

Sum.policies |= {"noted": noted, "slow": slow, "moody": moody}
"""
)


class Runs(Suite):
    """A suite whose run is resumed, and what is played by whom."""

    def __init__(self, pytester: pytest.Pytester, workers: tuple[str, ...] = ()) -> None:
        super().__init__(pytester, workers)
        self.write(tasks=NOTED)
        self.side_file = pytester.path / "plays.txt"

    def play(self, *arguments: str, model: str | None = "policy:noted") -> pytest.RunResult:
        """Run the inner pytest."""
        return self.run("--conv-steps", "5", *arguments, model=model)

    def begin(self, *arguments: str) -> None:
        """Play, always in one process, a run that is to be resumed: what several wrote is resumed elsewhere."""
        workers, self.workers = self.workers, ()
        self.play(*arguments)
        self.workers = workers

    def resume(self, *arguments: str, model: str | None = "policy:noted") -> pytest.RunResult:
        """Resume the only run."""
        (path,) = self.run_dirs
        return self.play("--resume", f"logs/{path.name}", *arguments, model=model)

    def plays(self) -> Counter[int]:
        """Return how often each seed was played."""
        return Counter(map(int, self.side_file.read_text().split())) if self.side_file.exists() else Counter()

    def change(self, old: str, new: str, name: str = "tasks") -> None:
        """Change a file's text; a compiled one is taken for unchanged if its length and its second are the same."""
        path = self.pytester.path / f"{name}.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new) + "#" * (len(old) == len(new)))

    def lines(self) -> dict[str, bytes]:
        """Return what processes that played trials of the only run have written."""
        return {path.name: path.read_bytes() for path in self.trial_files}

    @property
    def trial_files(self) -> list[Path]:
        """The files of the only run in which there are trials."""
        files = sorted(self.run_dirs[0].glob("trials.*.jsonl"))
        return [path for path in files if b'"type": "trial"' in path.read_bytes()]

    def lose(self, *runs: int) -> None:
        """Make runs of the only run directory such as were never played to their end."""
        for file in self.run_dirs[0].glob("trials.*.jsonl"):
            kept = [line for line in file.read_text().splitlines() if json.loads(line).get("run") not in runs]
            file.write_text("".join(f"{line}\n" for line in kept))


@pytest.fixture(params=WAYS, ids=WAYS_IDS)
def any_runs(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Runs:
    return Runs(pytester, request.param)


@pytest.fixture
def runs(pytester: pytest.Pytester) -> Runs:
    return Runs(pytester)


def headline(result: pytest.RunResult) -> str:
    """Return the line that says what is reused and played."""
    lines = [line for line in result.outlines if line.startswith("rltask: resuming ")]
    assert len(lines) == 1, result.stdout.str()
    return re.sub(r"logs/run_\w+", "logs/RUN", lines[0])


def refused(result: pytest.RunResult) -> str:
    """Return the one line of a usage error."""
    text = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    assert "Traceback" not in text
    assert "pass rates" not in text
    (line,) = {line for line in text.splitlines() if line.startswith("ERROR: ")}
    assert text.count(line) == 1, text
    return re.sub(r"logs/run_\w+", "logs/RUN", line)


def rows(run_dir: Path) -> list[dict[str, Any]]:
    """Return what a report says, times aside."""
    data = json.loads((run_dir / "report.json").read_text())
    return [{**row, "seconds": 0} for row in data["rows"]]


def trials(run_dir: Path) -> dict[str, tuple[str, float | None, int]]:
    return {trial: (r.outcome, r.score, r.seed) for trial, r in sorted(load_run(run_dir).records.items())}


def wait_until(holds: Any) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


# ---- what is played ----


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
    first = any_runs.last_run().records["test_sum.py::test_sum[run-00]"]
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


def test_later_runs_are_told_what_reused_ones_tried(tries: Tries):  # noqa: F811
    tries.play("--runs", "4")
    (path,) = tries.run_dirs
    for file in path.glob("trials.*.jsonl"):
        kept = [line for line in file.read_text().splitlines() if json.loads(line).get("run") not in (1, 3)]
        file.write_text("".join(f"{line}\n" for line in kept))

    tries.play("--runs", "4", "--resume", "last", "-k", "run-03 or run-01")

    said = {run: lines for run, lines in tries.told().items() if run in (1, 3)}
    assert said == {1: ["number 42"], 3: ["number 42", "number 43", "number 44"]}


# ---- which run ----


def test_last_is_the_newest_run_directory(runs: Runs):
    runs.play("--runs", "1")
    (old,) = runs.run_dirs
    header = json.loads((old / "run.json").read_text())
    newer = old.with_name("run_2_2")
    shutil.copytree(old, newer)
    (newer / "run.json").write_text(json.dumps({**header, "id": "b", "created": "2999-01-01"}))
    (old.with_name("run_zzz")).mkdir()
    os.utime(old)

    result = runs.play("--runs", "2", "--resume=last")

    assert "rltask: resuming logs/run_2_2: 1 trial reused, 1 missing to be played" in result.outlines
    assert (len(load_run(newer).records), len(load_run(old).records)) == (2, 1)
    result.stdout.fnmatch_lines(["next: *"])
    assert "last" not in result.outlines[-2]


def test_the_next_command_goes_on_with_the_run(runs: Runs):
    runs.play("--runs", "2", model="policy:moody")  # one of two errored: incomplete
    result = runs.resume("--runs", "2", model="policy:moody")

    (line,) = [line for line in result.outlines if line.startswith("next: ")]

    assert line.endswith(f" --resume logs/{runs.run_dirs[0].name}")
    assert line.count("--resume") == 1


NEWER = SCHEMA_VERSION + 1
WRITE = "write --resume DIR, or leave it out to play a new run"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("last", "--resume last: HERE/logs holds no run directory"),
        ("logs/no", "--resume logs/no: HERE/logs/no is not a directory"),
        ("", "--resume '': HERE is not a run directory of pytest-rltask: it has no run.json"),
        ("later", f"--resume later: HERE/later was written by a later version (schema {NEWER}); upgrade pytest-rltask"),
        ("bare", "--resume bare: HERE/bare is not a run directory of pytest-rltask: its run.json has no id or command"),
    ],
)  # fmt: skip
def test_what_is_no_run_directory_is_told(runs: Runs, wanted: str, said: str):
    here = runs.pytester.path
    for name, schema in [("later", NEWER), ("bare", SCHEMA_VERSION)]:
        (here / name).mkdir()
        (here / name / "run.json").write_text(json.dumps({"schema": schema}))
        (here / name / "plan.json").write_text("[]")

    result = runs.play("--resume", wanted)

    assert refused(result) == f"ERROR: {said.replace('HERE', str(here))}; {WRITE}"
    assert runs.plays() == {}


def test_the_last_run_of_a_later_version_is_not_passed_over(runs: Runs):
    runs.play("--runs", "1")
    newer = runs.run_dirs[0].with_name("run_2999")
    newer.mkdir()
    (newer / "run.json").write_text(json.dumps({"schema": NEWER}))

    assert "run_2999 was written by a later version" in runs.play("--resume", "last").stderr.str()


# ---- what is refused ----

UNDO = "undo that, or play a new run without --resume"
GRADES = "what grades task sum changed"
EPISODE = f"{GRADES}: tasks.py: SumEpisode"
ON = r"write --resume=logs/RUN --changed=regrade \(.*; --plan lists what each does"
PROMPT = r"the prompt of task sum changed \(seed 42\)"
DECLINE = r"the tools of task sum changed \(no more refuse, new decline\)"
BROKEN = "task sum cannot be compared, task fault: opening the episode: ZeroDivisionError: division by zero"
LESS = (
    "no recorded call answers what a model would see now; "
    r"write --resume=logs/RUN --changed=rerun \(.*; --plan lists what each does"
)
SEED = r"test_sum\[run-00\] was played with seed 42, now 43 \(and 1 more\)"
MODEL = r"test_sum\[run-00\] was played by policy:noted, now policy:null \(and 1 more\)"


@pytest.mark.parametrize(
    ("old", "new", "arguments", "said"),
    [
        ("task=Sum()", "task=Sum(threshold=0.5)", [], f"{GRADES}: threshold was 1.0, is 0.5; {ON}"),
        ("How much is", "What is", [], rf"{EPISODE}.prompt; the prompt of task sum changed \(seed 42\); {LESS}"),
        ("Submit the sum.", "Hand in the sum.", [],
         rf"{EPISODE}.submit; the tools of task sum changed \(other submit\); {LESS}"),
        ("times: int", "times: float", [],
         rf"{EPISODE}.shout; the tools of task sum changed \(other shout\); {LESS}"),
        ("def refuse(", "def decline(", [],
         rf"{EPISODE}.refuse \(gone\), SumEpisode.decline \(new\); {DECLINE}; {LESS}"),
        ("", "", ["--seed", "43"], f"{SEED}; {UNDO}"),
        ("", "", ["--conv-steps", "6"], f"limit turns of task sum was 5, is 6; {UNDO}"),
        ("", "", ["--trial-timeout", "60"], f"limit wall_s of task sum was 900.0, is 60.0; {UNDO}"),
        ("", "", ["policy:null"], f"{MODEL}; {UNDO}"),
        ("", "", ["--sequential"], f"--sequential was not given, and is now; {UNDO}"),
        ("How much is", "What is", ["--conv-steps", "6", "--seed", "43"],
         rf"{SEED}; limit turns of task sum was 5, is 6; {PROMPT}; {EPISODE}.prompt; {UNDO}"),
        ("        self.task, self.seed, self.answer = task, seed, None", "        1 / 0", [],
         f"{BROKEN}; {EPISODE}.__init__; {UNDO}"),
        ("", "", ["--conv-steps", "6", "--runs", "3", "-k", "run-02"],
         f"limit turns of task sum was 5, is 6; {UNDO}"),
    ],
)  # fmt: skip
def test_a_change_is_refused_and_named(runs: Runs, old: str, new: str, arguments: list[str], said: str):
    runs.play("--runs", "2")
    before, plan = runs.lines(), (runs.run_dirs[0] / "plan.json").read_text()
    for name in ("tasks", "test_sum"):
        if old and old in (runs.pytester.path / f"{name}.py").read_text():
            runs.change(old, new, name)
    model = next((word for word in arguments if word.startswith("policy:")), "policy:noted")

    result = runs.resume("--runs", "2", *(word for word in arguments if word != model), model=model)

    assert re.fullmatch(rf"ERROR: --resume logs/RUN: {said}", refused(result))
    assert runs.lines() == before
    assert (runs.run_dirs[0] / "plan.json").read_text() == plan
    assert sum(runs.plays().values()) == 2


def test_a_change_is_refused_once_by_all_workers(pytester: pytest.Pytester):
    runs = Runs(pytester, ("-n", "2"))
    runs.begin("--runs", "2")
    before, plan = runs.lines(), (runs.run_dirs[0] / "plan.json").read_text()
    runs.change("How much is", "What is")

    said = refused(runs.resume("--runs", "2", "--seed", "43"))

    prompt = r"the prompt of task sum changed \(seed 42\)"
    assert re.fullmatch(rf"ERROR: --resume logs/RUN: {SEED}; {prompt}; {EPISODE}.prompt; {UNDO}", said)
    assert runs.lines() == before
    assert (runs.run_dirs[0] / "plan.json").read_text() == plan
    assert sum(runs.plays().values()) == 2


def test_a_second_model_is_not_mixed_in(runs: Runs):
    runs.play("--runs", "2")

    said = refused(runs.resume("--runs", "2", "--model", "policy:null"))

    assert (
        "test_sum[run-00] is now test_sum[policy:noted-run-00]: give the same --model options as before (and 1" in said
    )


def test_a_change_is_no_matter_where_nothing_is_kept(runs: Runs):
    runs.play("--runs", "2")
    runs.lose(0, 1)

    result = runs.resume("--runs", "2", "--conv-steps", "6", "--seed", "45")

    assert headline(result) == "rltask: resuming logs/RUN: 0 trials reused, 2 missing to be played"


def test_a_plan_of_an_earlier_version_has_no_limits_to_compare(runs: Runs):
    runs.play("--runs", "2")
    path = runs.run_dirs[0] / "plan.json"
    path.write_text(json.dumps([{k: v for k, v in t.items() if k != "limits"} for t in json.loads(path.read_text())]))

    result = runs.resume("--runs", "2", "--conv-steps", "6")

    assert headline(result) == "rltask: resuming logs/RUN: 2 trials reused, none to be played"
