"""What goes wrong on the API's side: retried, then fine; or for good, and then the trial is errored, never failed."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import pytest
from anthropic import AsyncAnthropic

from pytest_rltask.engines.local import LocalEngine
from pytest_rltask.models import Request
from pytest_rltask.models.claude import MAX_ATTEMPTS, ClaudeModel
from pytest_rltask.run.record import Fault
from tests.claude.desk import (
    KEY,
    MODEL,
    Desk,
    TrialPlayer,
    play_one,
    spec_of,
    submit,
)
from tests.support.messages_api import (
    Gate,
    MessagesAPI,
    cut_body,
    disconnect,
    raw,
    reply,
    slow,
    spend_limit,
    status,
    tool_use,
)

ECHO = tool_use("echo", {"text": "a"})


# ---- faults that pass ----


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (status(429, headers={"retry-after": "0"}), "HTTP 429: scripted rate_limit_error"),
        (status(529), "HTTP 529: scripted overloaded_error"),
        (status(500), "HTTP 500: scripted api_error"),
        (status(408), "HTTP 408: scripted invalid_request_error"),
        (status(400, headers={"x-should-retry": "true"}), "HTTP 400: scripted invalid_request_error"),
        (spend_limit("ramp_limit_exceeded"), "HTTP 429, ramp_limit_exceeded: scripted spend limit"),
        (raw(502, "text/html", b"<h1>Bad gateway</h1>"), "HTTP 502: InternalServerError"),
        (raw(500, "application/json", b'{"error": {"message": 5}}'), "HTTP 500: 5"),
        (raw(500, "application/json", b'["?"]'), "HTTP 500: InternalServerError"),
        (disconnect(), "connection failed (RemoteProtocolError)"),
        (cut_body(), "connection failed (RemoteProtocolError)"),
        (raw(200, "text/html", b"<h1>Log in</h1>"), "a reply that is not JSON"),
    ],
)
def test_a_passing_fault_is_retried_and_logged(desk: TrialPlayer, step: Any, told: str):
    played = desk([reply(ECHO), step, step, submit()])

    assert played.record.outcome == "passed"
    assert [request.faults for request in played.record.requests] == [(), (told, told)]
    assert len(played.requests) == 4


def test_usage_and_cost_are_those_of_the_answer_that_came(desk: TrialPlayer):
    record = desk([status(529), submit()]).record

    assert record.usage.total == 120
    assert record.turns == 1


# ---- faults that stay ----


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (status(500), "HTTP 500: scripted api_error (8 attempts)"),
        (disconnect(), "connection failed (RemoteProtocolError) (8 attempts)"),
        (raw(200, "text/html", b"<h1>Log in</h1>"), "a reply that is not JSON (8 attempts)"),
        (raw(200, "application/json", b"{}"), "a reply that is not a message (8 attempts)"),
    ],
)
def test_a_lasting_fault_makes_the_trial_errored(desk: TrialPlayer, step: Any, told: str):
    played = desk([reply(ECHO), step])

    record = played.record
    assert record.fault == Fault("api", told, record.fault and record.fault.request_id)
    assert (record.outcome, record.score, record.label, record.reason) == ("errored", None, "api fault", told)
    assert (record.turns, record.tool_calls, len(record.messages)) == (1, 1, 3)
    assert len(played.requests) == 1 + MAX_ATTEMPTS
    assert played.events == ["echo a", "close"]


@pytest.mark.parametrize("code", [429, 529])
def test_refusals_are_borne_as_long_as_the_trial_has_time(desk: TrialPlayer, code: int):
    played = desk([status(code)], wall_s=1)

    fault = played.record.fault
    assert fault
    assert (played.record.outcome, fault.kind, fault.fatal) == ("errored", "api", False)
    assert fault.message.endswith("(--trial-timeout)")
    assert len(played.requests) > MAX_ATTEMPTS
    assert played.events == ["close"]


def test_time_that_the_api_had_the_trial_wait_is_not_the_models(desk: TrialPlayer):
    record = desk([*[status(429, headers={"retry-after": "0.8"})] * 2, reply(ECHO), submit()], wall_s=1.5).record

    assert (record.outcome, record.limit) == ("passed", None)
    first, second = record.requests
    assert 1.6 <= first.lost_s <= first.latency_s
    assert second.lost_s < 0.5


def test_of_many_faults_the_record_keeps_some_and_their_number(desk: TrialPlayer):
    record = desk([*[status(529)] * 50, submit()]).record

    assert record.outcome == "passed"
    assert record.requests[0].faults == (*["HTTP 529: scripted overloaded_error"] * 19, "... and 31 more")


@pytest.mark.parametrize("step", [status(500), status(400), raw(200, "application/json", b"{}")])
def test_the_id_of_the_last_request_is_kept(desk: TrialPlayer, step: Any):
    fault = desk([step]).record.fault

    assert fault
    assert fault.request_id
    assert fault.request_id.startswith("req_0")


@pytest.mark.parametrize(
    "step", [status(400), status(413), status(422), status(500, headers={"x-should-retry": "false"})]
)
def test_what_no_retry_cures_is_tried_once(desk: TrialPlayer, step: Any):
    played = desk([step])

    assert (played.record.outcome, len(played.requests)) == ("errored", 1)
    assert played.record.fault
    assert not played.record.fault.fatal


@pytest.mark.parametrize(
    "step",
    [
        status(401),
        status(402),
        status(403),
        status(404, message="model: claude-haiku-9"),
        spend_limit("enforced_spend_limit_reached"),
        spend_limit("contract_spend_limit_reached"),
    ],
)
def test_what_no_other_trial_could_escape_is_fatal_at_once(desk: TrialPlayer, step: Any):
    played = desk([step])

    assert (played.record.outcome, len(played.requests)) == ("errored", 1)
    assert played.record.fault
    assert played.record.fault.fatal


@pytest.mark.parametrize(
    "headers",
    [
        {"retry-after": "3600"},
        {"retry-after": "inf"},
        {"retry-after-ms": "3600000"},
        {"retry-after": formatdate(time.time() + 3600, usegmt=True)},
    ],
)
def test_a_wait_longer_than_the_trial_has_left_is_not_begun(desk: TrialPlayer, headers: Mapping[str, str]):
    played = desk([status(429, headers=headers)])

    fault = played.record.fault
    assert fault
    assert re.search(
        r"; it asks to wait (\d,\d\d\d|inf) s, and the trial has 9[56]\d s left \(--trial-timeout\)$", fault.message
    )
    assert len(played.requests) == 1
    assert played.record.seconds["total"] < 60


@pytest.mark.parametrize("retry_after", ["nan", "-5", "soon", "", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_a_senseless_wait_is_none(desk: TrialPlayer, retry_after: str):
    assert desk([status(429, headers={"retry-after": retry_after}), submit()]).record.outcome == "passed"


# ---- one client, interrupts, secrets ----


def test_trials_of_one_engine_share_one_client_and_its_connection(monkeypatch: pytest.MonkeyPatch):
    made: list[str] = []

    def make(name: str) -> ClaudeModel:
        made.append(name)
        return ClaudeModel(name)

    with MessagesAPI([reply(ECHO), submit()]) as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
        engine = LocalEngine(make, concurrency=lambda name: 1, cores=1, finished=lambda record: None)
        specs = [spec_of(Desk(), run=run) for run in range(3)]
        engine.submit(specs)
        records = [engine.result(spec.trial_id) for spec in specs]
        connections = len(api._connections)
        engine.close()

    assert [record.outcome for record in records] == ["passed"] * 3
    assert made == [MODEL]
    assert connections == 1


def test_an_interrupt_closes_the_episode_once_and_leaves_the_request(desk: TrialPlayer):
    task, gate = Desk(), Gate()

    async def interrupt(api: MessagesAPI) -> bool:
        trial = asyncio.ensure_future(play_one(api, task))
        await asyncio.to_thread(gate.wait_until_reached)
        trial.cancel()
        await asyncio.wait([trial])
        return trial.cancelled()

    with MessagesAPI([slow(submit(), until=gate)]) as api:
        cancelled = asyncio.run(interrupt(api))
        (seen,) = api.wait_until_idle()

    assert cancelled
    assert seen.answered == "client left"
    assert task.opened[0].events == ["close"]


def test_a_key_quoted_by_a_server_is_struck_out(desk: TrialPlayer):
    played = desk([status(529, message=f"overloaded, Bearer {KEY}"), status(401, message=f"wrong key {KEY}")])

    assert played.record.fault
    assert "wrong key ***" in played.record.fault.message


@pytest.mark.parametrize("before", [0, 370])
def test_a_long_error_is_cut_and_never_in_the_middle_of_a_key(desk: TrialPlayer, before: int):
    fault = desk([status(400, message="x" * before + KEY + "y" * 5000)]).record.fault

    assert fault
    assert len(fault.message) <= 400
    assert KEY[:10] not in fault.message


def test_the_key_is_sent_nowhere_but_in_its_header(desk: TrialPlayer):
    with MessagesAPI([reply(ECHO), status(500), submit()]) as api:
        asyncio.run(play_one(api, Desk()))

        assert api.leaks(KEY) == []


def test_a_mistake_of_ours_is_no_fault_of_the_api():
    async def ask() -> None:
        loop = asyncio.get_running_loop()
        unsendable: Any = [{"role": "user", "content": object()}]
        async with AsyncAnthropic(base_url="http://127.0.0.1:9", api_key=KEY, max_retries=0) as client:
            await ClaudeModel(MODEL, client).reply(Request("", [], unsendable, 10, loop.time() + 5))

    with pytest.raises(TypeError):
        asyncio.run(ask())
