"""Training lines: prompt and completion as chat messages, tools, reward and label, one trial a line.

``datasets`` loads the file; TRL (prompt-completion with `tools`, and with `label` unpaired preference) and prime-rl
read it as it is. The reward is the grader's raw score, and 0 for a trial that cheated: nobody shall learn that.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, TextIO

from pytest_rltask.export.conversation import chat, functions, plain
from pytest_rltask.export.selection import Selection, no_reply, select
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Outcome, Record

__all__ = ["LEFT_OUT", "line", "select_lines", "write_lines"]

LEFT_OUT: tuple[Outcome, ...] = ("errored", "cheated")
"""What nobody trains on unless he says so."""


def select_lines(run: Run, *, include: Collection[Outcome] = (), only_passed: bool = False) -> Selection:
    """Choose the trials to train on."""
    return select(run, without=LEFT_OUT, include=include, only_passed=only_passed, unusable=no_reply)


def write_lines(selection: Selection, file: TextIO, *, strings: bool = False) -> None:
    """Write a line for each trial.

    Args:
        selection: the trials.
        file: where to.
        strings: whether tools, arguments and facts are JSON in strings, for a ``datasets`` before 4.7.
    """
    run_id = str(selection.run.header.get("id", ""))
    for trial, record in selection.trials:
        data = line(trial, record, run_id)
        file.write(json.dumps(_in_strings(data) if strings else data, allow_nan=False) + "\n")


def line(trial: PlannedTrial, record: Record, run_id: str = "") -> dict[str, Any]:
    """Return what one trial teaches."""
    prompt, completion = chat(record)
    return {
        "prompt": prompt,
        "completion": completion,
        "tools": functions(record),
        "reward": 0.0 if record.outcome == "cheated" else record.score,
        "label": record.outcome == "passed",
        "task": record.task,
        "model": record.model,
        "seed": record.seed,
        "run": record.run,
        "outcome": record.outcome,
        "reason": plain(record.label),
        "score": record.score,
        "threshold": record.threshold,
        "stop": record.limit or record.stop,
        "turns": record.turns,
        "trial_id": record.trial_id,
        "test": trial.test,
        "run_id": run_id,
        "task_digest": record.task_digest,
        "grader": record.graded_by,
        "info": {"metrics": plain(record.metrics), "facts": plain(record.info)},
    }


def _in_strings(data: dict[str, Any]) -> dict[str, Any]:
    """Put into strings what differs in shape from line to line: Arrow of old knows one shape for a column."""
    completion = [
        {**message, "tool_calls": [_call_in_strings(call) for call in message["tool_calls"]]}
        if "tool_calls" in message
        else message
        for message in data["completion"]
    ]
    return {**data, "completion": completion, "tools": json.dumps(data["tools"]), "info": json.dumps(data["info"])}


def _call_in_strings(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    return {**call, "function": {**function, "arguments": json.dumps(function["arguments"])}}
