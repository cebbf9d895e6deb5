"""Small data for each episode, and episodes before and after their start."""

from __future__ import annotations

import pytest

from benchmarks.imbalance import task as task_module
from benchmarks.imbalance.data import Dataset
from benchmarks.imbalance.task import Imbalance, ImbalanceEpisode
from tests.benchmarks.imbalance.task.episodes import laid_out


@pytest.fixture(autouse=True)
def small(tiny: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open every episode on tiny blobs: real data are tested elsewhere."""
    monkeypatch.setattr(task_module, "gaussian_blobs", lambda *_: tiny)
    monkeypatch.setattr(task_module, "credit_card", lambda *_: tiny)


@pytest.fixture
def fresh() -> ImbalanceEpisode:
    """An episode that has not been started."""
    return laid_out(Imbalance())


@pytest.fixture
def episode(fresh: ImbalanceEpisode) -> ImbalanceEpisode:
    """An episode that has been started."""
    fresh.imbalance_start()
    return fresh
