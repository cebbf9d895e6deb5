"""Faults: which may be missing from a pass rate, when a task is given up, and that equal ones are told once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.verdict import GATES
from tests.conftest import SUITE, WAYS, WAYS_IDS, Suite, unwrapped
from tests.report.pages import opened

# A task that breaks for the seeds that files name: so it can be mended without a change of its source.
FAULTY = (
    SUITE
    + '''
import pathlib
from pytest_rltask import Sandbox, SandboxError

def breaks(where, seed):
    named = pathlib.Path(where)
    return named.exists() and (named.read_text() == "all" or str(seed) in named.read_text().split())

class FaultyEpisode(SumEpisode):
    def __init__(self, task, seed):
        super().__init__(task, seed)
        self.sandbox = Sandbox(backend="none")
        if breaks("open", seed):
            raise SandboxError("no room for a sandbox")
    @tool
    def run(self, code: str) -> str:
        """Run code."""
        self.sandbox.write_file("main.py", code)
        if breaks("before", self.seed):
            raise SandboxError("no process to be had")
        said = self.sandbox.run_python("main.py").stdout
        if breaks("after", self.seed):
            raise SandboxError("the watcher died without a report")
        return said
    def grade(self):
        if breaks("grade", self.seed):
            raise ValueError(f"nothing fits the answer {self.answer}")
        return super().grade()
    def close(self):
        self.sandbox.close()

def runs_code(view):
    yield call("run", code="print('hello')")
    yield call("submit", number=view.seed + 1 if view.seed % 4 == 0 else 0)

@dataclass(frozen=True)
class Faulty(Sum):
    policies = {**Sum.policies, "runs_code": runs_code}
    def open(self, seed):
        return FaultyEpisode(self, seed)
'''
)
TEST = """
from tasks import *

@pytest.mark.rltask(task=Faulty())
def test_faulty(trial):
    assert trial.score >= 1.0
"""


class FaultySuite(Suite):
    """A suite whose task breaks where it is told to."""

    def __init__(self, pytester: pytest.Pytester, workers: tuple[str, ...] = ()) -> None:
        super().__init__(pytester, workers)
        self.write(tasks=FAULTY, test_sum=TEST)

    def breaks(self, where: str, *seeds: int) -> None:
        """Have it break for some seeds, or for all."""
        (self.pytester.path / where).write_text(" ".join(map(str, seeds)) or "all")

    def mend(self, where: str) -> None:
        """Have it break no more."""
        (self.pytester.path / where).unlink()

    def play(self, *arguments: str, model: str = "policy:runs_code") -> pytest.RunResult:
        """Run the inner pytest."""
        return self.run("--concurrency", "1", *arguments, model=model)

    @property
    def row(self) -> dict[str, Any]:
        """The only row of the newest report."""
        (row,) = self.report()["rows"]
        return row


@pytest.fixture
def faulty(pytester: pytest.Pytester) -> FaultySuite:
    """Played in one process."""
    return FaultySuite(pytester)


@pytest.fixture(params=WAYS, ids=WAYS_IDS)
def any_faulty(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> FaultySuite:
    """Played in one process and, in a second test, by two workers."""
    return FaultySuite(pytester, request.param)


@pytest.mark.parametrize("gate", GATES)
def test_one_fault_of_the_grader_fails_any_gate_and_says_what_to_do(faulty: FaultySuite, gate: str):
    faulty.breaks("grade", 45)

    result = faulty.play("--runs", "10", "--gate", gate, model="policy:baseline")

    assert (faulty.row["verdict"]["word"], faulty.row["judged"], faulty.row["untolerated"]) == ("incomplete", 9, 1)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    what = "1 of 10 trials of faulty by policy:baseline have no grade, which may depend on what the model did"
    fault = "1 x task fault: the grader: ValueError: nothing fits the answer 0"
    result.stdout.fnmatch_lines([f"incomplete: {what}: {fault}; mend the task, then go on with --resume"])


@pytest.mark.parametrize(
    ("where", "code_ran", "word"),
    [("open", False, "in band"), ("before", False, "in band"), ("after", True, "incomplete")],
)
def test_a_fault_of_the_sandbox_is_tolerated_before_any_code_of_the_model_ran(
    any_faulty: FaultySuite, where: str, code_ran: bool, word: str
):
    any_faulty.breaks(where, 45)

    result = any_faulty.play("--runs", "10")

    (fault,) = [record.fault for record in any_faulty.last_run().records.values() if record.fault]
    assert (fault.kind, fault.code_ran) == ("sandbox", code_ran)
    assert any_faulty.row["verdict"]["word"] == word
    result.stdout.re_match_lines([r".*1 error.*"])
    assert result.ret == (0 if word == "in band" else 1)


def test_a_trial_that_the_test_skips_is_not_tolerated(faulty: FaultySuite):
    faulty.write(test_sum=TEST + "    if trial.record.seed == 44: pytest.skip('not this one')\n")

    result = faulty.play("--runs", "10", model="policy:solver")

    result.stdout.fnmatch_lines(["incomplete: 1 of 10 *; have the test judge each trial by an assertion, then go on*"])


@pytest.mark.parametrize("any_faulty", WAYS, ids=WAYS_IDS, indirect=True)
def test_a_task_that_always_breaks_is_given_up_and_played_once_it_is_mended(any_faulty: FaultySuite):
    any_faulty.breaks("grade")

    result = any_faulty.play("--runs", "30", "-rs", model="policy:baseline")

    played = len(any_faulty.last_run().starts)
    assert 3 <= played <= 5  # and what another worker was at
    assert (any_faulty.row["errored"], any_faulty.row["given_up"], any_faulty.row["lost"]) == (played, 30 - played, 0)
    why = "3 trials in a row ended in the same task fault: the grader: ValueError: nothing fits the answer *"
    told = f"given up after equal faults: {30 - played} of 30 planned trials were not started"
    assert told in unwrapped(result)
    skipped = f"SKIPPED [[]{30 - played}] test_sum.py:3: {why}; mend the task, then go on with --resume"
    result.stdout.fnmatch_lines([skipped])
    assert result.ret == pytest.ExitCode.TESTS_FAILED

    any_faulty.mend("grade")
    any_faulty.play("--runs", "30", "--resume", "last", model="policy:baseline")

    assert (any_faulty.row["judged"], any_faulty.row["given_up"], any_faulty.row["untolerated"]) == (30, 0, 0)


def test_a_task_that_breaks_now_and_then_is_played_to_its_end(faulty: FaultySuite):
    faulty.breaks("grade", 42, 43, 45, 46, 48, 49)

    faulty.play("--runs", "8", model="policy:baseline")

    assert (faulty.row["errored"], faulty.row["given_up"]) == (6, 0)


def test_another_task_is_played_although_one_is_given_up(faulty: FaultySuite):
    faulty.breaks("grade")
    faulty.write(test_other="from tasks import *\n@pytest.mark.rltask(task=Sum())\ndef test_other(trial): pass\n")

    faulty.play("--runs", "6", model="policy:solver")

    rows = {row["test"].partition("::")[2]: row for row in faulty.report()["rows"]}
    assert (rows["test_other"]["judged"], rows["test_faulty"]["given_up"]) == (6, 3)


@pytest.mark.parametrize("variable", ["CI", None])
def test_equal_faults_are_told_once(any_faulty: FaultySuite, variable, monkeypatch):
    # Where it is set, pytest repeats the whole of a failure that is a string.
    monkeypatch.delenv("BUILD_NUMBER", raising=False)
    monkeypatch.delenv("CI", raising=False)
    if variable:
        monkeypatch.setenv(variable, "true")
    any_faulty.breaks("grade", 42, 45, 48, 51)

    result = any_faulty.play("--runs", "12", model="policy:solver")

    text = result.stdout.str()
    assert text.count('    raise ValueError(f"nothing fits the answer') == 1
    assert "\n4 trials: run-00, run-03, run-06, run-09\n" in text
    assert text.count("ERROR test_sum.py::test_faulty[") == 1
    assert "8 passed" in text
    assert "4 errors" in text  # each is counted
    (group,) = any_faulty.row["fault_groups"]
    assert group["trials"] == ["run-00", "run-03", "run-06", "run-09"]  # although each said another answer
    said = "task fault: the grader: ValueError: nothing fits the answer 43"
    run: Path = any_faulty.run_dirs[-1]
    assert f"  - errored: 4 x {said}: run-00, run-03, run-06, run-09\n" in (run / "summary.md").read_text()
    details = [trial["details"] for trial in opened((run / "report.html").read_text())]
    assert sum("raise ValueError(" in each for each in details) == 4


@pytest.mark.parametrize("verbosity", ["-q", "-vv"])
def test_a_fault_takes_one_line_of_the_summary(faulty: FaultySuite, verbosity):
    faulty.breaks("grade", 45)

    lines = faulty.play("--runs", "8", verbosity, model="policy:solver").stdout.str().splitlines()

    error = "ERROR test_sum.py::test_faulty[policy:solver-run-03]"
    told = lines.index(next(line for line in lines if line.startswith(error)))
    assert "errored trial, t" in lines[told]
    shown = 2 if verbosity == "-vv" else 1  # in the transcript as well
    assert len([line for line in lines if line.startswith("Traceback")]) == shown
    assert "passed" in lines[told + 1]


def test_a_proof_stands_beside_no_fault_that_is_not_tolerated(faulty: FaultySuite):
    faulty.breaks("grade", 45)

    faulty.play("--runs", "12", "--stop-early", model="policy:solver")

    assert (faulty.row["judged"], faulty.row["not_needed"], faulty.row["verdict"]["word"]) == (11, 0, "incomplete")

    faulty.mend("grade")
    faulty.play("--runs", "12", "--stop-early", "--resume", "last", model="policy:solver")

    assert (faulty.row["verdict"]["word"], faulty.row["verdict"]["proven"]) == ("too easy", True)
