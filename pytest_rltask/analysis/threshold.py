"""``rltask regrade --threshold``: recorded scores held against another threshold, without the task's code.

That says what the trials would get only where their grades are nothing but ``score >= threshold``, which the records
show or refute. What grades them then is the recorded grader with that threshold, which is a grader of its own: trials
of the two share no rate, and ``--resume`` asks what is to become of them, as after any change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from pytest_rltask.analysis.changed import known_grader
from pytest_rltask.graders.fingerprint import Grader
from pytest_rltask.run.amendments import GRADE_FIELDS
from pytest_rltask.run.load import Run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Record
from pytest_rltask.task import Grade

__all__ = ["GIVEN", "contradiction", "regrade_at"]

GIVEN = "threshold given"
"""What stands in a grader's fields beside those of its task, where a threshold was given by hand."""


def contradiction(records: Iterable[Record]) -> str:
    """Say why a threshold alone does not tell what trials would get; empty if it does."""
    graded = [record for record in records if record.score is not None and record.outcome != "cheated"]
    if not graded:
        return "no trial has a score"
    for record in graded:
        name = record.trial_id.partition("::")[2] or record.trial_id
        assert record.score is not None, "it was asked for"
        if record.threshold is None or record.grade_passed is None:
            return f"the grade of {name} names no threshold: the test's assertion decides"
        if record.grade_passed != (record.score >= record.threshold):
            what = "passed" if record.grade_passed else "missed"
            return f"{name} {what} with {record.score:g} of {record.threshold:g}: its grader sees to more than that"
        if record.outcome != ("passed" if record.grade_passed else "failed"):
            return f"the test's assertion overruled the grader in {name}"
    return ""


def regrade_at(run: Run, trials: list[PlannedTrial], threshold: float, writer: RunWriter) -> None:
    """Grade the trials of tasks anew by another threshold.

    Args:
        run: as loaded.
        trials: of its plan, whose records contradict nothing.
        threshold: the score that passes.
        writer: of this process.
    """
    graders: dict[str, Grader] = {}
    for digest in {trial.grader for trial in trials}:
        old = known_grader(run.path, digest) or Grader(task="(not recorded)")
        graders[digest] = dataclasses.replace(old, fields=old.fields | {GIVEN: f"{threshold:g}"}, shapes={})
        writer.note_grader(graders[digest].digest, graders[digest].to_json())
    for trial in trials:
        record = run.records.get(trial.trial_id)
        if record is not None and record.graded:
            was = "" if record.threshold is None else f"was {record.threshold:g}, "
            said = f"the threshold {was}is {threshold:g}, given by hand"
            writer.step(record, "threshold", _now(record, threshold), grader=graders[trial.grader].digest, changes=said)
    ids = {trial.trial_id for trial in trials}
    writer.plan(
        [
            dataclasses.replace(trial, grader=graders[trial.grader].digest) if trial.trial_id in ids else trial
            for trial in run.plan
        ]
    )


def _now(record: Record, threshold: float) -> dict[str, Any]:
    """Return what a grade says at another threshold; one that proved a cheat still does."""
    from pytest_rltask.trial.grading import take_grade

    if record.outcome == "cheated" or record.score is None:
        return {"threshold": threshold}
    new = dataclasses.replace(record, label="", reason="")
    take_grade(new, Grade(record.score, threshold=threshold, metrics=record.metrics))
    if new.outcome == record.outcome == "failed" and record.label != Grade.label:
        # Why it scored what it did is still so; numbers in that sentence may be of then.
        new.label, new.reason = record.label, f"{record.reason} (told at a threshold of {record.threshold:g})"
    return {name: getattr(new, name) for name in GRADE_FIELDS if name not in ("fault", "task_digest")}
