"""ATIF: each trial is a trajectory of numbered steps, whose results belong to calls of the same step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.export.atif import no_conversation, trajectory, write_trajectories
from pytest_rltask.export.selection import select
from pytest_rltask.run.load import Run
from pytest_rltask.run.record import Record
from tests.export.exported import hostile_run, request, text, user, written

AGENTS_OWN = {"model_name", "reasoning_content", "tool_calls", "metrics", "llm_call_count"}


def check(document: dict[str, Any]) -> None:
    """Hold a trajectory against the rules of the format."""
    assert document["schema_version"] == "ATIF-v1.7"
    assert [step["step_id"] for step in document["steps"]] == list(range(1, len(document["steps"]) + 1))
    for step in document["steps"]:
        assert step["source"] in ("system", "user", "agent")
        assert step["source"] == "agent" or not AGENTS_OWN & step.keys()
        assert step.get("llm_call_count") != 0 or not {"metrics", "reasoning_content"} & step.keys()
        calls = {call["tool_call_id"] for call in step.get("tool_calls", ())}
        assert {result["source_call_id"] for result in step.get("observation", {"results": ()})["results"]} <= calls
        assert all(isinstance(call["arguments"], dict) for call in step.get("tool_calls", ()))
    json.dumps(document, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("run", [written("claude"), written("policies"), hostile_run()], ids=["claude", "all", "odd"])
def test_each_trial_is_a_valid_trajectory(run: Run, tmp_path: Path):
    selection = select(run, unusable=no_conversation)

    write_trajectories(selection, tmp_path)

    found = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    for document in found:
        check(document)
    assert {one["trajectory_id"] for one in found} == {record.trial_id for _, record in selection.trials}


def test_tokens_and_costs_add_up_with_replies_that_had_no_content():
    record = Record("t", "t", "d", "m", run=0, seed=0, messages=[user("prompt"), user("go on"), text("assistant", "!")])
    record.requests = [request(empty=True), request()]

    document = trajectory(record)

    steps = [step for step in document["steps"] if step["source"] == "agent"]
    assert [step["message"] for step in steps] == ["", "!"]
    assert sum(step["metrics"]["cost_usd"] for step in steps) == document["final_metrics"]["total_cost_usd"] == 0.5
    assert sum(step["metrics"]["prompt_tokens"] for step in steps) == 30
    assert document["final_metrics"]["total_prompt_tokens"] == 30


def test_a_policy_makes_no_inference():
    run = written("policies")
    record = run.records["guesses.py::test_guess[run-00]"]
    (step,) = [step for step in trajectory(record)["steps"] if step["source"] == "agent"]
    assert step["llm_call_count"] == 0
    assert step["observation"]["results"] == [{"source_call_id": "toolu_mixed_00", "content": "found"}]
