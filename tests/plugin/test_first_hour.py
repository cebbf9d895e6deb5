"""What costs a newcomer money, minutes or trust in the first hour: each was seen once, and is told or right now."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from pytest_rltask.run.lines import Lines
from pytest_rltask.run.load import load_run
from tests.conftest import Suite, next_words, unwrapped
from tests.support.workbench import Bench, play_bench, plays

LOOP = """
import asyncio, pytest

@pytest.fixture(scope="session", autouse=True)
def a_running_loop():
    # As Playwright's fixtures do: a loop that counts as running in pytest's own thread.
    loop = asyncio.new_event_loop()
    asyncio._set_running_loop(loop)
    yield
    asyncio._set_running_loop(None)
    loop.close()
"""


# ---- resume ----


def test_the_printed_command_goes_on_with_a_run_whose_logs_lie_elsewhere(suite: Suite, tmp_path: Path) -> None:
    suite.pytester.makeini("[pytest]\nrltask_runs = 4\n")
    first = suite.run(f"--log-dir={tmp_path}/logs", "--gate", "strict")
    words = next_words(first)[1:]
    (run_dir,) = (tmp_path / "logs").glob("run_*")
    assert [word for word in words if word.startswith("--resume")] == [f"--resume={run_dir}"]
    again = suite.pytester.runpytest(*words)
    again.stdout.fnmatch_lines(["rltask: resuming *: 4 trials reused, * missing to be played"])


def test_a_resume_that_reuses_nothing_of_the_same_tests_is_refused(suite: Suite, tmp_path: Path) -> None:
    """As two words the run's folder is taken for a place of configuration: then all trials would be paid again."""
    suite.pytester.makeini("[pytest]\nrltask_runs = 4\n")
    suite.run(f"--log-dir={tmp_path}/logs")
    (run_dir,) = (tmp_path / "logs").glob("run_*")
    result = suite.run("--resume", str(run_dir), "--runs", "4")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = "none of its 4 graded trials would be reused: its tests are named test_sum.py::test_sum, today's"
    result.stderr.fnmatch_lines([f"ERROR: --resume *: {told} */test_sum.py::test_sum; * --resume=* as one word*"])
    assert len(load_run(run_dir).records) == 4


# ---- a loop that runs already ----


@pytest.mark.parametrize("arguments", [["--audit"], ["--runs", "2"]], ids=["audit", "play"])
def test_it_works_where_a_loop_runs_already(suite: Suite, arguments: list[str]) -> None:
    suite.write(conftest=LOOP)
    result = suite.run(*arguments, model=None if "--audit" in arguments else "policy:baseline")
    assert "asyncio.run" not in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()
    assert result.parseoutcomes().get("errors", 0) == 0


def test_a_run_is_resumed_within_a_loop(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    within = "import asyncio, os\nif os.environ.get('LOOP'):\n    asyncio._set_running_loop(asyncio.new_event_loop())\n"
    suite.write(conftest=within)
    suite.run("--runs", "2")
    monkeypatch.setenv("LOOP", "1")
    arguments = ("--model", "policy:baseline", "--runs", "3", "--resume=last")
    result = suite.pytester.runpytest_subprocess(*arguments)
    result.stdout.fnmatch_lines(["rltask: resuming *: 2 trials reused, 1 missing to be played"])
    assert "INTERNALERROR" not in result.stdout.str()


# ---- what a model is told ----


def test_the_last_turns_are_counted_down() -> None:
    record = play_bench(Bench(moves=plays(*["work"] * 9)), turns=8)
    said = [block["text"] for message in record.messages for block in message["content"] if block["type"] == "text"]
    left = [re.match(r"\d+ of 8 replies remain", text) for text in said]
    assert [found[0] for found in left if found] == [f"{left} of 8 replies remain" for left in (3, 2, 1, 0)]


# ---- labels ----


LIMITED = """
import pytest
from pytest_rltask import Episode, Grade, Limits, Task, call, tool

class Export(Episode):
    def __init__(self, seed):
        self.seed = seed
    @property
    def prompt(self):
        return "Export."
    @tool
    def work(self) -> str:
        '''Work.'''
        return "done"
    def grade(self):
        label = "export rejected" if self.seed == 42 else "no model.onnx"
        return Grade(0.0, threshold=1.0, label=label if self.seed != 44 else Grade.label)

def works(view):
    while True:
        yield [call("work")] * 3

from dataclasses import dataclass
@dataclass(frozen=True)
class Exports(Task):
    policies = {"works": works}
    @property
    def limits(self):
        return Limits(tool_calls=2)
    def open(self, seed):
        return Export(seed)

@pytest.mark.rltask(task=Exports(), band=(0, 1))
def test_export(trial):
    assert trial.passed
"""


def test_trials_are_counted_by_the_graders_label_with_the_limit_beside_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LIMITED)
    result = pytester.runpytest("--model", "policy:works", "--runs", "4")
    counts = "2 x no model.onnx (tool-call limit), 1 x export rejected (tool-call limit), 1 x tool-call limit"
    assert f"missed: {counts}" in unwrapped(result)


def test_a_grade_without_a_threshold_cannot_have_been_passed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(LIMITED.replace("Grade(0.0, threshold=1.0, ", "Grade(0.0, "))
    result = pytester.runpytest("--model", "policy:works", "--runs", "1")
    said = result.stdout.str()
    assert "trial.passed: the grade names no threshold, so that nobody but the test can say; write" in said
    assert "1 missed" not in said


# ---- paths, replays, a full disk ----


@pytest.mark.parametrize("option", ["--log-dir=~/runs", "--rltask-log-dir=~/runs"])
def test_a_tilde_is_the_home_wherever_it_stands(
    suite: Suite, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    suite.run("--runs", "1", option)
    (run_dir,) = (tmp_path / "runs").glob("run_*")
    assert not (suite.pytester.path / "~").exists()
    result = suite.run("--runs", "1", f"--resume=~/runs/{run_dir.name}")
    result.stdout.fnmatch_lines(["rltask: resuming *: 1 trial reused, none to be played"])


def test_a_replay_says_in_what_it_is_of_another_trial(suite: Suite) -> None:
    suite.run("--runs", "2")
    run_dir = suite.run_dirs[-1]
    tasks = suite.pytester.path / "tasks.py"
    tasks.write_text(tasks.read_text().replace("Submit it.", "Submit it soon."))
    result = suite.run("--runs", "2", "--conv-steps", "4", model=f"replay:{run_dir}")
    said = "replays what was said of another task sum (seed 42): the prompt changed; limit turns was 10, is 4"
    assert result.stdout.str().count(said) == 1
    tasks.write_text(tasks.read_text().replace("Submit it soon.", "Submit it."))
    assert "of another task" not in suite.run("--runs", "2", model=f"replay:{run_dir}").stdout.str()


@pytest.mark.parametrize("what", ["trial", "started"])
def test_a_full_disk_ends_the_run_and_says_so_once(suite: Suite, what: str) -> None:
    append, written = Lines.append, []

    def full(self: Lines, data: bytes, **options: bool) -> None:
        if f'"type": "{what}"'.encode() in data:
            written.append(data)
            if len(written) > 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        append(self, data, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lines, "append", full)
        result = suite.run("--runs", "8")
    said = result.stdout.str()
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "CancelledError" not in said
    assert "Traceback" not in said
    told = "No space left on device; what was written counts: make room, and go on with --resume=logs/run_"
    assert re.search(f"no record can be written to .*: {told}", said)
    assert len(suite.last_run().records) == 2
    suite.run("--runs", "8", "--resume=last")
    assert len(suite.last_run().records) == 8
