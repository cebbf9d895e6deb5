"""The benchmark: `pytest -k imbalance --runs 5 --source kaggle --sample-n 50000 --max-steps 4 --tau 0.75`."""

import pytest

from benchmarks.imbalance.options import imbalance
from pytest_rltask import Trial


@pytest.mark.rltask(task=imbalance)
def test_imbalance(trial: Trial) -> None:
    """A trial passes with a good enough F1 on the hidden test rows."""
    assert trial.score >= trial.task.tau, trial.reason
