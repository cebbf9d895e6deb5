"""``--changed``: what to do with recorded trials once what grades them has changed.

Grades of two graders make no rate. So the trials of a task and model go on only in one of three ways, which the user
chooses: to grade them anew, to play them again, or to count them as they are, which every report then says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_rltask.graders.fingerprint import Grader
from pytest_rltask.run.load import Run, load_grader
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Record, outcome_word
from pytest_rltask.task import Grade

__all__ = [
    "WAYS",
    "Changed",
    "all_changed",
    "is_accepted",
    "known_grader",
    "plan_table",
    "play_again",
    "regraded_by_score",
    "reuse",
]

WAYS = {
    "regrade": "grade the recorded trials anew, without a model",
    "rerun": "play them again",
    "reuse": "count them as they are, which every report will say",
}


@dataclass(frozen=True)
class Changed:
    """The recorded trials of a test and model whose grades are not by what grades now."""

    today: PlannedTrial
    """One of the trials that are planned now."""
    records: list[Record]
    words: str
    """What differs, in a phrase."""
    thresholds: Mapping[float, float] | None
    """What became of each threshold if nothing but thresholds differs, or the test function; else None."""


def all_changed(
    run: Run, planned: Iterable[PlannedTrial], graders: Mapping[str, Grader], way: str | None = None
) -> list[Changed]:
    """Return what has changed since trials of a run were graded, one for each test and model.

    Args:
        run: as recorded.
        planned: what is to be played now. Trials of the same test and model count that it leaves out.
        graders: what grades now, by digest.
        way: what is to become of them; what was reused before is told only if it is to be no more.
    """
    todays = {(trial.test, trial.model): trial for trial in planned}
    groups: dict[tuple[str, str], list[Record]] = {}
    for old in run.plan:
        record, today = run.records.get(old.trial_id), todays.get((old.test, old.model))
        if not record or not today or not record.graded or not today.grader:
            continue
        grader = record.graded_by if way in ("regrade", "rerun") else record.grader
        if grader != today.grader:
            groups.setdefault((old.test, old.model), []).append(record)
    return [_changed(run, todays[key], records, graders) for key, records in groups.items()]


def is_accepted(record: Record, today: PlannedTrial) -> bool:
    """Say whether the user had a trial counted as it is, though what grades now is not what graded it."""
    return any(step.how == "reuse" and step.grader == today.grader for step in record.history)


def _changed(run: Run, today: PlannedTrial, records: list[Record], graders: Mapping[str, Grader]) -> Changed:
    new = graders[today.grader]
    olds = [known_grader(run.path, digest) for digest in dict.fromkeys(record.graded_by for record in records)]
    phrases: list[str] = []
    for old in olds:
        if old is None:
            phrases.append("an earlier version did not record what graded it")
            phrases += sorted(
                f"its parameters differ (digest was {digest}, is {today.task_digest})"
                for digest in {record.task_digest for record in records}
                if digest != today.task_digest
            )
        else:
            phrases += old.differences(new)
    only = olds[0].thresholds(new) if len(olds) == 1 and olds[0] else None
    return Changed(today, records, "; ".join(dict.fromkeys(phrases)), only)


def known_grader(path: Path, digest: str) -> Grader | None:
    """Return a grader that a run directory knows; None if it does not."""
    data = load_grader(path, digest)
    try:
        return Grader.from_json(data) if data else None
    except TypeError:
        return None


def regraded_by_score(changed: Changed, record: Record) -> Record | None:
    """Return a trial graded anew from its recorded score; None if that does not say what it would get now."""
    if changed.thresholds is None:
        return None
    new = dataclasses.replace(record, task_digest=changed.today.task_digest)
    if record.outcome == "cheated" or record.score is None:
        return new
    was, passed = record.threshold, record.grade_passed
    is_by_threshold = was is not None and passed == (record.score >= was)
    if was in changed.thresholds and not is_by_threshold:
        return None  # the grader saw to more than the threshold
    threshold = None if was is None else changed.thresholds.get(was, was)
    judged = {True: "passed", False: "failed", None: "errored"}[passed]
    if threshold != was or record.outcome != judged:  # of another assertion, which judges no more
        from pytest_rltask.trial.play import take_grade

        new.outcome, new.label, new.reason = "errored", "", ""
        verdict = None if is_by_threshold else passed
        take_grade(new, Grade(record.score, threshold=threshold, passed=verdict, metrics=record.metrics))
    return new


def play_again(changed: Iterable[Changed], writer: RunWriter) -> None:
    """Have trials played again; what they were stays on disk, and what they cost is counted."""
    for one in changed:
        for record in one.records:
            writer.supersede(record.trial_id, one.words)


def reuse(changed: Iterable[Changed], writer: RunWriter) -> None:
    """Have trials counted as they are."""
    for one in changed:
        for record in one.records:
            now = {"task_digest": one.today.task_digest}
            writer.step(record, "reuse", now, grader=one.today.grader, changes=one.words)


def plan_table(changed: Changed, way: str | None) -> Iterator[tuple[str, ...]]:
    """Yield the lines of a table, the first of which names its columns: what each way does to each trial."""
    ways = [way] if way else list(WAYS)
    yield ("trial", "recorded", *ways)
    for record in changed.records:
        would: dict[str, Any] = {
            "regrade": _regraded(changed, record),
            "rerun": "played again",
            "reuse": f"counts as {outcome_word(record.outcome)}",
        }
        name = record.trial_id.partition("::")[2] or record.trial_id
        yield (name, _told(record), *(would[one] for one in ways))


def _regraded(changed: Changed, record: Record) -> str:
    new = regraded_by_score(changed, record)
    if new is None:
        return "by what was kept, or a replay" if record.artifacts else "by replay of its calls"
    return f"by its score: {_told(new)}"


def _told(record: Record) -> str:
    score = "" if record.score is None else f", {record.score:g}"
    threshold = "" if record.threshold is None else f" of {record.threshold:g}"
    return f"{outcome_word(record.outcome)}{score}{threshold}"
