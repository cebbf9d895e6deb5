"""What does the trial loop cost over the bare SDK? CPU time per turn of both, and their ratio (target: at most 1.5).

Run as `make bench-overhead`. A scripted Messages API runs in a process of its own; this process plays the same
conversation against it again and again, each of `--turns` tool calls and a last word, in two ways:

bare    what a person would write by hand and no more: `client.messages.create` in a loop, the tool's result
        appended. No validation, no limits, no retries, no price, no record.
ours    `play(TrialSpec(...), ClaudeModel(...))`: the whole trial from opening the episode to its grade.

Both send the very same requests (growing history, tools, automatic cache_control, results), which is checked before
anything is measured, with one client each on one event loop. They alternate, so that a noisy machine hits both
alike. CPU time is that of this process, all its threads included; the server's is not counted. The ratio is that
of each pair of neighbours, and its median is what counts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from anthropic import AsyncAnthropic

from pytest_rltask import Episode, Grade, Limits, Task, tool
from pytest_rltask.models.claude import REPLY_TIMEOUT_S, ClaudeModel
from pytest_rltask.tools import tools_of
from pytest_rltask.trial.play import TrialSpec, play
from tests.support.messages_api import MessagesAPI, echo_script

MODEL = "claude-haiku-4-5-20251001"
PROMPT = "Say hello until I tell you to stop. " * 20
REPLY_TOKENS = 16_000
TARGET = 1.5


class EchoEpisode(Episode):
    """One tool that costs nothing, so that only the loop around it shows."""

    @property
    def prompt(self) -> str:
        return PROMPT

    @tool
    def echo(self, text: str) -> str:
        """Return the text.

        Args:
            text: What to return.
        """
        return text

    def grade(self) -> Grade:
        return Grade(1.0, threshold=1.0)


@dataclass(frozen=True)
class Echo(Task):
    """The task that is played."""

    def open(self, seed: int) -> Episode:
        return EchoEpisode()


async def bare(client: AsyncAnthropic) -> None:
    """Play one conversation with nothing but the SDK."""
    tools: Any = [tool.param for tool in tools_of(EchoEpisode()).values()]
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
    while True:
        message = await client.messages.create(
            model=MODEL,
            max_tokens=REPLY_TOKENS,
            cache_control={"type": "ephemeral"},
            timeout=REPLY_TIMEOUT_S,
            messages=messages,
            tools=tools,
        )
        messages.append({"role": "assistant", "content": [block.to_dict() for block in message.content]})
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": block.input["text"]}
            for block in message.content
            if block.type == "tool_use"
        ]
        if not results:
            return
        messages.append({"role": "user", "content": results})


async def ours(client: AsyncAnthropic, turns: int) -> None:
    """Play one conversation as a trial."""
    limits = Limits(turns=2 * turns + 20, reply_tokens=REPLY_TOKENS)  # so many that it is never told how few remain
    spec = TrialSpec("echo[run-00]", Echo(), "echo", MODEL, run=0, seed=42, limits=limits)
    record = await play(spec, ClaudeModel(MODEL, client))
    assert record.outcome == "passed", record.reason


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=20, help="tool calls in a conversation")
    parser.add_argument("--repeats", type=int, default=40, help="conversations played each way")
    options = parser.parse_args()
    asyncio.run(check_same_requests(options.turns))
    with server(options.turns) as base_url:
        pairs = asyncio.run(measure(base_url, options.turns, options.repeats))
    turns = options.turns + 1
    by_hand, as_trial = (statistics.median(side) / turns * 1000 for side in zip(*pairs, strict=True))
    ratio = statistics.median(ours_s / bare_s for bare_s, ours_s in pairs)
    print(f"CPU per turn with the bare SDK: {by_hand:6.2f} ms (median of {len(pairs)} conversations of {turns} turns)")
    print(f"CPU per turn as a trial:        {as_trial:6.2f} ms")
    print(f"ratio:                          {ratio:6.2f} (target: at most {TARGET})")


async def measure(base_url: str, turns: int, repeats: int) -> list[tuple[float, float]]:
    """Return the CPU seconds of each pair of conversations, bare and ours."""
    async with clients(base_url) as (one, other):
        await cpu_s(lambda: bare(one))  # imports, connections, caches
        await cpu_s(lambda: ours(other, turns))
        return [(await cpu_s(lambda: bare(one)), await cpu_s(lambda: ours(other, turns))) for _ in range(repeats)]


async def cpu_s(conversation: Callable[[], Awaitable[None]]) -> float:
    """Return the CPU seconds of this process in one conversation."""
    begin = time.process_time()
    await conversation()
    return time.process_time() - begin


async def check_same_requests(turns: int) -> None:
    """Make sure that both ways send the same, the ids of the tool calls aside."""
    with MessagesAPI(echo_script(turns)) as api:
        async with clients(api.base_url) as (one, other):
            await bare(one)
            await ours(other, turns)
        by_hand, as_trial = ([_without_ids(seen.body) for seen in seen] for seen in api.conversations.values())
    assert by_hand == as_trial, "the bare loop and the trial send different requests"


@contextlib.asynccontextmanager
async def clients(base_url: str) -> Any:
    """Open a client for each way."""
    async with (
        AsyncAnthropic(base_url=base_url, api_key="none", max_retries=0) as one,
        AsyncAnthropic(base_url=base_url, api_key="none", max_retries=0) as other,
    ):
        yield one, other


@contextlib.contextmanager
def server(turns: int) -> Iterator[str]:
    """Run the Messages API in a process of its own; it ends when its stdin closes."""
    command = [sys.executable, "-m", "tests.support.messages_api", "--port", "0", "--turns", str(turns)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def _without_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_ids(entry) for key, entry in value.items() if key not in ("id", "tool_use_id")}
    return [_without_ids(entry) for entry in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
