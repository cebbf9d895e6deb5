"""What the tests of the episode share: its tools, and conversations that are played with them."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from benchmarks.imbalance.task import Imbalance, ImbalanceEpisode
from pytest_rltask import Policy, PolicyView, ToolCall, ToolResult
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.run.record import Record
from pytest_rltask.trial.play import TrialSpec, play

SEED = 987_654_321
TOOLS = {
    "imbalance_start": {},
    "smote": {"ratio": 0.5, "k": 3},
    "set_class_weights": {"beta": 0.99},
    "use_focal": {"alpha": 0.4, "gamma": 2.0},
    "set_threshold": {"threshold": 0.3},
    "train": {"epochs": 1},
    "eval_on_val": {},
    "sweep_thresholds": {},
    "get_budget": {},
    "submit_answer": {},
}


@dataclass(frozen=True)
class Played:
    """A played trial: the text of each result and reminder, in order, and the record."""

    results: list[ToolResult]
    reminders: list[str]
    record: Record


def laid_out(task: Imbalance) -> ImbalanceEpisode:
    """Open an episode that is ready for its tools."""
    episode = task.open(SEED)
    episode.lay_out()
    return episode


def conversation(*turns: list[ToolCall] | ToolCall | str, task: Imbalance | None = None, steps: int = 10) -> Played:
    """Play turns through the harness's own loop."""
    heard: list[ToolResult] = []

    def moves(view: PolicyView) -> Generator[Any, Any, None]:
        for turn in turns:
            answer = yield turn
            heard.extend([answer] if isinstance(answer, ToolResult) else answer)

    class Scripted(Imbalance):
        policies: ClassVar[Mapping[str, Policy]] = {"moves": moves}

    played = Scripted(**vars(task or Imbalance()))
    limits = replace(played.limits, turns=steps)
    spec = TrialSpec("trial", played, "imbalance", "policy:moves", 0, SEED, limits)
    record = asyncio.run(play(spec, PolicyModel("moves")))
    blocks = [block for message in record.messages[1:] if message["role"] == "user" for block in message["content"]]
    results = [ToolResult(b["content"], b.get("is_error", False)) for b in blocks if b["type"] == "tool_result"]
    return Played(results, [block["text"] for block in blocks if block["type"] == "text"], record)
