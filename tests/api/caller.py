"""What the tests of the scripted Messages API share: the SDK, as its caller."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import anthropic
import httpx2

from tests.support.messages_api import MessagesAPI, tool_use

KEY = "sk-test-0123456789"

ECHO: Any = {"name": "echo", "description": "Say it again.", "input_schema": {"type": "object"}}
CALL = tool_use("echo", {"text": "hi"})


class Caller:
    """The sync SDK, talking to one server."""

    def __init__(self, http: httpx2.Client) -> None:
        self.http = http

    def ask(self, api: MessagesAPI, *messages: Any, **more: Any) -> anthropic.types.Message:
        client = anthropic.Anthropic(base_url=api.base_url, api_key=KEY, max_retries=0, http_client=self.http)
        history = messages or ({"role": "user", "content": "go"},)
        params: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 100, "tools": [ECHO], **more}
        message: anthropic.types.Message = client.messages.create(messages=history, **params)
        return message

    def play(self, api: MessagesAPI, prompt: str = "go", *, retries: int = 0, **more: Any) -> list[Any]:
        """Play a whole conversation, echoing each call; return its history."""
        history: list[Any] = [{"role": "user", "content": prompt}]
        while True:
            try:
                message = self.ask(api, *history, **more)
            except anthropic.APIError:
                if not retries:
                    raise
                retries -= 1
                continue
            history.append({"role": "assistant", "content": message.content})
            if message.stop_reason != "tool_use":
                return history
            history.append({"role": "user", "content": results(message)})


def results(message: anthropic.types.Message) -> list[Any]:
    return [
        {"type": "tool_result", "tool_use_id": block.id, "content": json.dumps(block.input)}
        for block in message.content
        if block.type == "tool_use"
    ]


def in_async(api: MessagesAPI, use: Callable[[anthropic.AsyncAnthropic], Awaitable[Any]], **options: Any) -> Any:
    """Run a coroutine with an async client of its own, as our loop has it."""

    async def run() -> Any:
        async with anthropic.AsyncAnthropic(
            base_url=api.base_url, api_key=KEY, **{"max_retries": 0, **options}
        ) as client:
            return await use(client)

    return asyncio.run(run())


def create(client: anthropic.AsyncAnthropic, prompt: str = "go") -> Awaitable[anthropic.types.Message]:
    return client.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": prompt}]
    )
