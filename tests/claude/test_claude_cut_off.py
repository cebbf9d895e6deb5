"""Claude's trials that are in flight when a run ends, or when a test changes the environment: what was paid is told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anthropic import AsyncAnthropic

from pytest_rltask.models import limiter
from pytest_rltask.models.claude import MAX_ATTEMPTS, ClaudeModel
from pytest_rltask.models.named import make_model, parse_model
from pytest_rltask.run.record import Record
from pytest_rltask.trial.event_loop import run
from pytest_rltask.trial.play import play
from tests.claude.desk import KEY, MODEL, Desk, message, spec_of, submit
from tests.conftest import Suite
from tests.support.messages_api import MessagesAPI, Step, hang, reply, tool_use

USAGE = {"input_tokens": 1000, "output_tokens": 200}
EACH = 0.002
"""Dollars that a reply costs."""

TEST = """
import time
from pathlib import Path
from tasks import *

class OtherEpisode(SumEpisode):
    prompt = "Go on."

@dataclass(frozen=True)
class Other(Sum):
    def open(self, seed):
        return OtherEpisode(self, seed)

@pytest.mark.rltask(task=Sum(), runs=1, band=(0.5, 1.0))
def test_first(trial):
    assert trial.passed

def in_flight():
    end = time.monotonic() + 60
    while not {{"asked-43", "asked-44"}} <= {{path.name for path in Path.cwd().iterdir()}}:
        assert time.monotonic() < end
        time.sleep(0.01)

def test_other(request):
    in_flight()
    {ends}

@pytest.mark.rltask(task=Other(), runs=2, name="other", band=(0.5, 1.0))
def test_second(trial):
    assert trial.passed
"""


class Server:
    """Answers every request but the second of a trial of `Other`, and leaves a file for each of these."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked = 0

    def __call__(self, body: dict[str, Any], turn: int) -> Step:
        if body["messages"][0]["content"][0]["text"].startswith("How much"):
            return reply(tool_use("submit", {"number": 43}), usage=USAGE)
        if turn == 0:
            return reply(tool_use("shout", {"text": "a"}), usage=USAGE)
        self.asked += 1
        (self.folder / f"asked-{42 + self.asked}").touch()
        return hang()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, suite: Suite) -> Iterator[MessagesAPI]:
    """A server that the inner pytest finds through the environment."""
    with MessagesAPI(Server(suite.pytester.path)) as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        yield api


@pytest.mark.parametrize(
    ("ends", "options"),
    [
        ("assert False", ("-x",)),
        ("request.session.shouldstop = 'enough'", ()),
        ("request.session.shouldfail = 'enough'", ()),
    ],
    ids=["exitfirst", "shouldstop", "shouldfail"],
)
def test_what_was_paid_of_a_trial_is_on_disk_however_the_run_ends(
    suite: Suite, api: MessagesAPI, ends: str, options: tuple[str, ...]
):
    suite.write(test_sum=TEST.format(ends=ends))

    suite.run("--concurrency=3", *options, model=MODEL)

    records = {record.task: record for record in suite.last_run().records.values()}
    assert len(suite.last_run().records) == 3
    assert (records["other"].outcome, records["other"].label) == ("errored", "cut off")
    answered, unanswered = records["other"].requests
    assert answered.cost_usd == pytest.approx(EACH)
    assert unanswered.stop_reason == "unanswered"
    assert unanswered.cost_usd
    assert unanswered.usage.input_tokens > 100
    assert "estimate" in unanswered.faults[0]
    (row,) = [row for row in suite.report()["rows"] if row["task"] == "other"]
    assert row["cost_usd"] == pytest.approx(2 * (EACH + unanswered.cost_usd))
    assert len(api.requests) == 5


def test_a_key_that_a_test_removes_is_still_that_of_the_trials(monkeypatch: pytest.MonkeyPatch):
    task = Desk()
    with MessagesAPI([submit()]) as server:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", server.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        model = make_model(parse_model(MODEL))
        monkeypatch.delenv("ANTHROPIC_API_KEY")
        monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")

        record = run(play(spec_of(task), model))

    assert record.outcome == "passed"


@pytest.mark.parametrize("opens_after", [2, 99])
def test_a_plugin_that_blocks_sockets_is_waited_for_and_then_a_fault_of_the_harness(
    monkeypatch: pytest.MonkeyPatch, opens_after: int
):
    monkeypatch.setattr(limiter, "MAX_BACKOFF_S", 0.0)

    class SocketBlockedError(RuntimeError):
        """As pytest-socket raises it in place of a connection."""

    SocketBlockedError.__module__ = "pytest_socket"
    asked: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        if len(asked) <= opens_after:
            raise SocketBlockedError("A test tried to use socket.socket.")
        call = {"type": "tool_use", "id": "toolu_1", "name": "submit", "input": {"answer": 12}}
        return httpx2.Response(200, json=message(call))

    async def played() -> Record:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
            client = AsyncAnthropic(api_key=KEY, max_retries=0, http_client=http)
            return await play(spec_of(Desk()), ClaudeModel(MODEL, client))

    record = run(played())

    if opens_after == 2:
        assert record.outcome == "passed"
    else:
        assert record.fault is not None
        assert (record.fault.kind, len(asked)) == ("harness", MAX_ATTEMPTS)
        assert "another plugin of this pytest lets no connection through" in record.fault.message
