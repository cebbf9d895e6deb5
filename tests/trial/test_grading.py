"""From a grade to outcome, label and reason, and what JSON can hold of what was measured: plain values in and out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask import Grade
from pytest_rltask.run.record import Record
from pytest_rltask.trial.grading import plain, take_grade


def graded(grade: Grade, *, stop: str = "end_turn", limit: str | None = None) -> Record:
    record = Record("bench[run-00]", "bench", "d", "fake", 0, 42, stop=stop, limit=limit)
    take_grade(record, grade)
    return record


SHORT = "score 0.5 is below the threshold 1"


@pytest.mark.parametrize(
    ("grade", "outcome", "label", "reason"),
    [
        (Grade(1.0, threshold=1.0), "passed", "", ""),
        (Grade(1.0, threshold=1.0, label="x", reason="y"), "passed", "", ""),
        (Grade(0.5, threshold=1.0), "failed", "score below threshold", SHORT),
        (Grade(0.5, threshold=1.0, label="low", reason="depth 3"), "failed", "low", "depth 3"),
        (Grade(1.0, threshold=1.0, passed=False), "failed", "score below threshold", ""),
        (Grade(0.5, threshold=1.0, passed=True), "passed", "", ""),
        (Grade(0.5, passed=False), "failed", "score below threshold", ""),
        (Grade(0.5, threshold=1.0, cheated=True), "cheated", "tampering", SHORT),
        (Grade(1.0, threshold=1.0, cheated=True), "cheated", "tampering", "the grader proved tampering"),
        (Grade(1.0, cheated=True, label="copied", reason="same bytes"), "cheated", "copied", "same bytes"),
        (Grade(1.0, cheated=True), "cheated", "tampering", "the grader proved tampering"),
    ],
)
def test_a_grade_decides_outcome_label_and_reason(grade: Grade, outcome: str, label: str, reason: str):
    record = graded(grade)

    assert (record.outcome, record.label, record.reason) == (outcome, label, reason)


def test_without_threshold_or_verdict_the_test_has_to_judge():
    record = graded(Grade(0.5))

    assert (record.outcome, record.label, record.grade_passed, record.threshold) == (
        "errored",
        "not judged",
        None,
        None,
    )
    assert record.score == 0.5


@pytest.mark.parametrize(
    ("ended", "label"),
    [
        ({"limit": "turns"}, "turn limit"),
        ({"limit": "wall"}, "time limit"),
        ({"stop": "refusal"}, "refusal"),
        ({"stop": "model_context_window_exceeded"}, "context window full"),
    ],
)
def test_how_a_conversation_ended_names_what_did_not_pass(ended: dict[str, str], label: str):
    told, untold = graded(Grade(0.5, threshold=1.0), **ended), graded(Grade(0.5, passed=False), **ended)

    assert (told.label, told.reason) == (label, f"{SHORT} (ended by: {label})")
    assert (untold.label, untold.reason) == (label, f"ended by: {label}")
    assert graded(Grade(0.5, threshold=1.0, cheated=True), **ended).label == "tampering"
    assert graded(Grade(1.0, threshold=1.0), **ended).label == ""


def test_labels_and_reasons_that_no_file_can_hold_are_cleaned():
    record = graded(Grade(0.5, threshold=1.0, label="a\ud800", reason="b\ud800"))

    assert (record.label, record.reason) == ("a?", "b?")


@pytest.mark.parametrize(
    ("value", "held"),
    [
        (None, None),
        (True, True),
        (np.False_, False),
        (7, 7),
        (np.int64(-7), -7),
        (2**63 - 1, 2**63 - 1),
        (-(2**63) + 1, -(2**63) + 1),
        (2**63, "(a number of 64 bits)"),
        (-(2**63), "(a number of 64 bits)"),
        (10**30, "(a number of 100 bits)"),
        (0.5, 0.5),
        (np.float32(0.5), 0.5),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (np.float64("nan"), "nan"),
        ("text \ud800", "text ?"),
        (Path("a/b"), "a/b"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_what_was_measured_is_held_as_json_can(value: Any, held: Any):
    shown = plain({"x": value})["x"]

    assert (shown, type(shown)) == (held, type(held))


@given(st.dictionaries(st.text(st.characters()), st.integers() | st.floats() | st.text(st.characters()) | st.none()))
def test_whatever_was_measured_can_be_written(values: dict[str, Any]):
    held = plain(values)

    assert json.loads(json.dumps(held, allow_nan=False)) == held
