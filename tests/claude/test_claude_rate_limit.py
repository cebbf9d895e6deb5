"""An account that may send so many requests a minute, and trials that together want more: real SDK, virtual time."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

import httpx2
import pytest
from anthropic import AsyncAnthropic

from pytest_rltask.models import Reply, Request
from pytest_rltask.models.claude import ClaudeModel
from tests.claude import virtual_time
from tests.claude.desk import KEY, MODEL, message
from tests.support.messages_api import text

EPOCH = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
TURNS = 8
WALL_S = 900.0


@dataclass
class Account:
    """The API as one account sees it: a bucket of requests that refills continuously, and 429 when it is empty."""

    per_minute: int
    tells_quotas: bool = True
    """Whether its answers say what is left, as the real one's do."""
    answers_s: tuple[float, float] = (2.0, 12.0)
    """What a reply may take."""
    statuses: list[int] = field(default_factory=list)
    _rng: random.Random = field(default_factory=lambda: random.Random(7))
    _at: float = 0.0

    def __post_init__(self) -> None:
        self._left = float(self.per_minute)

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        now = asyncio.get_running_loop().time()
        per_s = self.per_minute / 60
        self._left, self._at = min(self.per_minute, self._left + (now - self._at) * per_s), now
        if self._left < 1:
            self.statuses.append(429)
            error = {"type": "error", "error": {"type": "rate_limit_error", "message": "too many requests"}}
            waits_s = (1 - self._left) / per_s
            headers = {**self._headers(now), "retry-after": f"{waits_s + 0.5:.0f}"}
            return httpx2.Response(429, content=json.dumps(error).encode(), headers=headers)
        self._left -= 1
        self.statuses.append(200)
        headers = self._headers(now)
        await asyncio.sleep(self._rng.uniform(*self.answers_s))
        content = json.dumps(message(text("Hm."), stop_reason="end_turn")).encode()
        return httpx2.Response(200, content=content, headers=headers)

    def _headers(self, now: float) -> dict[str, str]:
        if not self.tells_quotas:
            return {}
        full_in_s = (self.per_minute - self._left) / self.per_minute * 60
        return {
            "date": format_datetime(_utc(now), usegmt=True),
            "anthropic-ratelimit-requests-limit": str(self.per_minute),
            "anthropic-ratelimit-requests-remaining": str(int(self._left)),
            "anthropic-ratelimit-requests-reset": _utc(now + full_in_s).isoformat("T", "seconds"),
        }


def _utc(now: float) -> datetime:
    return datetime.fromtimestamp(EPOCH + now, UTC)


async def play(account: Account, *, trials: int, concurrency: int, processes: int = 1) -> float:
    """Have trials converse with the account, and return the seconds that it takes all of them."""
    loop = asyncio.get_running_loop()

    async def converse(model: ClaudeModel, places: asyncio.Semaphore) -> list[Reply]:
        async with places:
            deadline, replies = loop.time() + WALL_S, list[Reply]()
            for _ in range(TURNS):
                request = Request("", [], [{"role": "user", "content": "Hm?"}], 100, deadline)
                replies.append(await model.reply(request))
                deadline += replies[-1].lost_s
            return replies

    async def process(trials: int) -> None:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(account.answer)) as http:
            model = ClaudeModel(MODEL, AsyncAnthropic(api_key=KEY, max_retries=0, http_client=http))
            places = asyncio.Semaphore(concurrency)
            await asyncio.gather(*(converse(model, places) for _ in range(trials)))

    await asyncio.gather(*(process(trials // processes) for _ in range(processes)))
    return loop.time()


@pytest.mark.parametrize(
    ("account", "trials", "processes", "refused", "slower"),
    [
        (Account(per_minute=5), 24, 1, 0.01, 1.05),
        (Account(per_minute=5, tells_quotas=False), 40, 1, 0.55, 1.05),
        (Account(per_minute=50), 24, 1, 0.02, 1.2),
        (Account(per_minute=50), 24, 4, 0.1, 1.2),
        (Account(per_minute=50, tells_quotas=False), 24, 1, 0.06, 1.2),
        (Account(per_minute=50, tells_quotas=False, answers_s=(0.1, 0.2)), 24, 1, 0.5, 1.2),
    ],
    ids=[
        "very few",
        "very few and untold",
        "few",
        "few for several processes",
        "few and untold",
        "few and untold but quick",
    ],
)
def test_trials_that_want_more_than_the_account_may_are_slowed_down_and_none_fails(
    account: Account, trials: int, processes: int, refused: float, slower: float
):
    seconds = virtual_time.run(play(account, trials=trials, concurrency=trials // processes, processes=processes))

    assert account.statuses.count(200) == trials * TURNS
    assert account.statuses.count(429) / len(account.statuses) <= refused
    at_best = (trials * TURNS - account.per_minute) / account.per_minute * 60
    assert seconds <= slower * at_best


def test_an_account_that_may_do_more_than_the_trials_want_slows_nobody_down():
    account = Account(per_minute=1000, answers_s=(5.0, 5.0))

    seconds = virtual_time.run(play(account, trials=24, concurrency=24))

    assert seconds == 5 * (TURNS + 1)  # the first answer of all is awaited
    assert 429 not in account.statuses
