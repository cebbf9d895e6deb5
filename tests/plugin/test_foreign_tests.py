"""What other tests do to the process while trials are in flight: it does not reach the trials."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Suite
from tests.support import foreign

# A trial that is in the middle of a tool call while another test runs, and calls another tool before that ends.
MEANWHILE = '''
import os, threading
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Limits, Task, call, tool

begun, go, looked = threading.Event(), threading.Event(), threading.Event()

class QuickEpisode(Episode):
    prompt = "Go."
    @tool
    def look(self) -> str:
        """Look."""
        return "seen"
    def grade(self):
        return Grade(1.0, threshold=1.0)

class SlowEpisode(QuickEpisode):
    folder = ""
    @tool
    def wait(self) -> str:
        """Wait for the other test."""
        begun.set()
        assert go.wait(60)
        return "waited"
    @tool
    def look(self) -> str:
        """Look."""
        self.folder = os.getcwd()
        looked.set()
        return "seen"
    def grade(self):
        looked.set()  # whatever became of the calls
        return Grade(1.0, threshold=1.0, metrics={"folder": self.folder})

def calls(*names):
    def policy(view):
        for name in names:
            yield call(name)
    return policy

@dataclass(frozen=True)
class Quick(Task):
    policies = {"moves": calls("look")}
    def open(self, seed):
        return QuickEpisode()

@dataclass(frozen=True)
class Slow(Task):
    limits = Limits(wall_s=600.0)
    policies = {"moves": calls("wait", "look")}
    def open(self, seed):
        return SlowEpisode()
'''

TEST = """
import contextlib, os
from foreign import frozen_clock
from meanwhile import *

@pytest.mark.rltask(task=Quick(), band=(0.5, 1.0))
def test_quick(trial):
    assert trial.passed

def test_other({fixtures}):
    assert begun.wait(60)
    with {disturbance}:
        go.set()
        assert looked.wait(60)

@pytest.mark.rltask(task=Slow(), band=(0.5, 1.0))
def test_slow(trial):
    assert trial.passed
"""


@pytest.fixture
def meanwhile(pytester: pytest.Pytester) -> Suite:
    """A suite with a trial that is in flight while another test runs."""
    suite = Suite(pytester)
    (pytester.path / "test_sum.py").unlink()
    return suite.write(meanwhile=MEANWHILE, foreign=Path(foreign.__file__).read_text())


def played(suite: Suite, disturbance: str = "contextlib.nullcontext()", fixtures: str = "") -> pytest.RunResult:
    suite.write(test_meanwhile=TEST.format(disturbance=disturbance, fixtures=fixtures))
    return suite.run("--runs=1", "--concurrency=2", model="policy:moves")


def test_a_working_directory_that_another_test_changes_is_not_that_of_the_trials(meanwhile: Suite):
    result = played(meanwhile, "contextlib.chdir(os.path.dirname(os.getcwd()))")

    result.assert_outcomes(passed=3)
    (slow,) = [record for record in meanwhile.last_run().records.values() if record.task == "slow"]
    assert slow.metrics["folder"] == str(meanwhile.pytester.path)


def test_a_clock_that_another_test_freezes_is_not_that_of_the_trials(meanwhile: Suite):
    result = played(meanwhile, "frozen_clock()")

    result.assert_outcomes(passed=3)
    for record in meanwhile.last_run().records.values():
        assert (record.outcome, record.limit) == ("passed", None)
        assert 0 <= record.seconds["total"] < 600
        assert record.started > "2026"
