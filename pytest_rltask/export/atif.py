"""Trajectories in ATIF 1.7, the Agent Trajectory Interchange Format of Harbor that NeMo Gym reads: one file a trial.

Texts that the harness adds to tool results, such as the remaining budget, are steps of the user, which is who says them
to a model. A reply of a policy or a person is a step of the agent without an inference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_rltask import __version__
from pytest_rltask.export.conversation import (
    Said,
    arguments_of,
    exchanges,
    functions,
    plain,
    result_of,
    text_of,
    thinking_of,
)
from pytest_rltask.export.selection import Selection
from pytest_rltask.export.target import new_file
from pytest_rltask.run.planned import transcript_path
from pytest_rltask.run.record import Record, RequestLog, clean_text

__all__ = ["no_conversation", "trajectory", "write_trajectories"]

SCHEMA = "ATIF-v1.7"


def no_conversation(record: Record) -> str:
    """Say that a trial ended before anything was said, which is no trajectory."""
    return "" if record.messages else "without a conversation"


def write_trajectories(selection: Selection, folder: Path) -> None:
    """Write a file for each trial.

    Raises:
        ExportError: a file is there already.
    """
    run_id = str(selection.run.header.get("id", ""))
    for _, record in selection.trials:
        name = transcript_path(folder, record.task, record.trial_id).with_suffix(".json").name
        with new_file(folder / name) as file:
            json.dump(trajectory(record, run_id), file, indent=1, allow_nan=False)


def trajectory(record: Record, run_id: str = "") -> dict[str, Any]:
    """Return a trial as a trajectory."""
    agent = {
        "name": "pytest-rltask",
        "version": __version__,
        "model_name": clean_text(record.model),
        "tool_definitions": functions(record),
    }
    steps = [{"step_id": number, **step} for number, step in enumerate(_steps(record), start=1)]
    return {
        "schema_version": SCHEMA,
        "session_id": run_id or record.task_digest,
        "trajectory_id": clean_text(record.trial_id),
        "agent": agent,
        "steps": steps,
        "final_metrics": _totals(record, len(steps)),
        "extra": {
            "task": record.task,
            "task_digest": record.task_digest,
            "seed": record.seed,
            "run": record.run,
            "outcome": record.outcome,
            "label": clean_text(record.label),
            "reason": clean_text(record.reason),
            "score": record.score,
            "threshold": record.threshold,
            "stop": record.limit or record.stop,
            "metrics": plain(record.metrics),
            "info": plain(record.info),
        },
    }


def _steps(record: Record) -> Iterator[dict[str, Any]]:
    if record.system:
        yield {"source": "system", "message": clean_text(record.system)}
    last: dict[str, Any] | None = None
    for said in exchanges(record):
        if said.role == "assistant":
            if last:
                yield last
            last = _reply(said)
            continue
        results = [_result(block) for block in said.blocks if block.get("type") == "tool_result"]
        if last:
            yield last | ({"observation": {"results": results}} if results else {})
            last = None
        if text := text_of(said.blocks):
            yield {"source": "user", "message": text}
    if last:
        yield last


def _reply(said: Said) -> dict[str, Any]:
    request = said.request
    step: dict[str, Any] = {"source": "agent", "message": text_of(said.blocks)}
    calls = [
        {"tool_call_id": block["id"], "function_name": block["name"], "arguments": arguments_of(block)}
        for block in said.blocks
        if block.get("type") == "tool_use"
    ]
    if calls:
        step["tool_calls"] = calls
    is_inferred = request is not None and (request.usage.total > 0 or bool(request.request_id))
    step["llm_call_count"] = int(is_inferred)
    if is_inferred and request is not None:
        step |= {"model_name": clean_text(request.model), "metrics": _metrics(request)}
        if thinking := thinking_of(said.blocks):
            step["reasoning_content"] = thinking
    return step


def _result(block: dict[str, Any]) -> dict[str, Any]:
    told = {"source_call_id": block["tool_use_id"], "content": result_of(block)}
    return told | ({"extra": {"is_error": True}} if block.get("is_error") else {})


def _metrics(request: RequestLog) -> dict[str, Any]:
    usage = request.usage
    told: dict[str, Any] = {
        "prompt_tokens": usage.total - usage.output_tokens,
        "completion_tokens": usage.output_tokens,
        "cached_tokens": usage.cache_read_tokens,
        "extra": {"stop_reason": request.stop_reason, "latency_s": request.latency_s},
    }
    return told | ({} if request.cost_usd is None else {"cost_usd": float(request.cost_usd)})


def _totals(record: Record, steps: int) -> dict[str, Any]:
    usage = record.usage
    told: dict[str, Any] = {
        "total_prompt_tokens": usage.total - usage.output_tokens,
        "total_completion_tokens": usage.output_tokens,
        "total_cached_tokens": usage.cache_read_tokens,
        "total_steps": steps,
    }
    cost = record.player_cost_usd  # an agent's: judges are none
    return told | ({} if cost is None else {"total_cost_usd": float(cost)})
