"""What tokens cost: by the table, by how a reply was served, and by what the user says of a model that it lacks."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.models.prices import Prices, parse_prices
from pytest_rltask.run.record import Usage

MILLION = Usage(1_000_000, 1_000_000)
DOLLARS = st.floats(min_value=0, max_value=1e6, allow_nan=False)


def message(**usage: Any) -> dict[str, Any]:
    counts = {"input_tokens": 1_000_000, "output_tokens": 1_000_000, **usage}
    return {"type": "message", "role": "assistant", "model": "claude-opus-5", "content": [], "usage": counts}


def test_a_fast_reply_costs_what_its_usage_says_or_what_was_asked_for():
    plain = Prices().pricer("claude-opus-5")
    fast = Prices().pricer("claude-opus-5@speed=fast")

    assert plain(message()) == pytest.approx(30)
    assert plain(message(speed="fast", service_tier="standard")) == pytest.approx(60)
    assert fast(message()) == pytest.approx(60)
    assert fast(message(speed="standard")) == pytest.approx(30)
    assert Prices().of_tokens("claude-opus-5@speed=fast", MILLION) == pytest.approx(60)
    assert Prices().text("claude-opus-5@effort=high,speed=fast") == "$10/input MTok, $50/output MTok"


def test_what_the_user_says_goes_before_the_table_and_holds_for_all_settings():
    prices = parse_prices(["claude-opus-5 = 1/2", "api:a=b = $0.5 / $3"])

    assert prices.of_tokens("claude-opus-5@effort=low", MILLION) == pytest.approx(3)
    assert prices.pricer("api:a=b")(message(cache_read_input_tokens=2_000_000)) == pytest.approx(3 * 0.5 + 3)
    assert prices.text("api:a=b@top_k=1") == "$0.5/input MTok, $3/output MTok"


def test_a_name_of_a_servers_own_has_no_price_although_the_table_has_it():
    assert Prices().pricer("api:claude-opus-5")(message()) is None
    assert Prices().of_tokens("api:claude-opus-5", MILLION) is None
    assert Prices().text("api:claude-opus-5") is None


@given(DOLLARS, DOLLARS)
def test_any_price_is_read_as_it_is_written(read: float, written: float):
    prices = parse_prices([f"api:x = {read!r}/{written!r}"])

    assert prices.of_tokens("api:x", MILLION) == pytest.approx(read + written)


@pytest.mark.parametrize(
    "line",
    ["", "api:x", "api:x=", "api:x=1", "api:x=1/", "api:x=a/b", "api:x=-1/2", "api:x=1e999/2", "x=1/2", "api:x=./1"],
)
def test_what_is_no_price_is_told_with_the_line_to_write(line: str):
    with pytest.raises(ValueError, match=re.escape("write api:qwen3 = 0.1/0.4")):
        parse_prices([line])


def test_a_price_of_settings_is_none():
    with pytest.raises(ValueError, match=re.escape("write api:x = 1/2")):
        parse_prices(["api:x@top_k=4 = 1/2"])
