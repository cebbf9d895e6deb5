"""How many further runs are said to prove a verdict: the fewest, and never more than a thousand in all."""

from __future__ import annotations

import pytest

from pytest_rltask import verdict
from pytest_rltask.proof import proven
from pytest_rltask.task import Band
from pytest_rltask.verdict import judge


def more_runs(passed: int, judged: int) -> int | None:
    return judge(passed=passed, judged=judged, expected=judged, band=Band()).more_runs


def test_the_last_of_the_runs_up_to_which_it_is_said_counts(monkeypatch: pytest.MonkeyPatch):
    more = more_runs(3, 10)
    assert more is not None

    monkeypatch.setattr(verdict, "MOST_RUNS", 10 + more)
    assert more_runs(3, 10) == more
    monkeypatch.setattr(verdict, "MOST_RUNS", 10 + more - 1)
    assert more_runs(3, 10) is None


def test_of_more_than_a_thousand_runs_nothing_is_said():
    assert proven(346, 1000, Band()) is None
    assert proven(346, 1001, Band()) == "in band"

    assert more_runs(346, 1000) is None


def test_one_run_more_may_be_enough():
    assert proven(5, 5, Band()) is None
    assert proven(6, 6, Band()) == "too easy"

    assert more_runs(5, 5) == 1


def test_what_is_proven_needs_no_more_runs():
    assert more_runs(6, 6) is None
