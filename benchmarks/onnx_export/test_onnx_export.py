"""The benchmark: `pytest benchmarks/onnx_export --model claude-haiku-4-5-20251001 --runs 10`."""

import pytest

from benchmarks.onnx_export.task import OnnxExport
from pytest_rltask import Trial


@pytest.mark.rltask(task=OnnxExport())
def test_onnx_export(trial: Trial) -> None:
    """A trial passes with a valid export that is accurate enough on test.csv."""
    assert trial.score >= trial.task.min_accuracy, trial.reason
