"""What the tests of exports share: recorded runs, and a trial whose every text is hostile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_rltask.run.load import Run, load_run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Record, RequestLog, Usage
from tests.run.of_97dd2a8 import WRITTEN

__all__ = ["HOSTILE", "hostile_run", "request", "text", "user", "written"]

HOSTILE = "=cmd()\ud800\x00\x1b[31m</script>\n,\"'"


def written(name: str) -> Run:
    """Return a run that commit 97dd2a8 wrote."""
    return load_run(WRITTEN / name)


def request(**fields: Any) -> RequestLog:
    return RequestLog(
        **{
            "request_id": "req_1",
            "model": "claude-x",
            "stop_reason": "end_turn",
            "usage": Usage(10, 5, 3, 2),
            "cost_usd": 0.25,
            "latency_s": 1.5,
            **fields,
        }
    )


def text(role: str, said: str) -> dict[str, Any]:
    return {"role": role, "content": [{"type": "text", "text": said}]}


def user(said: str) -> dict[str, Any]:
    return text("user", said)


def hostile_run() -> Run:
    """Return a run of one trial in which a model wrote what breaks careless readers."""
    arguments = {"path": HOSTILE, HOSTILE: [float("nan"), 2**80, None, {"deep": float("inf")}]}
    use = {"type": "tool_use", "id": "toolu_1", "name": "run", "input": arguments}
    odd = {"type": "tool_use", "id": "toolu_2", "name": "run", "input": [1, HOSTILE]}
    answers = [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": HOSTILE, "is_error": True},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": [{"type": "text", "text": HOSTILE}]},
        {"type": "text", "text": "1 call remains"},
    ]
    thought = {"type": "thinking", "thinking": HOSTILE, "signature": "s"}
    record = Record(
        "test_a.py::test_a[run-00]",
        "a",
        "d" * 16,
        "claude-x",
        run=0,
        seed=42,
        outcome="failed",
        label=HOSTILE,
        reason=HOSTILE,
        score=0.25,
        threshold=0.5,
        metrics={"said": HOSTILE, "odd": float("nan"), "big": 2**80},
        info={"size": 3},
        system=HOSTILE,
        tools=[{"name": "run", "description": HOSTILE, "input_schema": {"type": "object", "properties": {}}}],
        messages=[
            user("Do it."),
            {"role": "assistant", "content": [thought, {"type": "text", "text": HOSTILE}, use, odd]},
            {"role": "user", "content": answers},
            text("assistant", "Done."),
        ],
        requests=[request(stop_reason="tool_use"), request()],
        turns=2,
        tool_calls=2,
        started="2026-11-28T17:45:57.968+00:00",
        seconds={"total": 3.0},
    )
    plan = PlannedTrial(record.trial_id, "test_a.py::test_a", "a", "d" * 16, "claude-x", 0, 42, (0.1, 0.4))
    return Run(Path("logs/run_1"), {"id": "i", "command": "pytest"}, [plan], {record.trial_id: record})
