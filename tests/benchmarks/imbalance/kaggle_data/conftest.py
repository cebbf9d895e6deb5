"""A machine without Kaggle, a stand-in server, and a local file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.imbalance import kaggle_download
from tests.benchmarks.imbalance.fake_kaggle import FakeKaggle
from tests.benchmarks.imbalance.kaggle_data.machine import CSV, NOWHERE


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without data, credentials and network; its parsed copies are in ``cache/pytest-rltask``."""
    for name in list(os.environ):
        if name.startswith("KAGGLE") or name.upper().endswith("_PROXY") or name == "CREDITCARD_DATA_DIR":
            monkeypatch.delenv(name)
    for name in ("HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOWHERE)
        monkeypatch.setenv(name.lower(), NOWHERE)
    for name, folder in (("HOME", "home"), ("XDG_CACHE_HOME", "cache"), ("KAGGLEHUB_CACHE", "kagglehub")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setattr(kaggle_download, "_PAUSE_S", 0.0)
    return tmp_path


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKaggle]:
    """Kaggle, within reach of the machine."""
    with FakeKaggle(CSV) as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def local_csv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that the user has."""
    csv = tmp_path / "mine" / "creditcard.csv"
    csv.parent.mkdir()
    csv.write_bytes(CSV)
    monkeypatch.setenv("CREDITCARD_DATA_DIR", str(csv.parent))
    return csv
