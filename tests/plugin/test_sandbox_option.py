"""``--sandbox``: a run says what isolates its agents, fails closed, and marks what was played without."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_rltask.sandbox import SandboxError, resolve_backend
from tests.conftest import Suite, slow, workers_at_once

SUITE = """
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Sandbox, Task, call, tool

class Running(Episode):
    def __init__(self):
        self.box, self.said = Sandbox(), ""
    prompt = "Run something."
    @tool
    def run(self) -> str:
        '''Run a script.'''
        self.box.write_file("a.py", "print('it ran')")
        self.said = self.box.run_python("a.py").stdout
        return self.said
    def grade(self):
        return Grade(float(self.said == "it ran\\n"), threshold=1.0)
    def close(self):
        self.box.close()

@dataclass(frozen=True)
class Run(Task):
    needs_sandbox = True
    policies = {"solver": lambda view: (yield call("run"))}
    def open(self, seed):
        return Running()

@pytest.mark.rltask(task=Run(), runs=2, band=(0.5, 1))
def test_run(trial):
    assert trial.passed
"""


@pytest.fixture
def any_runner(any_suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Suite:
    return running(any_suite, monkeypatch)


@pytest.fixture
def runner(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Suite:
    return running(suite, monkeypatch)


def running(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """Return the suite with the task above alone, on a machine that is no CI."""
    monkeypatch.delenv("CI", raising=False)
    suite.pytester.path.joinpath("test_sum.py").unlink()
    return suite.write(test_isolated=SUITE)


@pytest.fixture
def isolated() -> str:
    """The backend that ``auto`` takes here."""
    try:
        return resolve_backend("auto")
    except SandboxError as error:
        pytest.skip(str(error))


def play(suite: Suite, *arguments: str) -> pytest.RunResult:
    return suite.run(*arguments, model="policy:solver")


def backends(suite: Suite) -> set[str]:
    return {record.sandbox for record in suite.last_run().records.values()}


@workers_at_once("any_suite")
def test_the_header_the_records_and_the_report_say_which_backend_runs(any_runner: Suite, isolated: str) -> None:
    result = play(any_runner)

    assert result.ret == 0
    result.stdout.fnmatch_lines([f"rltask: sandbox {isolated}"])
    assert backends(any_runner) == {isolated}
    assert {trial.sandbox for trial in any_runner.last_run().plan} == {isolated}
    assert any_runner.report()["sandboxes"] == {isolated: 2}
    assert "own rights" not in result.stdout.str()


def test_a_backend_can_be_asked_for(runner: Suite) -> None:
    try:
        resolve_backend("landlock")
    except SandboxError as error:
        pytest.skip(str(error))

    assert play(runner, "--sandbox", "landlock").ret == 0
    assert backends(runner) == {"landlock"}


def test_nothing_is_played_where_no_backend_works(any_runner: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///missing")

    result = play(any_runner, "--sandbox", "docker")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --sandbox docker: no isolation works here *; write --sandbox auto*"])
    assert any_runner.run_dirs == []


@pytest.mark.parametrize("arguments", [(), slow(("-n", "1"))], ids=["alone", "with a worker"])
def test_nothing_is_audited_where_no_backend_works(
    runner: Suite, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///missing")

    result = runner.pytester.runpytest_subprocess("--audit", "--sandbox", "docker", *arguments)

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --sandbox docker: no isolation works here *; write --sandbox auto*"])


def test_an_audit_says_what_isolates_it(runner: Suite) -> None:
    result = runner.pytester.runpytest("--audit", "--sandbox", "none", "-k", "solver")

    result.stdout.fnmatch_lines(["rltask: sandbox none: agents' code runs with your own rights"])


def test_none_must_be_asked_for_and_is_told_everywhere(any_runner: Suite) -> None:
    result = play(any_runner, "--sandbox", "none", "--color=yes")

    assert result.ret == 0
    result.stdout.fnmatch_lines(["*rltask: sandbox none: agents' code runs with your own rights*"])
    said = "sandbox none: agents' code ran with your own rights in 2 trials"
    assert f"\x1b[31m\x1b[1m{said}" in result.stdout.str()
    assert backends(any_runner) == {"none"}
    assert any_runner.report()["sandboxes"] == {"none": 2}
    for name in ("summary.md", "report.html"):
        assert said in Path(any_runner.run_dirs[-1], name).read_text().replace("&#x27;", "'")
    assert "sandbox: none" in next(Path(any_runner.run_dirs[-1], "transcripts").iterdir()).read_text()


def test_none_is_refused_on_a_ci_machine(runner: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")

    result = play(runner, "--sandbox", "none")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --sandbox none: with CI set*rltask_sandbox_allow_none = true*"])


def test_unless_the_ini_file_allows_it(runner: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    runner.pytester.makeini("[pytest]\nrltask_sandbox_allow_none = true\nrltask_sandbox = none")

    assert play(runner).ret == 0
    assert backends(runner) == {"none"}


def test_a_suite_that_needs_no_sandbox_tries_none(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    def tried(wanted: str) -> str:
        raise AssertionError("a backend was tried out")

    monkeypatch.setattr("pytest_rltask.sandbox.resolve_backend", tried)

    result = suite.run("--sandbox", "landlock", "--runs", "2", "--band", "0,100")

    assert result.ret == 0
    assert "rltask: sandbox" not in result.stdout.str()
    assert {record.sandbox for record in suite.last_run().records.values()} == {""}


def test_an_unknown_backend_is_a_usage_error(suite: Suite) -> None:
    result = suite.run("--sandbox", "chroot")

    assert result.ret == 4
    result.stderr.fnmatch_lines(["ERROR: --sandbox chroot is not one of auto, bwrap, *; write --sandbox auto"])


def test_a_run_is_resumed_in_another_sandbox(runner: Suite, isolated: str) -> None:
    assert play(runner, "--sandbox", "none", "-k", "run-00").ret == 0

    result = play(runner, "--resume", "last")

    assert result.ret == 0
    assert backends(runner) == {"none", isolated}
    result.stdout.fnmatch_lines(["*agents' code ran with your own rights in 1 trial*"])


@pytest.mark.parametrize("backend", ["bwrap", "landlock"])
def test_the_prompt_tells_what_honest_code_misses_in_the_backend_in_use(runner: Suite, backend: str) -> None:
    try:
        resolve_backend(backend)
    except SandboxError as error:
        pytest.skip(str(error))
    play(runner, "--runs=1", "--sandbox", backend)

    (record,) = runner.last_run().records.values()
    opening = [block["text"] for block in record.messages[0]["content"]]

    assert opening[0] == "Run something."
    assert opening[1:] == ([record.surroundings] if record.surroundings else [])
    assert ("no sockets but connected pairs" in record.surroundings) == (backend == "landlock")
    (transcript,) = (runner.run_dirs[-1] / "transcripts").iterdir()
    assert record.surroundings in transcript.read_text()


def test_a_task_that_runs_no_code_is_told_nothing_of_sandboxes(suite: Suite) -> None:
    suite.run("--runs=1")

    assert {record.surroundings for record in suite.last_run().records.values()} == {""}
