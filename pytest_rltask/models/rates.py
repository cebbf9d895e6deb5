"""Remembers what a token of a model costs, where that is all its price depends on, so that no reply is priced anew.

To price one reply by the table takes longer than to read it. What a token costs is asked of the table itself: the price
of one, and of a million, of each kind. A model whose price grows with the prompt has no such rates, and a reply that
was billed for something else, such as a search, or writing to the cache for an hour, is priced by the table.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from pytest_rltask.clock import utc
from pytest_rltask.models.message import TOKEN_COUNTS, Message

__all__ = ["Rates"]

MILLION = 1_000_000
_Key = tuple[object, ...]


class Rates:
    """Prices replies in US dollars as a table does; None: the price is not known.

    Args:
        table: prices any reply.
    """

    def __init__(self, table: Callable[[Message], Decimal | None]) -> None:
        self._table = table
        self._minute = 0
        self._rates: dict[_Key, tuple[Decimal, ...] | None] = {}

    def price(self, message: Message) -> float | None:
        """Return what a reply cost."""
        key = _kind(message)
        rates = None if key is None else self._of(key, message)
        if rates is None:
            return _float(self._table(message))
        return float(_sum(rates, message))

    def _of(self, key: _Key, message: Message) -> tuple[Decimal, ...] | None:
        """Return what a token of each kind costs in replies such as this one; None if there are no such rates."""
        minute = int(utc().timestamp()) // 60
        if minute != self._minute:  # prices change with the date and, of some, with the hour
            self._minute, self._rates = minute, {}
        if key not in self._rates:
            rates = self._asked(message)
            is_right = rates is not None and self._table(message) == _sum(rates, message)
            self._rates[key] = rates if is_right else None
        return self._rates[key]

    def _asked(self, message: Message) -> tuple[Decimal, ...] | None:
        none = {**message["usage"], **dict.fromkeys(TOKEN_COUNTS, 0)}
        rates = []
        for name in TOKEN_COUNTS:
            one, many = (self._table({**message, "usage": {**none, name: count}}) for count in (1, MILLION))
            if one is None or many is None or many != one * MILLION:
                return None
            rates.append(one)
        return tuple(rates)


def _kind(message: Message) -> _Key | None:
    """Return what the price of a reply depends on beside its tokens; None if it was billed for more than these."""
    told: list[object] = [message.get("model")]
    for name, value in message["usage"].items():
        if isinstance(value, str):
            told.append((name, value))
        elif name not in TOKEN_COUNTS and value and not _is_of_cache(name, value):
            return None
    return tuple(told) if isinstance(told[0], str) else None


def _is_of_cache(name: str, value: Any) -> bool:
    """Say whether something of a usage tells only for how long the cache was written, and it is the usual time."""
    return name == "cache_creation" and isinstance(value, dict) and not value.keys() - _USUAL and not value.get(_HOUR)


_HOUR = "ephemeral_1h_input_tokens"
_USUAL = {"ephemeral_5m_input_tokens", _HOUR}


def _sum(rates: tuple[Decimal, ...], message: Message) -> Decimal:
    usage = message["usage"]
    return sum((rate * (usage.get(name) or 0) for name, rate in zip(TOKEN_COUNTS, rates, strict=True)), Decimal(0))


def _float(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
