"""A table of trials as CSV: one line a trial, for a spreadsheet or pandas.

A cell of text never begins a formula and never holds a line end: labels and reasons may quote what a model wrote.
"""

from __future__ import annotations

import csv
from typing import Any, TextIO

from pytest_rltask.export.selection import Selection
from pytest_rltask.run.images import images_text
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Record, clean_text

__all__ = ["write_table"]

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What begins a formula, in its wide forms too. Texts are quoted: some spreadsheets take ``;`` for a cell's end."""


def write_table(selection: Selection, file: TextIO) -> None:
    """Write the table, with a column for each metric of a grader and each fact of an episode."""
    rows = [_row(trial, record) for trial, record in selection.trials]
    columns = list(dict.fromkeys(name for row in rows for name in row)) or list(_EMPTY)
    fixed = [name for name in columns if "." not in name]
    found = sorted(name for name in columns if "." in name)
    writer = csv.DictWriter(file, [*fixed, *found], restval="", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writeheader()
    writer.writerows({_cell(name): _cell(value) for name, value in row.items()} for row in rows)


def _row(trial: PlannedTrial, record: Record) -> dict[str, Any]:
    usage = record.usage
    return {
        "trial_id": record.trial_id,
        "test": trial.test,
        "task": record.task,
        "model": record.model,
        "run": record.run,
        "seed": record.seed,
        "outcome": record.outcome,
        "label": record.label,
        "reason": record.reason,
        "score": record.score,
        "threshold": record.threshold,
        "passed": record.outcome == "passed" if record.outcome != "errored" else None,
        "stop": record.limit or record.stop,
        "turns": record.turns,
        "tool_calls": record.tool_calls,
        "started": record.started,
        "seconds": record.seconds.get("total"),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cost_usd": record.cost_usd,
        "player_cost_usd": record.player_cost_usd,
        "judge_cost_usd": record.judge_cost_usd,
        "judge_tokens": record.judge_usage.total,
        "sandbox": record.sandbox,
        "images": images_text(record.images),
        "fault": record.fault.kind if record.fault else "",
        "grades_before": len(record.history),
        "task_digest": record.task_digest,
        "grader": record.graded_by,
        **{_cell(f"metric.{name}"): value for name, value in record.metrics.items()},
        **{_cell(f"info.{name}"): value for name, value in record.info.items()},
    }


_EMPTY = ("trial_id", "test", "task", "model", "run", "seed", "outcome", "label", "reason", "score", "threshold")


def _cell(value: Any) -> Any:
    """Return a value as a cell holds it."""
    if not isinstance(value, str):
        return value
    line = "".join(char if char.isprintable() else " " for char in clean_text(value))
    return f"'{line}" if line.lstrip().startswith(_FORMULA) else line
