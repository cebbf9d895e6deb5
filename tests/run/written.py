"""What the tests of run directories share: a header, records, and another process that writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import SCHEMA_VERSION, Record

ROOT = Path(__file__).parents[2]
HEADER = {"schema": SCHEMA_VERSION, "id": "a", "command": "pytest"}


def record_of(trial_id: str = "test_sum[run-00]", **fields: Any) -> Record:
    return Record(trial_id, "sum", "d" * 16, "policy:null", run=0, seed=42, **{"outcome": "failed", **fields})


def planned(trial_id: str = "test_sum[run-00]") -> PlannedTrial:
    return PlannedTrial(trial_id, "test_sum", "sum", "d" * 16, "policy:null", 0, 42, (0.1, 0.4))


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another Python process with the tests importable."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=ROOT)
