"""The sessions that the tests of the game play."""

from __future__ import annotations

import pytest

from benchmarks.imbalance.data import Dataset
from benchmarks.imbalance.session import Session
from tests.benchmarks.imbalance.session.game import SEED


@pytest.fixture
def session(tiny: Dataset) -> Session:
    """A session with three paid actions."""
    return Session(tiny, seed=SEED, max_steps=3)


@pytest.fixture
def rich(tiny: Dataset) -> Session:
    """A session with more paid actions than any test needs."""
    return Session(tiny, seed=SEED, max_steps=100)
