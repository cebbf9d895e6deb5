"""Plays the conversations of `scale` with nothing but the SDK: what a person would write by hand, and no more.

Run as `python -m tests.bench.bare_sdk --trials 200 --concurrency 50 --transport httpx`: no validation, no limits, no
retries, no price, no record. With `--transport aiohttp` the SDK sends by its faster client, which the extra `fast`
installs.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

import anthropic

from tests.bench.scale import FIRST_SEED, MODEL, PROMPT, REPLY_TOKENS, TURNS

TIMEOUT_S = 600.0
"""Of one request, its connection included: the SDK's own 5 s for that are too few on a machine with other work."""

ADD: Any = {
    "name": "add",
    "description": "Add two numbers.",
    "input_schema": {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "description": "The first."},
            "b": {"type": "integer", "description": "The second."},
        },
        "required": ["a", "b"],
        "additionalProperties": False,
    },
}


async def converse(client: anthropic.AsyncAnthropic, seed: int) -> bool:
    """Play one conversation, and say whether its last word is the right one."""
    messages: Any = [{"role": "user", "content": f"This is the trial of seed {seed}. {PROMPT}"}]
    while True:
        reply = await client.messages.create(
            model=MODEL,
            max_tokens=REPLY_TOKENS,
            cache_control={"type": "ephemeral"},
            messages=messages,
            tools=[ADD],
        )
        messages.append({"role": "assistant", "content": reply.content})
        results = [
            {"type": "tool_result", "tool_use_id": block.id, "content": str(block.input["a"] + block.input["b"])}
            for block in reply.content
            if block.type == "tool_use"
        ]
        if not results:
            return any(block.type == "text" and f"sum is {TURNS - 1}" in block.text for block in reply.content)
        messages.append({"role": "user", "content": results})


async def main() -> None:
    """Play all conversations, so many at a time."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--transport", choices=("httpx", "aiohttp"), required=True)
    options = parser.parse_args()
    places = asyncio.Semaphore(options.concurrency)
    http_client: Any = anthropic.DefaultAioHttpClient() if options.transport == "aiohttp" else None

    async with anthropic.AsyncAnthropic(max_retries=0, timeout=TIMEOUT_S, http_client=http_client) as client:

        async def one(seed: int) -> bool:
            async with places:
                return await converse(client, seed)

        seeds = range(FIRST_SEED, FIRST_SEED + options.trials)
        assert all(await asyncio.gather(*map(one, seeds))), "a conversation ended with another sum"


if __name__ == "__main__":
    asyncio.run(main())
