"""The scripted API's own tests: each fault must look to the real SDK as it does against the real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from tests.support.messages_api import (
    Gate,
    MessagesAPI,
    Script,
    Status,
    Step,
    cut_body,
    disconnect,
    drip,
    each_conversation,
    echo_script,
    hang,
    raw,
    reply,
    slow,
    spend_limit,
    status,
    text,
    thinking,
    tool_use,
)

KEY = "sk-test-0123456789"
ROOT = Path(__file__).parents[2]
ECHO: Any = {"name": "echo", "description": "Say it again.", "input_schema": {"type": "object"}}
CALL = tool_use("echo", {"text": "hi"})


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    # Shared by all clients of this module: building a pool is dear, and closing a client would close it.
    with httpx2.Client(timeout=10, trust_env=False) as client:
        yield client


class Caller:
    """The sync SDK, talking to one server."""

    def __init__(self, http: httpx2.Client) -> None:
        self.http = http

    def ask(self, api: MessagesAPI, *messages: Any, **more: Any) -> anthropic.types.Message:
        client = anthropic.Anthropic(base_url=api.base_url, api_key=KEY, max_retries=0, http_client=self.http)
        history = messages or ({"role": "user", "content": "go"},)
        params: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 100, "tools": [ECHO], **more}
        message: anthropic.types.Message = client.messages.create(messages=history, **params)
        return message

    def play(self, api: MessagesAPI, prompt: str = "go", *, retries: int = 0, **more: Any) -> list[Any]:
        """Play a whole conversation, echoing each call; return its history."""
        history: list[Any] = [{"role": "user", "content": prompt}]
        while True:
            try:
                message = self.ask(api, *history, **more)
            except anthropic.APIError:
                if not retries:
                    raise
                retries -= 1
                continue
            history.append({"role": "assistant", "content": message.content})
            if message.stop_reason != "tool_use":
                return history
            history.append({"role": "user", "content": results(message)})


def results(message: anthropic.types.Message) -> list[Any]:
    return [
        {"type": "tool_result", "tool_use_id": block.id, "content": json.dumps(block.input)}
        for block in message.content
        if block.type == "tool_use"
    ]


@pytest.fixture
def caller(http: httpx2.Client) -> Caller:
    return Caller(http)


def in_async(api: MessagesAPI, use: Callable[[anthropic.AsyncAnthropic], Awaitable[Any]], **options: Any) -> Any:
    """Run a coroutine with an async client of its own, as our loop has it."""

    async def run() -> Any:
        async with anthropic.AsyncAnthropic(
            base_url=api.base_url, api_key=KEY, **{"max_retries": 0, **options}
        ) as client:
            return await use(client)

    return asyncio.run(run())


def create(client: anthropic.AsyncAnthropic, prompt: str = "go") -> Awaitable[anthropic.types.Message]:
    return client.messages.create(
        model="claude-haiku-4-5", max_tokens=100, messages=[{"role": "user", "content": prompt}]
    )


# ---- replies ----


def test_it_answers_with_the_message_of_the_script(caller: Caller) -> None:
    step = reply(thinking("", "c2ln"), text("Let me."), CALL, usage={"cache_read_input_tokens": 7})

    with MessagesAPI([step]) as api:
        message = caller.ask(api)

    assert [block.type for block in message.content] == ["thinking", "text", "tool_use"]
    assert (message.stop_reason, message.model, message.role) == ("tool_use", "claude-haiku-4-5", "assistant")
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (100, 7)
    assert str(message._request_id).startswith("req_")


def test_it_plays_a_conversation_turn_by_turn(caller: Caller) -> None:
    with MessagesAPI([reply(thinking("hm"), CALL, CALL), reply(CALL), reply(text("done"))]) as api:
        history = caller.play(api)

    assert len(history) == 6
    assert [(seen.turn, seen.attempt, seen.answered) for seen in api.requests] == [
        (0, 0, "200"),
        (1, 0, "200"),
        (2, 0, "200"),
    ]
    assert api.requests[0].message is not None
    assert api.requests[1].body["messages"][1]["content"] == api.requests[0].message["content"]


def test_every_tool_call_has_an_id_of_its_own_unless_the_script_gives_one(caller: Caller) -> None:
    with MessagesAPI([reply(CALL, CALL, tool_use("echo", {}, id="toolu_mine"))]) as api:
        ids = [block.id for message in (caller.ask(api), caller.ask(api)) for block in message.content]  # type: ignore[union-attr]

    assert len(set(ids)) == 5
    assert ids[2] == ids[5] == "toolu_mine"


def test_it_passes_on_blocks_and_stop_reasons_nobody_knows(caller: Caller) -> None:
    with MessagesAPI([reply({"type": "poem", "lines": 3}, stop_reason="inspired", model="claude-next")]) as api:
        message = caller.ask(api)

    assert (message.content[0].type, message.stop_reason, message.model) == ("poem", "inspired", "claude-next")


def test_a_refusal_tells_its_category(caller: Caller) -> None:
    details = {"type": "refusal", "category": "frontier_llm", "explanation": None}

    with MessagesAPI([reply(stop_reason="refusal", stop_details=details)]) as api:
        message = caller.ask(api)

    assert message.content == []
    assert message.stop_details is not None
    assert message.stop_details.category == "frontier_llm"


def test_a_function_can_be_the_script(caller: Caller) -> None:
    def script(body: dict[str, Any], turn: int) -> Step:
        return reply(CALL) if turn < 2 else reply(text(f"{len(body['messages'])} messages"))

    with MessagesAPI(script) as api:
        history = caller.play(api)

    assert history[-1]["content"][0].text == "5 messages"


# ---- faults ----


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


# ---- how a list is played ----


def test_faults_are_used_up_by_attempts_and_replies_by_turns(caller: Caller) -> None:
    steps: list[Step] = [status(529), disconnect(), reply(CALL), cut_body(), reply(CALL), reply(text("done"))]

    with MessagesAPI(steps) as api:
        caller.play(api, retries=3)

    assert [(seen.turn, seen.attempt, seen.answered) for seen in api.requests] == [
        (0, 0, "529"),
        (0, 1, "disconnect"),
        (0, 2, "200"),
        (1, 0, "cut body"),
        (1, 1, "200"),
        (2, 0, "200"),
    ]


def test_a_reply_that_comes_slowly_or_in_drips_ends_its_turn_too(caller: Caller) -> None:
    with MessagesAPI([slow(reply(CALL), 0), drip(reply(CALL), interval_s=0.0001), reply(text("done"))]) as api:
        caller.play(api)

    assert [seen.turn for seen in api.requests] == [0, 1, 2]


def test_a_last_fault_without_reply_is_for_ever(caller: Caller) -> None:
    with MessagesAPI([status(500), status(529)]) as api, pytest.raises(anthropic.OverloadedError):
        caller.play(api, retries=4)

    assert [seen.answered for seen in api.requests] == ["500", "529", "529", "529", "529"]


def test_an_answered_turn_asked_for_again_is_answered_again_without_the_fault(caller: Caller) -> None:
    with MessagesAPI([reply(CALL), status(529), reply(CALL)]) as api:
        first = caller.ask(api)
        history: list[Any] = [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": results(first)},
        ]
        with pytest.raises(anthropic.OverloadedError):
            caller.ask(api, *history)
        lost, kept = caller.ask(api, *history), caller.ask(api, *history)

    assert results(lost)[0]["tool_use_id"] != results(kept)[0]["tool_use_id"]


def test_going_on_past_the_script_is_a_violation(caller: Caller) -> None:
    with MessagesAPI([reply(CALL)]) as api:
        with pytest.raises(anthropic.BadRequestError, match="1 turns"):
            caller.play(api)

        assert "the client asks for turn 1" in api.take_violations()[0]


def test_conversations_play_the_script_their_first_message_asks_for(caller: Caller) -> None:
    scripts: dict[str, Script] = {"[a]": [reply(text("A"))], "[b]": [reply(text("B"))], "": [reply(text("?"))]}

    with MessagesAPI(scripts) as api:
        words = [caller.play(api, prompt)[-1]["content"][0].text for prompt in ("x [b]", "[a] x", "x")]

    assert words == ["B", "A", "?"]


def test_a_prompt_no_script_is_for_is_a_violation(caller: Caller) -> None:
    with MessagesAPI({"[a]": [reply(text("A"))]}) as api:
        with pytest.raises(anthropic.BadRequestError, match="markers"):
            caller.ask(api)

        assert len(api.take_violations()) == 1


def test_each_conversation_can_have_a_script_of_its_own_under_one_prompt(caller: Caller) -> None:
    script = each_conversation([reply(text("first"))], [status(529), reply(text("second"))], [reply(text("later"))])

    with MessagesAPI({"go": script}) as api:
        words = [caller.play(api, retries=1)[-1]["content"][0].text for _ in range(4)]

    assert words == ["first", "second", "later", "later"]
    assert list(api.conversations) == ["c1", "c2", "c3", "c4"]


def test_many_identical_trials_at_once_each_get_the_whole_script() -> None:
    async def trial(client: anthropic.AsyncAnthropic, name: str) -> int:
        history: list[Any] = [{"role": "user", "content": "go"}]
        faults = 0
        while True:
            try:
                message = await client.messages.create(
                    model="claude-haiku-4-5", max_tokens=100, messages=history, extra_headers={"x-trial": name}
                )
            except anthropic.OverloadedError:
                faults += 1
                continue
            history.append({"role": "assistant", "content": message.content})
            if message.stop_reason != "tool_use":
                return faults
            history.append({"role": "user", "content": results(message)})

    async def all_trials(client: anthropic.AsyncAnthropic) -> list[int]:
        return await asyncio.gather(*(trial(client, f"trial-{i}") for i in range(20)))

    with MessagesAPI([status(529), reply(CALL), reply(CALL), status(529), reply(text("done"))]) as api:
        assert in_async(api, all_trials) == [2] * 20

    assert {len(seen) for seen in api.conversations.values()} == {5}
    assert len(api.conversations) == 20


# ---- the journal and the validator ----


def test_a_bad_request_is_refused_as_the_api_would_and_written_down(caller: Caller) -> None:
    with MessagesAPI([reply(CALL)]) as api:
        with pytest.raises(anthropic.BadRequestError, match="'top_k' is not a parameter") as caught:
            caller.ask(api, extra_body={"top_k": 1})

        assert api.take_violations() == ["request 0: 'top_k' is not a parameter"]
        assert api.violations == []

    assert caught.value.type == "invalid_request_error"
    assert (api.requests[0].answered, api.requests[0].conversation) == ("400", "")


def test_a_test_that_forgets_the_violations_fails(caller: Caller) -> None:
    with (
        pytest.raises(AssertionError, match="'top_k' is not a parameter"),
        MessagesAPI([reply(CALL)]) as api,
        contextlib.suppress(anthropic.BadRequestError),
    ):
        caller.ask(api, extra_body={"top_k": 1})


def test_a_test_that_fails_anyway_is_told_of_the_violations(caller: Caller) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught, MessagesAPI([reply(CALL)]) as api:
        caller.ask(api, extra_body={"top_k": 1})

    assert "'top_k' is not a parameter" in caught.value.__notes__[0]


def test_violations_can_be_allowed(caller: Caller) -> None:
    with MessagesAPI([reply(CALL)], allow_violations=True) as api, pytest.raises(anthropic.BadRequestError):
        caller.ask(api, extra_body={"top_k": 1})


def test_what_is_not_the_messages_api_is_not_served(http: httpx2.Client) -> None:
    with MessagesAPI([reply(CALL)]) as api:
        answers = [http.get(f"{api.base_url}/v1/models"), http.post(f"{api.base_url}/v1/messages", content=b"{")]

        assert [answer.status_code for answer in answers] == [404, 400]
        assert len(api.take_violations()) == 2


def test_an_error_in_a_script_reaches_the_test(caller: Caller) -> None:
    def script(body: dict[str, Any], turn: int) -> Step:
        raise ZeroDivisionError("oops")

    with MessagesAPI(script) as api:
        with pytest.raises(anthropic.BadRequestError):
            caller.ask(api)

        assert "ZeroDivisionError('oops')" in api.take_violations()[0]


def test_the_journal_shows_the_key_only_in_the_authorization_header(caller: Caller) -> None:
    with MessagesAPI([reply(text("done"))]) as api:
        caller.ask(api)
        caller.ask(api, {"role": "user", "content": f"my key is {KEY}"}, extra_headers={"x-debug": KEY})

    assert api.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(api.requests[0])
    assert api.leaks(KEY) == ["request 1: header x-debug", "request 1: body"]


def test_connections_are_kept_alive_and_pipelined_requests_are_answered_in_order() -> None:
    async def pipelined() -> list[bytes]:
        body = b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"go"}]}'
        head = b"POST /v1/messages HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(api.base_url.rpartition(":")[2]))
        writer.write((head + body) * 3)
        answers = [await reader.readuntil(b'"standard"}}') for _ in range(3)]
        writer.close()
        return answers

    with MessagesAPI(each_conversation(*([reply(text(word))] for word in "abc"))) as api:
        answers = asyncio.run(pipelined())

    assert [f'"text":"{word}"'.encode() in answer for word, answer in zip("abc", answers, strict=True)] == [True] * 3


def test_the_program_prints_its_url_and_ends_with_its_stdin(caller: Caller) -> None:
    command = [sys.executable, "-m", "tests.support.messages_api", "--turns", "3"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with MessagesAPI(echo_script(0)) as api:
            api._port = int(process.stdout.readline().rpartition(":")[2])
            history = caller.play(api)
        process.stdin.close()

        assert process.wait(10) == 0

    assert len(history) == 8
