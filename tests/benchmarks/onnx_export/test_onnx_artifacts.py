"""What is kept of a delivery is graded in a fresh episode as the delivery was, by the same grader and by another."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks.onnx_export import data as data_module
from benchmarks.onnx_export.data import Data
from benchmarks.onnx_export.task import OnnxEpisode, OnnxExport
from pytest_rltask import Grade, Sandbox
from pytest_rltask.run.artifacts import load_artifacts
from pytest_rltask.run.record import Record
from pytest_rltask.trial.keeping import keep
from tests.benchmarks.onnx_export.onnx_models import HONEST, WEIGHTS, external

pytestmark = pytest.mark.usefixtures("without_torch")


@pytest.fixture(autouse=True)
def drawn(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open every episode with the draw of the session."""
    monkeypatch.setattr(data_module, "draw", lambda *_, **__: data)


def one_file(box: Sandbox) -> None:
    box.write_file("model.onnx", HONEST["logit (N,1)"]["model.onnx"])


def two_files(box: Sandbox) -> None:
    box.write_file("model.onnx", external("weights of mine.bin"))
    box.write_file("weights of mine.bin", WEIGHTS.tobytes())
    box.write_file("more.csv", "is no weights")


def link(box: Sandbox) -> None:
    (box.path / "model.onnx").symlink_to("/etc/passwd")


def fifo(box: Sandbox) -> None:
    os.mkfifo(box.path / "model.onnx")


def sparse(box: Sandbox) -> None:
    with (box.path / "model.onnx").open("wb") as file:
        file.truncate(2**40)


def nothing(box: Sandbox) -> None:
    pass


def kept(episode: OnnxEpisode, run_dir: Path) -> Record:
    """Return a record with what was kept of an episode."""
    record = Record("test_a.py::test_a[run-00]", "a", "d", "m", run=0, seed=42)
    keep(run_dir, record, episode)
    return record


def anew(task: OnnxExport, record: Record, run_dir: Path) -> Grade:
    with task.open(42) as episode:
        return episode.regrade(load_artifacts(run_dir, record))


@pytest.mark.parametrize("deliver", [one_file, two_files, link, fifo, sparse, nothing])
def test_kept_and_graded_anew_it_is_the_same_grade(deliver: Callable[[Sandbox], None], tmp_path: Path):
    with OnnxExport().open(42) as episode:
        deliver(episode._box)
        record = kept(episode, tmp_path)
        grade = episode.grade()

    assert anew(OnnxExport(), record, tmp_path) == grade
    assert record.artifacts_left_out == {}
    assert grade.label == {"nothing": "no model.onnx"}.get(
        deliver.__name__, "accuracies not printed" if "file" in deliver.__name__ else "export rejected"
    )


def test_kept_are_the_model_its_weights_and_what_was_printed(tmp_path: Path):
    with OnnxExport().open(42) as episode:
        two_files(episode._box)
        episode._printed.append("half \ud800")
        record = kept(episode, tmp_path)
    assert [one.name for one in record.artifacts] == ["printed.json", "model/model.onnx", "model/weights of mine.bin"]


def test_another_threshold_gives_the_grade_that_a_trial_would_have_had(tmp_path: Path):
    lower = partial(OnnxExport, min_accuracy=0.3)
    with OnnxExport().open(42) as episode:
        one_file(episode._box)
        found = episode.grade().metrics
        episode._printed.append(f"train accuracy: {found['train_accuracy']}\ntest accuracy: {found['test_accuracy']}\n")
        record = kept(episode, tmp_path)
        assert not episode.grade().passed

    grade = anew(lower(), record, tmp_path)

    with lower().open(42) as episode:
        one_file(episode._box)
        episode._printed.append(f"train accuracy: {found['train_accuracy']}\ntest accuracy: {found['test_accuracy']}\n")
        assert grade == episode.grade()
    assert (grade.passed, grade.score) == (True, found["test_accuracy"])
