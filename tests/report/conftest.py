"""A run with every kind of outcome."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask.run.load import Run
from tests.report.pages import plan, record
from tests.support.browser import Browser


@pytest.fixture
def mixed(tmp_path: Path) -> Run:
    """A run with every outcome: one row in the band, one too easy, one incomplete."""
    good = plan("sums", "claude-haiku-4-5-20251001", 20)
    easy, broken = plan("sums", "policy:solver", 20), plan("words", "policy:null", 5)
    records = [record(trial, "passed", 0.9 + trial.run / 1000) for trial in [*good[:4], *easy]]
    records += [record(trial, "failed", 0.5 + trial.run / 100) for trial in good[4:17]]
    records += [record(good[17], "cheated", 1.0), record(good[18], "errored")]
    records += [record(trial, "errored") for trial in broken]
    header = {
        "schema": 1, "id": "f00d", "created": "2026-01-02T03:04:05+00:00", "command": "pytest --runs 20 'a b'",
        "gate": "point", "python": "3.11.7", "packages": {"pytest": "9.2.0", "pytest-rltask": "0.1.0"},
        "git_commit": "c0ffee",
    }  # fmt: skip
    return Run(tmp_path, header, [*good, *easy, *broken], {one.trial_id: one for one in records})


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser, shared by the tests of a process."""
    started = Browser(tmp_path_factory.mktemp("chromium"))
    yield started
    started.close()
