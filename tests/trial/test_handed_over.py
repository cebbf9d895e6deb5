"""A finished trial as the fixture hands it to the test: score, grade, reason and metrics of its record."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_rltask import Grade
from pytest_rltask.run.record import Record
from pytest_rltask.tools import DefinitionError
from pytest_rltask.trial.play import Trial
from tests.support.workbench import Bench, play_bench


def trial(**grade: Any) -> Trial:
    task = Bench({"grade": lambda: Grade(**grade)})
    return Trial(task, play_bench(task))


def test_a_trial_that_passed_has_a_score_and_no_reason():
    passed = trial(score=0.75, threshold=0.5, metrics={"loss": 0.25})

    assert (passed.score, passed.passed, passed.reason, passed.metrics) == (0.75, True, "", {"loss": 0.25})
    assert isinstance(passed.task, Bench)


def test_a_trial_that_missed_says_why():
    missed = trial(score=0.25, threshold=0.5, reason="depth 3")

    assert (missed.score, missed.passed, missed.reason) == (0.25, False, "depth 3")


def test_where_the_grader_gave_no_verdict_nobody_but_the_test_can_say():
    with pytest.raises(DefinitionError, match="names no threshold"):
        _ = trial(score=0.25).passed


def test_a_trial_without_a_grade_has_no_score():
    with pytest.raises(AssertionError, match="a judged trial has a score"):
        _ = Trial(Bench(), Record("t[run-00]", "t", "d", "fake", 0, 0)).score
