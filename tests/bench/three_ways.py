"""The same trial by hand (`Environment`), by a policy, and by Claude's side through a loopback Messages API.

    python -m tests.bench.three_ways --task imbalance --seeds 20

A policy plays first; then its calls are made by hand, and said by a scripted server to the real SDK. Results of tools,
reminders, score and metrics have to be equal.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
from collections.abc import Iterator
from typing import Any

from anthropic import AsyncAnthropic

from benchmarks.imbalance.task import Imbalance
from benchmarks.onnx_export.task import OnnxExport
from pytest_rltask import Environment, Record, Task, call, play_policy
from pytest_rltask.analysis.regrade import divergence
from pytest_rltask.models.claude import ClaudeModel
from pytest_rltask.trial.play import play
from tests.claude.desk import KEY, MODEL, spec_of
from tests.support.messages_api import MessagesAPI, reply, text, tool_use

GRADE = ("outcome", "score", "threshold", "metrics", "label", "tool_calls")
TASKS: dict[str, Task] = {"imbalance": Imbalance(), "onnx_export": OnnxExport()}


def by_policy(task: Task, seed: int, policy: str) -> Record:
    """Let a policy play."""
    return play_policy(task, policy, seed)


def by_hand(task: Task, seed: int, said: Record) -> Record:
    """Make the calls of a trial by hand."""
    with Environment(task) as env:
        env.reset(seed=seed)
        for content in _replies(said):
            calls = [call(block["name"], **block["input"]) for block in content if block["type"] == "tool_use"]
            words = "\n".join(block["text"] for block in content if block["type"] == "text")
            if env.step(calls, text=words).done:
                break
        env.grade()
        return env.record


def by_api(task: Task, seed: int, said: Record) -> Record:
    """Have a server say what was said in a trial."""
    script = [
        reply(*(text(one["text"]) if one["type"] == "text" else tool_use(one["name"], one["input"]) for one in content))
        for content in _replies(said)
    ]

    async def played(address: str) -> Record:
        async with AsyncAnthropic(base_url=address, api_key=KEY, max_retries=0) as client:
            spec = dataclasses.replace(spec_of(task, limits=task.limits), seed=seed)
            return await play(spec, ClaudeModel(MODEL, client))

    with MessagesAPI(script) as api:
        return asyncio.run(played(api.base_url))


def _replies(record: Record) -> Iterator[list[dict[str, Any]]]:
    """Yield what was said in each turn; a last one without words is a word, which the API demands."""
    said = [message["content"] for message in record.messages if message["role"] == "assistant"]
    yield from said
    if record.turns > len(said):
        yield [{"type": "text", "text": "Done."}]


def differences(task: Task, seed: int, policy: str) -> list[str]:
    """Play a seed in all three ways; name what differs, but for what two plays of a policy do not share."""
    first, again = by_policy(task, seed, policy), by_policy(task, seed, policy)
    found = []
    for way, play_again in {"by hand": by_hand, "by the API": by_api}.items():
        other = play_again(task, seed, first)
        unlike = [name for name in GRADE if getattr(other, name) != getattr(first, name)]
        found += [f"{way}: {name} is {getattr(other, name)!r}, not {getattr(first, name)!r}" for name in unlike]
        if said := divergence(first, other, again):
            found.append(f"{way}: {said}")
    return found


def main() -> None:
    """Print how many seeds are equal, and what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", choices=TASKS, default="imbalance")
    parser.add_argument("--policy", default="baseline")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args()
    equal = 0
    for seed in range(given.seed, given.seed + given.seeds):
        found = differences(TASKS[given.task], seed, given.policy)
        equal += not found
        for line in found:
            print(f"seed {seed}: {line[:500]}")
    print(f"{given.task} by {given.policy}: {equal} of {given.seeds} seeds equal in all three ways")


if __name__ == "__main__":
    main()
