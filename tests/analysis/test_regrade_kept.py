"""Regrading takes what was kept before it replays, and replays where that is not what was kept."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pytest_rltask.analysis.changed import Changed
from pytest_rltask.analysis.regrade import regrade
from pytest_rltask.report.transcript import render
from pytest_rltask.run.load import load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Record
from tests.run.written import HEADER
from tests.trial.test_keeping import BoxEpisode, BoxTask, played, spec_of

PLAN = PlannedTrial("test_a.py::test_box[run-00]", "test_box", "box", "d", "policy:p", 0, 42, (0.1, 0.4), grader="new")


class CountedEpisode(BoxEpisode):
    """Notes which way it was graded."""

    graded: ClassVar[list[str]] = []

    def grade(self) -> Any:
        self.graded.append("replay")
        return super().grade()

    def regrade(self, artifacts: Any) -> Any:
        self.graded.append("artifacts")
        return super().regrade(artifacts)


@dataclass(frozen=True)
class CountedTask(BoxTask):
    def open(self, seed: int) -> CountedEpisode:
        return CountedEpisode(self, seed)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    CountedEpisode.graded.clear()
    return RunWriter(tmp_path / "run", "main", HEADER).path


def regraded(record: Record, run_dir: Path, task: BoxTask) -> Record:
    writer = RunWriter(run_dir, "main", HEADER)
    writer.plan([PLAN])
    writer.append(record)
    changed = Changed(PLAN, [record], "grader.py: rated", thresholds=None)
    regrade([changed], {PLAN.trial_id: spec_of(task)}, writer, cores=1)
    return load_run(run_dir).records[record.trial_id]


def test_what_was_kept_is_graded_and_nothing_is_replayed(run_dir: Path):
    record = played(BoxTask(), run_dir)
    new = regraded(record, run_dir, CountedTask(threshold=4))
    assert CountedEpisode.graded == ["artifacts"]
    assert (new.outcome, new.score, new.threshold) == ("failed", 3.0, 4.0)
    (step,) = new.history
    assert (step.how, step.changes, step.before["outcome"]) == ("artifacts", "grader.py: rated", "passed")
    assert "graded anew from what was kept" in render(new)
    assert "kept: artifacts/box-run-00/answer (3 bytes)" in render(new)


def test_what_was_changed_since_is_replayed_and_told(run_dir: Path):
    record = played(BoxTask(), run_dir)
    (run_dir / record.artifacts[0].path).write_bytes(b"abcdef")
    new = regraded(record, run_dir, CountedTask())
    assert CountedEpisode.graded == ["replay"]
    assert (new.outcome, new.score) == ("passed", 3.0)
    assert new.history[0].changes == "grader.py: rated (replayed, for artifacts/box-run-00/answer was changed)"


def test_what_was_not_kept_whole_is_replayed(run_dir: Path):
    record = played(BoxTask(), run_dir)
    record.artifacts_left_out["more"] = "too much"
    new = regraded(record, run_dir, CountedTask())
    assert CountedEpisode.graded == ["replay"]
    assert new.history[0].how == "replay"
