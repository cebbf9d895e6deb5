"""A scripted Messages API for an inner pytest, and replies that cost the same each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.support.messages_api import MessagesAPI, Reply, Script, Step, reply, tool_use

MODEL = "claude-haiku-4-5-20251001"
KEY = "sk-ant-a-key-to-recognise-0123456789"
EACH = 0.002
"""Dollars that a reply costs: 1000 tokens read at $1, and 200 written at $5 per million."""
Serve = Callable[[Script], MessagesAPI]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts a server that the inner pytest, and its workers, find through the environment."""
    with ExitStack() as stack:

        def start(script: Script) -> MessagesAPI:
            api = stack.enter_context(MessagesAPI(script))
            monkeypatch.setenv("ANTHROPIC_BASE_URL", api.base_url)
            monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
            return api

        yield start


def submits(number: int, **fields: Any) -> Reply:
    """Return a reply that submits a number."""
    usage = {"input_tokens": 1000, "output_tokens": 200}
    return reply(tool_use("submit", {"number": number}), usage=usage, **fields)


def every_third(body: dict[str, Any], turn: int) -> Step:
    """Answer each trial right or wrong by its seed."""
    seed = int(body["messages"][0]["content"][0]["text"].split()[3])
    return submits(seed + 1 if seed % 3 == 1 else 0)
