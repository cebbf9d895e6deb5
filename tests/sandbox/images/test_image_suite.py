"""A suite whose task is played in an image: its records say which, and a run is not gone on with in another one."""

from __future__ import annotations

import sys

import pytest

from pytest_rltask.report.transcript import render
from pytest_rltask.run.load import load_run
from tests.conftest import Suite
from tests.sandbox.containers.container import forget
from tests.sandbox.images import image_files
from tests.sandbox.images.conftest import NAMES, load

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the container shares our kernel")
SUITE = f"""
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Sandbox, Task, call, tool

class Running(Episode):
    prompt = "Run something."
    said = ""
    def __init__(self, image):
        self.box = Sandbox(image=image)
    @tool
    def run(self) -> str:
        '''Run a program.'''
        self.said = self.box.run(["only-here"]).stdout
        return self.said
    def grade(self):
        return Grade(float(self.said == "only here\\n"), threshold=1.0)
    def close(self):
        self.box.close()

@dataclass(frozen=True)
class Run(Task):
    image: str = {NAMES["shell"]!r}
    needs_sandbox = True
    policies = {{"solver": lambda view: (yield call("run"))}}
    def open(self, seed):
        return Running(self.image)

@pytest.mark.rltask(task=Run(), band=(0.5, 1))
def test_run(trial):
    assert trial.passed
"""


@pytest.fixture
def runner(docker: None, suite: Suite, monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.delenv("CI", raising=False)
    suite.pytester.path.joinpath("test_sum.py").unlink()
    return suite.write(test_isolated=SUITE)


@pytest.mark.slow
def test_a_run_is_not_gone_on_with_in_a_changed_image(runner: Suite) -> None:
    runner.run("--runs", "1", "--sandbox", "docker", model="policy:solver").assert_outcomes(passed=1)
    (run_dir,) = runner.run_dirs
    (record,) = load_run(run_dir).records.values()
    was = record.images[NAMES["shell"]].removeprefix("sha256:")[:12]
    assert f"sandbox: docker, image {NAMES['shell']} ({was})" in render(record)

    same = runner.run("--runs", "2", "--sandbox", "docker", f"--resume={run_dir}", model="policy:solver")
    load(NAMES["shell"], image_files.with_shell("only here, and newer"))
    forget()
    changed = runner.run("--runs", "3", "--sandbox", "docker", f"--resume={run_dir}", model="policy:solver")
    load(NAMES["shell"], image_files.with_shell())
    forget()

    same.assert_outcomes(passed=2)
    assert changed.ret == pytest.ExitCode.USAGE_ERROR
    said = " ".join(changed.stderr.lines + changed.outlines)
    assert f"the sandbox of task run changed (image {NAMES['shell']} was {was}, is " in said.lower()
    assert "--changed=rerun" in said


def test_the_option_to_write_is_told_where_no_docker_was_asked_for(runner: Suite) -> None:
    result = runner.run("--runs", "1", "--sandbox", "none", model="policy:solver")

    assert "write --sandbox docker" in result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED
