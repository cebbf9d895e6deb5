"""What tokens of a model cost: by the table of genai-prices, or by what the user gives for a model that it lacks.

Prices depend on the date, on the length of a prompt, and on how a request is served, such as its speed: a reply is
priced by what its own usage says of that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pytest_rltask.clock import utc
from pytest_rltask.models.message import TOKEN_COUNTS, Message
from pytest_rltask.models.model_settings import REMOTE, split_name
from pytest_rltask.models.rates import Rates
from pytest_rltask.run.record import Usage

__all__ = ["Prices", "parse_prices", "usage_of"]

CONTEXT = ("speed", "service_tier")
"""Fields of a reply's usage that its price may depend on, and settings of the same names."""
MILLION = 1_000_000


@dataclass(frozen=True)
class Prices:
    """The prices of a run.

    Example:
        >>> Prices({"api:qwen3": (0.1, 0.4)}).of_tokens("api:qwen3@top_k=5", Usage(1_000_000, 500_000))
        0.3
    """

    given: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """US dollars a million tokens that are read and written, by model, settings left out; they go before any table."""

    def text(self, name: str) -> str | None:
        """Return the price of a model of an API in words; None if it is not known."""
        base, _ = split_name(name)
        if known := self.given.get(base):
            return f"${known[0]:g}/input MTok, ${known[1]:g}/output MTok"
        if (listed := _listed(base)) is None:
            return None
        from genai_prices import Usage as Tokens
        from genai_prices import calc_price

        reference, provider = listed
        try:
            price = calc_price(
                Tokens(input_tokens=1), reference, provider_id=provider, price_context=_set(name)
            ).model_price
        except LookupError:
            return None
        return ", ".join(str(price).split(", ")[:2])  # of what is read and written; those of caches follow

    def of_tokens(self, name: str, usage: Usage) -> float | None:
        """Return what tokens of a model of an API cost today in US dollars; None if its price is not known."""
        base, _ = split_name(name)
        if known := self.given.get(base):
            return _by(known, usage)
        if (listed := _listed(base)) is None:
            return None
        from genai_prices import Usage as Tokens
        from genai_prices import calc_price

        reference, provider = listed
        tokens = Tokens(
            input_tokens=usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
        )
        try:
            price = calc_price(tokens, reference, provider_id=provider, price_context=_set(name))
        except (LookupError, ValueError):
            return None
        return float(price.total_price)

    def pricer(self, name: str) -> Callable[[Message], float | None]:
        """Return a function that prices one reply of a model in US dollars, or says None if its price is not known.

        The table is loaded here, and not with the first reply.
        """
        base, _ = split_name(name)
        if known := self.given.get(base):
            return lambda message: _by(known, usage_of(message))
        if (listed := _listed(base)) is None:
            return lambda message: None
        from genai_prices import calc_price, extract_usage

        reference, provider = listed

        def price(message: Message) -> Decimal | None:
            said = {key: value for key in CONTEXT if isinstance(value := message["usage"].get(key), str)}
            try:
                found = extract_usage(message, provider_id="anthropic")
                context = _set(name) | said
                if provider == "anthropic":  # by the model that answered
                    cost = found.calc_price(genai_request_timestamp=utc(), price_context=context)
                else:
                    cost = calc_price(
                        found.usage,
                        reference,
                        provider_id=provider,
                        genai_request_timestamp=utc(),
                        price_context=context,
                    )
            except (LookupError, ValueError):
                return None
            return cost.total_price  # prices change with the date

        return Rates(price).price


def parse_prices(lines: Iterable[str]) -> Prices:
    """Parse prices, ``api:qwen3 = 0.1/0.4`` each: US dollars a million tokens that are read and written.

    Raises:
        ValueError: one is none; the message says what can be written.
    """
    found: dict[str, tuple[float, float]] = {}
    for line in lines:
        name, equals, numbers = (part.strip() for part in line.rpartition("="))
        parts = re.fullmatch(r"\$?([0-9.e+-]+)\s*/\s*\$?([0-9.e+-]+)", numbers)
        values = [_dollars(part) for part in parts.groups()] if parts else []
        if not equals or not name.startswith(REMOTE) or None in values or not values:
            raise ValueError(
                f"{line!r} is no model with US dollars a million tokens in and out; write api:qwen3 = 0.1/0.4"
            )
        base, settings = split_name(name)
        if settings:
            raise ValueError(f"{line!r}: a price is of a model whatever its settings; write {base} = {numbers}")
        read, written = (value for value in values if value is not None)
        found[base] = read, written
    return Prices(found)


def usage_of(message: Message) -> Usage:
    """Return the tokens of a reply."""
    return Usage(*(message["usage"].get(name) or 0 for name in TOKEN_COUNTS))


def _listed(base: str) -> tuple[str, str] | None:
    """Return what the table knows a model by, and whose prices they are; None of a server that it cannot know."""
    if base.startswith("claude-"):
        return base, "anthropic"
    kind, _, name = base.partition(":")
    provider = {"bedrock": "aws", "vertex": "google"}.get(kind)
    return (name, provider) if provider else None


def _dollars(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def _by(price: tuple[float, float], usage: Usage) -> float:
    read = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
    return (read * price[0] + usage.output_tokens * price[1]) / MILLION


def _set(name: str) -> dict[str, Any]:
    """Return what a model's settings say of how its requests are to be served."""
    pairs = (one.partition("=") for one in split_name(name)[1].split(","))
    return {key: value for key, _, value in pairs if key in CONTEXT}
