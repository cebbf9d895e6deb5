"""What the API's headers say about its limits: how long to wait after a refusal, and what is left of each quota.

Headers come from a server, or from a proxy before it, and may hold anything: what makes no sense says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from pytest_rltask.clock import wall_s

__all__ = ["SAID", "Quota", "quotas", "retry_after_s"]

QUOTAS = ("requests", "tokens", "input-tokens", "output-tokens")
"""What the API counts."""
SAID = (
    *(f"anthropic-ratelimit-{name}-{what}" for name in QUOTAS for what in ("limit", "remaining", "reset")),
    *("retry-after", "retry-after-ms", "date"),
)
"""The headers that are read here."""
PERIOD_S = 60.0
"""Its limits are so many a minute, unless a header says otherwise."""


@dataclass(frozen=True)
class Quota:
    """One limit of the API: a bucket that drains with each request and refills continuously."""

    name: str
    limit: float
    """What the full bucket holds."""
    remaining: float
    per_s: float
    """How fast it refills."""


def quotas(headers: Mapping[str, str]) -> Iterator[Quota]:
    """Yield what is left of the quotas that the headers of an answer name and that make sense."""
    now = _now(headers)
    for name in QUOTAS:
        limit, remaining = (_number(headers, f"anthropic-ratelimit-{name}-{what}") for what in ("limit", "remaining"))
        if limit is None or remaining is None or not 0 <= remaining <= limit < math.inf or limit == 0:
            continue
        full_in_s = _timestamp(headers.get(f"anthropic-ratelimit-{name}-reset", ""), now) - now
        used = limit - remaining
        # The reset is when the bucket is full again, in whole seconds; an almost full one tells nothing of its pace.
        per_s = used / full_in_s if used > 0 and full_in_s >= 1 else limit / PERIOD_S
        yield Quota(name, limit, remaining, per_s)


def retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the seconds that ``retry-after-ms`` or ``retry-after`` (seconds or a date) ask for, 0 or more."""
    if (milliseconds := _number(headers, "retry-after-ms")) is not None:
        return max(0.0, milliseconds / 1000)
    seconds = _number(headers, "retry-after")
    if seconds is None and "retry-after" in headers:
        now = _now(headers)
        seconds = _http_date(headers["retry-after"], now) - now
    return max(0.0, seconds or 0.0)


def _number(headers: Mapping[str, str], name: str) -> float | None:
    try:
        number = float(headers[name])
    except (KeyError, ValueError):
        return None
    return None if math.isnan(number) else number


def _now(headers: Mapping[str, str]) -> float:
    """Return the server's time of an answer: its clock set the reset, and may differ from ours."""
    return _http_date(headers.get("date", ""), wall_s())


def _http_date(text: str, default: float) -> float:
    try:
        return _seconds(parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError, OverflowError):
        return default


def _timestamp(text: str, default: float) -> float:
    """Parse RFC 3339."""
    try:
        return _seconds(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        return default


def _seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
