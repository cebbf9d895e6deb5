"""A writer of a run directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_rltask.run.log import RunWriter
from tests.run.written import HEADER, planned


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    """Writes to a new run directory that already has its plan."""
    writer = RunWriter(tmp_path / "run", "main", HEADER)
    writer.plan([planned()])
    return writer
