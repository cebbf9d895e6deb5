"""From a conversation that has ended to the trial's outcome: what was tried, the grade, and how both are recorded."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from pytest_rltask.run.record import Record, clean_text
from pytest_rltask.task import Episode, Grade, Limits
from pytest_rltask.trial.guard import Worker, blamed, timed
from pytest_rltask.trial.turns import LIMIT_NAMES

__all__ = ["checked", "judge", "note_tried", "plain", "take_grade"]

STOP_LABELS = {
    "refusal": "refusal",
    "model_context_window_exceeded": "context window full",
}


async def note_tried(record: Record, episode: Episode, worker: Worker, limits: Limits) -> None:
    """Write into the record what the episode says was tried."""
    with blamed("what the episode tried"):
        tried = await worker.call(lambda: episode.tried, "what the episode tried", within_s=limits.tool_s)
        if not isinstance(tried, str):
            raise TypeError(f"tried is {tried!r}; it must be a string")
        record.tried = clean_text(tried)


async def judge(
    record: Record,
    episode: Episode,
    worker: Worker,
    limits: Limits,
    keep: Callable[[Record, Episode], None] | None = None,
) -> Grade:
    """Grade the episode, write outcome, label and reason into the record, and return the grade.

    Args:
        record: of the trial.
        episode: whose conversation has ended.
        worker: where its code runs.
        limits: of the trial.
        keep: called before the grader is, to keep what it reads.
    """

    def graded() -> Grade | Awaitable[Grade]:
        if not is_async:
            episode.finish()
        if keep is not None:
            keep(record, episode)
        return episode.grade()

    is_async = inspect.iscoroutinefunction(episode.finish)
    with timed(record, "grade"), blamed("the grader"):
        if is_async:
            await worker.awaited(episode.finish, "finish()", within_s=limits.tool_s)
        grade = checked(await worker.awaited(graded, "the grader", within_s=limits.tool_s), "grade")
        take_grade(record, grade)
    return grade


def checked(grade: Any, method: str) -> Grade:
    """Return a grade that can be used.

    Args:
        grade: what an episode returned.
        method: which of its methods did.

    Raises:
        TypeError: it is none.
        ValueError: it cannot be used.
    """
    if not isinstance(grade, Grade):
        raise TypeError(f"{method}() returned {grade!r}; it must return a Grade")
    if problem := grade.problem():
        raise ValueError(problem)
    return grade


def take_grade(record: Record, grade: Grade) -> None:
    """Write a grade, which has no problem, into a record, with outcome, label and reason."""
    record.metrics = plain(grade.metrics)
    record.threshold = None if grade.threshold is None else float(grade.threshold)
    record.grade_passed = None if grade.passed is None else bool(grade.passed)
    record.score = float(grade.score)
    if record.grade_passed is None and not grade.cheated:
        # The test's assertion decides; should the test never get there, nobody has judged the trial.
        record.label, record.reason = "not judged", "the grader names no threshold, and no assertion judged the trial"
        return
    record.outcome = "cheated" if grade.cheated else "passed" if grade.passed else "failed"
    if record.outcome != "passed":
        record.label, record.reason = map(clean_text, _explained(record, grade))


def _explained(record: Record, grade: Grade) -> tuple[str, str]:
    """Return label and reason of a trial that did not pass."""
    reason = grade.reason
    if not reason and grade.threshold is not None and not grade.score >= grade.threshold:
        reason = f"score {grade.score:g} is below the threshold {grade.threshold:g}"
    if grade.cheated:
        named = grade.label != Grade.label  # the default says that a score fell short, which is not what happened
        return grade.label if named else "tampering", reason or "the grader proved tampering"
    how = LIMIT_NAMES[record.limit] if record.limit else STOP_LABELS.get(record.stop)
    if how is None:
        return grade.label, reason
    label = how if grade.label == Grade.label else f"{grade.label} ({how})"  # the default says no more than the limit
    return label, f"{reason} (ended by: {how})" if reason else f"ended by: {how}"


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON can hold them: numbers of a library as Python's own, what is not finite as text."""
    return {clean_text(str(name)): _plain_value(value) for name, value in values.items()}


def _plain_value(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    match value:
        case None | bool():
            return value
        case int() if abs(value) < 2**63:
            return int(value)
        case int():
            return f"(a number of {int(value).bit_length()} bits)"
        case float():
            return float(value) if math.isfinite(value) else str(float(value))
    return clean_text(str(value))
