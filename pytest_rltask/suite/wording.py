"""What pytest's reports say of one trial, in words and in JUnit's properties."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.report.command_line import short_path
from pytest_rltask.report.visible import for_log
from pytest_rltask.run.record import Fault, Outcome, Record, cost_text, error_text, outcome_word
from pytest_rltask.suite.options import JUNIT_MISSED

__all__ = ["assertion_text", "explained", "explained_amendment", "is_skipped_in_junit", "oneline", "properties"]


def assertion_text(call: pytest.CallInfo[Any]) -> str:
    """Return the first line of what the test's assertion said."""
    lines = error_text(call.excinfo.value).splitlines() if call.excinfo else []
    return lines[0] if lines else ""


def explained_amendment(record: Record, outcome: Outcome, said: str) -> str:
    """Return why a record gets another outcome: what the test's assertion said, and whom it overruled."""
    if record.grade_passed is None or outcome == "errored":
        return said
    graded: Outcome = (
        "passed" if record.grade_passed else "failed"
    )  # the record may tell an earlier assertion's outcome
    if outcome == graded:
        return said or "the test's assertion agrees with the grader"
    return f"the test's assertion overruled the grader, which said {outcome_word(graded)}" + (said and f": {said}")


def explained(fault: Fault) -> str:
    """Return what an errored item says."""
    request = f" [request {fault.request_id}]" if fault.request_id else ""
    details = fault.details.rstrip()
    told = fault.message.split("\n", 1)
    if len(told) > 1 and details.endswith(told[1].rstrip()):  # a long message, which its traceback repeats
        details = details.removesuffix(told[1].rstrip()).rstrip()
    details = f"\n{details}" if details else ""
    return for_log(f"errored trial, {fault.kind} fault: {fault.message}{request}{details}")


def oneline(record: Record) -> str:
    """Return outcome, score and reason of a trial."""
    if record.fault is not None:
        return outcome_word(record.outcome)  # the error itself says why
    score = "no grade" if record.score is None else f"score {record.score:g}"
    return for_log(f"{outcome_word(record.outcome)}: {score}" + (f"; {record.reason}" if record.reason else ""))


def properties(record: Record, transcript: Path | None) -> list[tuple[str, object]]:
    """Return what JUnit shall say of a trial: flat, plain values, and nothing of what there is not.

    Args:
        record: of the trial.
        transcript: where it can be read.
    """
    cost = record.cost_usd
    told = [
        ("task", record.task),
        ("model", record.model),
        ("settings", ",".join(f"{key}={value}" for key, value in record.settings.items())),
        ("run", record.run),
        ("seed", record.seed),
        ("outcome", outcome_word(record.outcome)),
        ("label", record.label),
        ("score", record.score),
        ("threshold", record.threshold),
        ("turns", record.turns),
        ("cost_usd", cost_text(None, record.known_cost_usd) if cost is None else round(cost, 6)),
        ("judge_cost_usd", record.judge_cost_usd if record.judge_requests else None),
        ("transcript", short_path(transcript) if transcript else None),
    ]
    return [(name, value) for name, value in told if value is not None and value != ""]


def is_skipped_in_junit(config: pytest.Config) -> bool:
    """Say whether a missed trial is a skipped test to JUnit XML, and not one that passed.

    Raises:
        pytest.UsageError: the ini setting says neither.
    """
    said = config.getini(JUNIT_MISSED)
    if said not in ("passed", "skipped"):
        raise pytest.UsageError(
            f"ini setting {JUNIT_MISSED}: {said} is not passed or skipped; write {JUNIT_MISSED} = passed"
        )
    return bool(said == "skipped")
