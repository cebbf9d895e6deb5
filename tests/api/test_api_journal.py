"""The scripted API's journal and its validator, and the program that serves it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from tests.api.caller import CALL, KEY, Caller
from tests.support.messages_api import MessagesAPI, Step, each_conversation, echo_script, reply, text

ROOT = Path(__file__).parents[2]


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
