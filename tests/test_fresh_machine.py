"""What works after `make bench` alone, without the test extras: every command that is started at the root.

tests/benchmarks/imbalance/test_imbalance_run.py plays trials on such a machine.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.extras import ROOT, hide_extras

REAL = "-k imbalance --runs 5 --source kaggle --sample-n 50000 --max-steps 4 --tau 0.75"


def python(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a Python at the root that has no test extras."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "ANTHROPIC"))}
    environment = own | {"PYTHONPATH": os.pathsep.join([hide_extras(tmp_path / "hidden"), str(ROOT)])}
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_extras_are_hidden_from_it(tmp_path: Path):
    failed = python(tmp_path, "-c", "import hypothesis")

    assert "ModuleNotFoundError: hypothesis is a test extra" in failed.stderr


@pytest.mark.parametrize("arguments", ["", REAL])
def test_it_starts_at_the_root(arguments: str, tmp_path: Path):
    pytest.importorskip("filelock", reason="needs what the tasks need")
    plain = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--model", "policy:baseline", "--plan"]

    run = python(tmp_path, "-m", "pytest", *shlex.split(arguments), *plain, f"--log-dir={tmp_path / 'logs'}")

    assert run.returncode == 0, run.stdout + run.stderr
