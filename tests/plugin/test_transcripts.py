"""Transcripts while a run goes on: readable from the first turn, and after a kill."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from pytest_rltask.report.transcript import render
from pytest_rltask.run.load import load_run
from pytest_rltask.run.planned import transcript_path
from pytest_rltask.suite.judging import Judge
from tests.conftest import Suite

LOOKS = """
import os, signal, sys, time
from dataclasses import dataclass
from pathlib import Path
import pytest
from pytest_rltask import Episode, Grade, Task, call, tool

def said():
    return "".join(path.read_text() for path in Path("logs").glob("run_*/transcripts/looks-*run-00.txt"))

class Look(Episode):
    @property
    def prompt(self):
        return "Look."
    @tool
    def look(self, nth: int) -> str:
        '''Look.'''
        until = time.monotonic() + 60
        while nth > 1 and f"turn {nth - 1} · calls" not in said() and time.monotonic() < until:
            time.sleep(0.01)
        if nth == 3 and Path("kill").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return "seen" if f"--- turn {nth - 1} · calls look" in said() else "not seen"
    def grade(self):
        return Grade(1.0, threshold=1.0)

def looks(view):
    for nth in range(1, 4 if Path("kill").exists() else 3):
        yield call("look", nth=nth)

@dataclass(frozen=True)
class Looks(Task):
    policies = {"looks": looks}
    def open(self, seed):
        return Look()

@pytest.mark.rltask(task=Looks(), band=(0, 1))
def test_looks(trial):
    assert trial.passed
"""


def test_a_transcript_is_written_turn_by_turn_and_outlives_a_kill(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_looks=LOOKS)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--model", "policy:looks", "--runs", "1"]
    (pytester.path / "kill").touch()

    killed = pytester.run(*command)

    (path,) = pytester.path.glob("logs/run_*/transcripts/looks-*run-00.txt")
    left = path.read_text()
    assert killed.ret == -signal.SIGKILL
    assert left.index("--- prompt") < left.index("turn 1 · calls look") < left.index("--- turn 2 · calls look")
    assert "turn 3" not in left

    (pytester.path / "kill").unlink()
    pytester.run(*command, "--resume=last")

    run = load_run(path.parents[1])
    (record,) = run.records.values()
    assert path.read_text() == render(record)
    assert left.splitlines()[1] not in path.read_text(), "it began anew"
    seen = record.messages[4]["content"][0]["content"]
    assert seen == "seen", "the second turn's tool read the first turn in the file"


def test_a_transcript_is_whole_before_its_item_is_due(suite: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "_write_transcript", lambda self, record: Path("not written by it"))
    suite.run("--runs", "2")
    run = suite.last_run()
    written = {one.run: transcript_path(run.path, one.task, one.trial_id).read_text() for one in run.records.values()}
    assert written == {one.run: render(one) for one in run.records.values()}
