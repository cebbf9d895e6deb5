"""Remembered rates: a reply costs to the last digit what the table says of it, whatever it was billed for."""

from __future__ import annotations

import random
from typing import Any

import pytest
from genai_prices import extract_usage

from pytest_rltask.models.prices import Prices

KINDS: list[dict[str, Any]] = [
    {},
    {"service_tier": "standard", "inference_geo": "us", "server_tool_use": None},
    {"speed": "fast"},
    {"server_tool_use": {"web_search_requests": 3}},
    {"cache_creation": {"ephemeral_5m_input_tokens": 700, "ephemeral_1h_input_tokens": 0}},
    {"cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 700}},
]


# The prices of the second grow with its prompt.
@pytest.mark.parametrize("model", ["claude-haiku-4-5-20251001", "claude-sonnet-4-5", "claude-opus-5"])
def test_a_reply_costs_what_the_table_says_of_it(model: str):
    price, numbers = Prices().pricer(model), random.Random(3)

    for kind in KINDS * 5:
        usage = {
            "input_tokens": numbers.randrange(400_000),
            "output_tokens": numbers.randrange(9_000),
            "cache_read_input_tokens": numbers.choice([None, numbers.randrange(10**6)]),
            "cache_creation_input_tokens": 700,
            **kind,
        }
        message = {"model": model, "usage": usage}
        context = {"speed": kind["speed"]} if "speed" in kind else {}
        table = extract_usage(message, provider_id="anthropic").calc_price(price_context=context)
        assert price(message) == float(table.total_price), usage


def test_what_a_token_costs_is_asked_once(monkeypatch: pytest.MonkeyPatch):
    price, asked = Prices().pricer("claude-opus-5"), []
    rates = price.__self__  # type: ignore[attr-defined]
    table = rates._table
    monkeypatch.setattr(rates, "_table", lambda message: asked.append(message) or table(message))

    for tokens in range(100):
        price({"model": "claude-opus-5", "usage": {"input_tokens": tokens, "output_tokens": 5}})

    assert len(asked) <= 18, "nine for each minute that it took"
