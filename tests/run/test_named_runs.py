"""Which run directory a person means: a path, the last one, a part of a name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.named import find_run


def made(path: Path, **header: Any) -> Path:
    RunWriter(path, "main", {"id": path.name, "schema": 1, "command": "pytest", **header})
    return path


def test_the_last_run_is_the_one_created_last_and_of_one_moment_that_of_the_higher_number(tmp_path: Path):
    one = made(tmp_path / "logs" / "run_9", created="2026-11-28T10:00:00")
    two = made(tmp_path / "logs" / "run_1", created="2026-11-28T11:00:00")
    made(tmp_path / "logs" / "run_5", created="2026-11-28T09:00:00")
    made(tmp_path / "logs" / "other", created="2026-11-28T23:00:00")
    assert find_run("last", tmp_path / "logs", tmp_path) == two

    for number in ("2", "10", "9"):
        made(tmp_path / "logs" / f"run_1_{number}", created="2026-11-28T11:00:00")
    assert find_run("last", tmp_path / "logs", tmp_path) == tmp_path / "logs" / "run_1_10"
    assert find_run("logs/run_9", tmp_path / "logs", tmp_path) == one


def test_what_is_no_run_is_passed_over_and_one_of_a_later_version_is_not(tmp_path: Path):
    one = made(tmp_path / "run_1", created="2026-11-28T10:00:00")
    (tmp_path / "run_2").mkdir()
    assert find_run("last", tmp_path, tmp_path) == one

    later = made(tmp_path / "run_0", schema=99, created="2025")
    assert find_run("last", tmp_path, tmp_path) == later


def test_without_any_run_there_is_no_last(tmp_path: Path):
    with pytest.raises(RunLogError, match="holds no run directory"):
        find_run("last", tmp_path, tmp_path)


def test_a_part_of_one_name_is_enough(tmp_path: Path):
    logs = tmp_path / "logs"
    one = made(logs / "run_20261128_100000", created="2026-11-28T10:00:00")
    two = made(logs / "run_20261128_100000_2", created="2026-11-28T10:00:00")
    made(logs / "run_20261129_090000", created="2026-11-29T09:00:00")
    assert find_run("00_2", logs, tmp_path) == two
    assert find_run("run_20261128_100000", logs, tmp_path) == one, "a whole name is that run, though others begin alike"
    with pytest.raises(RunLogError, match=r"2 runs of .* have it in their name, .* run_20261128_100000, run_2026"):
        find_run("1128", logs, tmp_path)
    assert find_run("1130", logs, tmp_path) == tmp_path / "1130", "a path that is not there, as whoever loads it says"
