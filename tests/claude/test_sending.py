"""What is sent as a ready text is what the SDK would have sent, and is sent so only where nothing else looks at it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.resources.messages import DEPRECATED_MODELS

from pytest_rltask.models.sending import send

MODEL = "claude-haiku-4-5-20251001"
FIELDS: dict[str, Any] = {
    "max_tokens": 77,
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Grüße \u2028 \U0001f600"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "a", "name": "add", "input": {"a": 0.1, "b": None}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "1", "is_error": True}]},
    ],
    "model": MODEL,
    "system": "Be brief.",
    "tools": [{"name": "add", "description": "", "input_schema": {"type": "object"}}],
}
EXTRAS = {"cache_control": {"type": "ephemeral"}, "temperature": 0.5, "max_tokens": 78}


class OfOnesOwn(anthropic.AsyncAnthropic):
    """A client that may do as it likes with what it is given."""


def sent(kind: Callable[..., anthropic.AsyncAnthropic], **fields: Any) -> httpx2.Request:
    """Send a request by a client, and return what left it."""
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json={"content": []}, headers={"request-id": "req-1"})

    async def ask() -> None:
        transport = httpx2.AsyncClient(transport=httpx2.MockTransport(answer))
        async with kind(api_key="none", base_url="http://api.test/v", max_retries=0, http_client=transport) as client:
            answered = await send(client, FIELDS | fields, EXTRAS, anthropic.Timeout(9, connect=3))
        assert json.loads(answered.content) == {"content": []}
        assert (answered.request_id, answered.headers["request-id"]) == ("req-1", "req-1")

    asyncio.run(ask())
    return seen[0]


def is_text(request: httpx2.Request) -> bool:
    return "x-stainless-raw-response" not in request.headers


def test_a_ready_text_is_what_the_sdk_sends():
    ready, by_method = sent(anthropic.AsyncAnthropic), sent(OfOnesOwn)

    assert (is_text(ready), is_text(by_method)) == (True, False)
    assert json.loads(ready.content) == json.loads(by_method.content)
    assert len(ready.content) == len(by_method.content), "but for the order of its fields"
    assert ready.url == by_method.url
    others = {"idempotency-key", "x-stainless-raw-response", "user-agent"}
    ours, theirs = (
        {name: value for name, value in one.headers.items() if name not in others} for one in (ready, by_method)
    )
    assert ours == theirs
    assert ready.extensions["timeout"] == by_method.extensions["timeout"]


def test_what_opentelemetry_watches_and_a_model_that_goes_is_left_to_the_sdk(monkeypatch: pytest.MonkeyPatch):
    going = next(iter(DEPRECATED_MODELS))
    with pytest.warns(DeprecationWarning, match=going):
        assert not is_text(sent(anthropic.AsyncAnthropic, model=going))

    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", ModuleType("opentelemetry.sdk"))
    assert not is_text(sent(anthropic.AsyncAnthropic))


def test_what_no_json_can_hold_is_not_sent():
    with pytest.raises(ValueError, match="JSON"):
        sent(anthropic.AsyncAnthropic, messages=[{"role": "user", "content": float("nan")}])
