"""A server at its worst: one request in five is refused, fails, or is answered with rubbish; no trial may suffer."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter

import pytest

from pytest_rltask.models import limiter
from tests.claude.desk import KEY, MODEL
from tests.conftest import Suite, slow
from tests.support.messages_api import (
    MessagesAPI,
    Step,
    cut_body,
    disconnect,
    raw,
    reply,
    status,
    text,
    tool_use,
)

FAULTS: list[Step] = [
    status(429, headers={"retry-after": "0.02"}),
    status(429, headers={"retry-after-ms": "30"}),
    status(429),
    status(529),
    status(529, headers={"retry-after": "nan"}),
    status(500),
    raw(503, "text/html", b"<h1>Service unavailable</h1>"),
    disconnect(),
    cut_body(),
    raw(200, "text/html", b"<h1>Log in</h1>"),
    raw(200, "application/json", b'{"type": "message", "content": [{"type": "text", "te'),
    raw(200, "application/json", b'{"content": null, "usage": {}}'),
]
FAULTY = 0.2
"""Share of the requests."""
BACKOFF_S = 0.02

OUTCOMES = {0: "passed", 1: "failed", 2: "failed"}
"""What a trial deserves, by its seed modulo 3: it submits the sum, or another number, or nothing."""


class Storm:
    """A script that answers each request with a fault or its conversation's next reply: by seed, turn and attempt."""

    def __init__(self) -> None:
        self.attempts: Counter[tuple[int, int]] = Counter()
        self.faults: Counter[int] = Counter()

    def __call__(self, body: dict[str, object], turn: int) -> Step:
        seed = int(re.search(r"How much is (\d+) and 1", str(body["messages"]))[1])  # type: ignore[index]
        self.attempts[seed, turn] += 1
        rng = random.Random(f"{seed} {turn} {self.attempts[seed, turn]}")
        if rng.random() < FAULTY:
            self.faults[seed] += 1
            return rng.choice(FAULTS)
        if turn < 1 + seed % 2:
            return reply(
                text("Louder."), tool_use("shout", {"text": "a"}), tool_use("shout", {"text": "b", "times": 2})
            )
        numbers = {0: seed + 1, 1: -7}
        if (number := numbers.get(seed % 3)) is None:
            return reply(text("I do not know."))
        return reply(tool_use("submit", {"number": number}))


@pytest.mark.parametrize(
    ("workers", "runs"),
    [((), 100), slow(("-n", "2"), 30)],
    ids=["plain", "xdist"],
)
def test_no_trial_is_judged_wrongly_or_lost_for_the_servers_faults(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...], runs: int
):
    suite, storm = Suite(pytester, workers), Storm()
    monkeypatch.setattr(limiter, "BACKOFF_S", BACKOFF_S)
    if workers:  # they are processes of their own
        suite.write(conftest=f"from pytest_rltask.models import limiter\nlimiter.BACKOFF_S = {BACKOFF_S}\n")

    with MessagesAPI(storm) as api:  # which checks that histories are only extended, and each call answered once
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        suite.run("--runs", str(runs), "--concurrency", str(40 // (len(workers) or 2)), model=MODEL)
        seen = api.wait_until_idle()

    records = {record.seed: record for record in suite.last_run().records.values()}
    assert {seed: record.outcome for seed, record in records.items()} == {
        seed: OUTCOMES[seed % 3] for seed in range(42, 42 + runs)
    }
    assert storm.faults.total() == pytest.approx(FAULTY * len(seen), rel=0.25)
    for seed, record in records.items():
        assert sum(len(request.faults) for request in record.requests) == storm.faults[seed]
        assert [request.stop_reason for request in record.requests].count("tool_use") >= 1 + seed % 2
        assert record.messages[-1]["role"] == ("assistant" if seed % 3 == 2 else "user")
    assert len(api.conversations) == runs
    for requests in api.conversations.values():
        for before, after in itertools.pairwise(request.body["messages"] for request in requests):
            assert after[: len(before)] == before
