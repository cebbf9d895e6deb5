"""What pytest's reports say of one trial, in words and in JUnit's properties."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_rltask.run.record import Fault, Outcome, Record, cost_text, error_text

__all__ = ["assertion_text", "explained", "explained_amendment", "oneline", "properties"]


def assertion_text(call: pytest.CallInfo[Any]) -> str:
    """Return the first line of what the test's assertion said."""
    lines = error_text(call.excinfo.value).splitlines() if call.excinfo else []
    return lines[0] if lines else ""


def explained_amendment(record: Record, outcome: Outcome, said: str) -> str:
    """Return why a record gets another outcome: what the test's assertion said, and whom it overruled."""
    if record.grade_passed is None or outcome == "errored":
        return said
    graded = "passed" if record.grade_passed else "failed"  # the record may tell an earlier assertion's outcome
    if outcome == graded:
        return said or "the test's assertion agrees with the grader"
    return f"the test's assertion overruled the grader, which said {graded}" + (said and f": {said}")


def explained(fault: Fault) -> str:
    """Return what an errored item says."""
    request = f" [request {fault.request_id}]" if fault.request_id else ""
    details = fault.details.rstrip()
    told = fault.message.split("\n", 1)
    if len(told) > 1 and details.endswith(told[1].rstrip()):  # a long message, which its traceback repeats
        details = details.removesuffix(told[1].rstrip()).rstrip()
    details = f"\n{details}" if details else ""
    return f"errored trial, {fault.kind} fault: {fault.message}{request}{details}"


def oneline(record: Record) -> str:
    """Return outcome, score and reason of a trial."""
    if record.fault is not None:
        return str(record.outcome)  # the error itself says why
    score = "no grade" if record.score is None else f"score {record.score:g}"
    return f"{record.outcome}: {score}" + (f"; {record.reason}" if record.reason else "")


def properties(record: Record) -> list[tuple[str, object]]:
    """Return what JUnit shall say of a trial: flat, plain values."""
    cost = record.cost_usd
    return [
        ("task", record.task),
        ("outcome", record.outcome),
        ("score", record.score),
        ("turns", record.turns),
        ("cost_usd", cost_text(None, record.known_cost_usd) if cost is None else round(cost, 6)),
    ]
