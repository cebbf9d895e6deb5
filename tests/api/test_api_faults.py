"""The scripted API's faults: each must look to the real SDK as it does against the real server."""

from __future__ import annotations

import asyncio
import contextlib
import json

import anthropic
import pytest

from tests.api.caller import Caller, create, in_async
from tests.support.messages_api import (
    Gate,
    MessagesAPI,
    Status,
    Step,
    cut_body,
    disconnect,
    drip,
    hang,
    raw,
    reply,
    slow,
    spend_limit,
    status,
    text,
)


@pytest.mark.parametrize(
    ("step", "error", "kind"),
    [
        (status(400), anthropic.BadRequestError, "invalid_request_error"),
        (status(401), anthropic.AuthenticationError, "authentication_error"),
        (status(402), anthropic.PaymentRequiredError, "billing_error"),
        (status(403), anthropic.PermissionDeniedError, "permission_error"),
        (status(404), anthropic.NotFoundError, "not_found_error"),
        (status(429), anthropic.RateLimitError, "rate_limit_error"),
        (status(500), anthropic.InternalServerError, "api_error"),
        (status(529), anthropic.OverloadedError, "overloaded_error"),
        (status(500, error_type="overloaded_error"), anthropic.InternalServerError, "overloaded_error"),
        (spend_limit(), anthropic.EnforcedSpendLimitReachedError, "rate_limit_error"),
        (spend_limit("contract_spend_limit_reached"), anthropic.ContractSpendLimitReachedError, "rate_limit_error"),
        (spend_limit("ramp_limit_exceeded"), anthropic.RampLimitExceededError, "rate_limit_error"),
    ],
    ids=lambda value: str(value.code) if isinstance(value, Status) else None,
)
def test_a_status_is_the_sdks_own_error(
    caller: Caller, step: Status, error: type[anthropic.APIStatusError], kind: str
) -> None:
    with MessagesAPI([step]) as api, pytest.raises(error) as caught:
        caller.ask(api)

    assert type(caught.value) is error
    assert caught.value.type == kind
    assert caught.value.request_id == caught.value.body["request_id"]  # type: ignore[index]


def test_a_status_carries_headers_that_the_sdks_own_retry_obeys() -> None:
    steps: list[Step] = [status(429, headers={"retry-after": "0", "x-why": "test"}), reply(text("done"))]

    with MessagesAPI(steps) as api:
        raw_answer = in_async(
            api,
            lambda client: client.messages.with_raw_response.create(
                model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": "go"}]
            ),
            max_retries=1,
        )

    assert raw_answer.retries_taken == 1
    assert raw_answer.headers["anthropic-ratelimit-requests-remaining"] == "999"
    assert [seen.answered for seen in api.requests] == ["429", "200"]
    assert len(api.conversations) == 1


@pytest.mark.parametrize("step", [disconnect(), cut_body()], ids=["disconnect", "cut_body"])
def test_a_lost_connection_is_a_connection_error(step: Step) -> None:
    with MessagesAPI([step]) as api, pytest.raises(anthropic.APIConnectionError):
        in_async(api, create)

    assert api.requests[0].answered in ("disconnect", "cut body")


def test_malformed_json_reaches_the_caller_as_a_json_error() -> None:
    with MessagesAPI([raw(200, "application/json", b'{"id": ')]) as api, pytest.raises(json.JSONDecodeError):
        in_async(api, create)


def test_a_page_of_html_reaches_the_caller_as_a_string(caller: Caller) -> None:
    with MessagesAPI([raw(200, "text/html", b"<html>login</html>")]) as api:
        message = caller.ask(api)

    assert isinstance(message, str)


def test_a_message_with_fields_missing_reaches_the_caller_without_content(caller: Caller) -> None:
    with MessagesAPI([raw(200, "application/json", b'{"type": "message"}')]) as api:
        message = caller.ask(api)

    assert getattr(message, "content", None) is None


def test_it_hangs_until_the_client_has_enough() -> None:
    async def leave(client: anthropic.AsyncAnthropic) -> None:
        asked = asyncio.ensure_future(create(client))
        await asyncio.to_thread(api.wait_for_requests, 1)
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asked

    with MessagesAPI([hang()]) as api:
        in_async(api, leave)

        assert [seen.answered for seen in api.wait_until_idle()] == ["client left"]


def test_closing_the_server_ends_what_hangs() -> None:
    async def outlast(client: anthropic.AsyncAnthropic) -> None:
        asked = asyncio.ensure_future(create(client))
        await asyncio.to_thread(api.wait_for_requests, 1)
        await asyncio.to_thread(api.close)
        with pytest.raises(anthropic.APIConnectionError):
            await asked

    with MessagesAPI([hang()]) as api:
        in_async(api, outlast)

    assert api.requests[0].answered == "server closed"


def test_a_drip_outlives_the_sdks_timeout_and_ends_whole() -> None:
    async def patiently(client: anthropic.AsyncAnthropic) -> anthropic.types.Message:
        return await create(client)

    with MessagesAPI([drip(reply(text("slowly")), interval_s=0.002)]) as api:
        message = in_async(api, patiently, timeout=0.4)

    seen = api.requests[0]
    assert message.content[0].text == "slowly"
    assert seen.finished is not None
    assert seen.finished - seen.arrived > 0.4


def test_a_drip_is_stopped_by_a_deadline() -> None:
    async def hastily(client: anthropic.AsyncAnthropic) -> None:
        async with asyncio.timeout(0.2):
            await create(client)

    with MessagesAPI([drip(reply(text("slowly")), interval_s=0.05)]) as api, pytest.raises(TimeoutError):
        in_async(api, hastily, timeout=10)


def test_a_gate_holds_answers_until_the_test_opens_it() -> None:
    async def two(client: anthropic.AsyncAnthropic) -> list[str]:
        asked = [asyncio.ensure_future(create(client, prompt)) for prompt in ("one", "two")]
        await asyncio.to_thread(gate.wait_until_reached)
        await asyncio.to_thread(api.wait_for_requests, 2)
        assert api.in_flight == 2
        assert not any(answer.done() for answer in asked)
        gate.open()
        return [message.content[0].text for message in await asyncio.gather(*asked)]  # type: ignore[union-attr]

    gate = Gate()
    with MessagesAPI([slow(reply(text("at last")), until=gate)]) as api:
        assert in_async(api, two) == ["at last", "at last"]

    assert api.peak_in_flight == 2


def test_a_slow_step_is_over_after_its_seconds(caller: Caller) -> None:
    with MessagesAPI([slow(status(529), 0.05)]) as api, pytest.raises(anthropic.OverloadedError):
        caller.ask(api)

    seen = api.wait_until_idle()[0]
    assert seen.finished is not None
    assert seen.finished - seen.arrived >= 0.05
