"""What is said of a finished trial afterwards: a test's assertion judged it, or what grades it had changed.

Nothing is ever rewritten. Each process appends what it has to say to its own file, and whoever reads a run puts it
together by time: every record keeps all the grades that it had, and one record of a trial counts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, get_args

from pytest_rltask.run.record import Fault, Outcome, Record, Step, known_fields

__all__ = ["GRADE_FIELDS", "Amendments", "amend", "begun", "counting"]

GRADE_FIELDS = ("outcome", "label", "reason", "score", "threshold", "grade_passed", "metrics", "fault", "task_digest")
"""What of a record a grader decides, and the task whose grader it was."""


class Amendments:
    """What a run's files say of its finished trials, in any order of reading."""

    def __init__(self) -> None:
        self._assertions: dict[str, list[tuple[str, Outcome, str]]] = {}
        self._steps: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._superseded: dict[str, str] = {}

    def note(self, entry: dict[str, Any]) -> bool:
        """Take in a line of a file, and say whether it amends a trial.

        Raises:
            ValueError: it does not say what it ought to.
        """
        trial_id, at = str(entry.get("trial_id")), str(entry.get("at", ""))
        match entry.get("type"):
            case "assertion":
                try:
                    outcome, why = entry["outcome"], entry["why"]
                except KeyError as error:
                    raise ValueError(f"not a test's assertion: it has no {error}") from None
                self._assertions.setdefault(trial_id, []).append((at, _checked(outcome), why))
            case "step":
                if not isinstance(entry.get("now"), dict):
                    raise ValueError("not a step of a grade: it has no 'now'")
                _checked(entry["now"].get("outcome", "failed"))
                self._steps.setdefault((trial_id, str(entry.get("started", ""))), []).append(entry)
            case "superseded":
                self._superseded[trial_id] = max(at, self._superseded.get(trial_id, ""))
            case _:
                return False
        return True

    def counted(self, records: Iterable[Record]) -> tuple[Record | None, list[Record]]:
        """Return, of all records of a trial, the one that counts, and those that do not; each with its last grade.

        That is the first to reach a grade, so that nothing can be played until it passes; if none did, the last one;
        and none that is to be played again since its grader changed.
        """
        counts: Record | None = None
        rest: list[Record] = []
        for record in map(self._amended, records):
            if record.started < self._superseded.get(record.trial_id, ""):
                rest.append(record)
            elif counts is None:
                counts = record
            else:
                counts, other = counting(counts, record)
                rest.append(other)
        return counts, rest

    def is_asserted(self, record: Record) -> bool:
        """Say whether a test's assertion has judged the grade that a record has now."""
        since = max(record.started, record.history[-1].at if record.history else "")
        return any(at >= since or not at for at, *_ in self._assertions.get(record.trial_id, ()))

    def _amended(self, record: Record) -> Record:
        """Return a record as all that was said since leaves it; that record itself stays as it is."""
        steps = self._steps.get((record.trial_id, record.started), ())
        asserted = self._assertions.get(record.trial_id, ())
        if not steps and not asserted:
            return record
        record = dataclasses.replace(record, history=list(record.history))
        for step in sorted(steps, key=lambda step: str(step.get("at"))):
            _assert_on(record, [one for one in asserted if one[0] < str(step.get("at"))])
            _take(record, step)
        last = record.history[-1].at if record.history else ""
        _assert_on(record, [one for one in asserted if one[0] >= last])
        return record


def _assert_on(record: Record, asserted: Iterable[tuple[str, Outcome, str]]) -> None:
    """Let assertions judge a record, the last one last; those on an earlier record of the trial do not."""
    for at, outcome, why in sorted(asserted, key=lambda one: one[0]):
        if record.graded and (not at or at >= record.started):
            amend(record, outcome, why)


def _take(record: Record, step: dict[str, Any]) -> None:
    """Let a record have the grade that a step gave it, and keep what it had."""
    before = {name: getattr(record, name) for name in (*GRADE_FIELDS, "grader")}
    before["fault"] = dataclasses.asdict(record.fault) if record.fault else None
    for name, value in step["now"].items():
        if name in GRADE_FIELDS:
            setattr(record, name, value)
    fault = step["now"].get("fault")
    record.fault = Fault(**known_fields(Fault, fault)) if fault else None if "fault" in step["now"] else record.fault
    record.grader = str(step.get("grader", ""))
    how: Any = step["how"] if step.get("how") in ("threshold", "artifacts", "replay") else "reuse"
    record.history.append(Step(how, str(step.get("at")), record.grader, str(step.get("changes", "")), before))


def _checked(outcome: object) -> Outcome:
    if outcome not in get_args(Outcome):
        raise ValueError(f"unknown outcome {outcome!r}")
    return outcome  # type: ignore[return-value]


def amend(record: Record, outcome: Outcome, why: str) -> None:
    """Let the test's assertion overrule the grader in a record."""
    changed = record.outcome != outcome
    record.outcome, record.reason = outcome, why or record.reason
    if changed:
        record.label = {"passed": "", "errored": "not judged"}.get(outcome, "assertion")


def counting(one: Record, other: Record) -> tuple[Record, Record]:
    """Return, of two records of a trial, the one that counts and the other: the first with a grade, else the last."""
    if one.graded != other.graded:
        return (one, other) if one.graded else (other, one)
    earlier, later = (one, other) if one.started <= other.started else (other, one)
    return (earlier, later) if one.graded else (later, earlier)


def begun(record: Record, starts: Iterable[str]) -> str:
    """Return when a finished trial was begun, by what was written then; its record's own time is a little later."""
    return max((at for at in starts if at <= record.started), default=record.started)
