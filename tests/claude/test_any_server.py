"""`api:NAME` at a server that speaks the Messages API almost: what is sent it, what is taken of it, what is told."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from pytest_rltask import Limits
from pytest_rltask.models import limiter
from pytest_rltask.models.lenient import mended
from pytest_rltask.models.named import make_model, parse_model
from pytest_rltask.models.prices import Prices
from pytest_rltask.run.record import Record
from pytest_rltask.trial.play import play
from tests.claude.desk import Desk, Played, assert_plain, spec_of
from tests.support.messages_api import MessagesAPI, Raw, raw, reply, status, text, tool_use

NAME = "api:qwen/qwen3-8b:free"
CALL = {"type": "tool_use", "id": "a", "name": "echo", "input": {"text": "x"}}
SUBMIT = {**CALL, "id": "s", "name": "submit", "input": {"answer": 12}}
USAGE = {"input_tokens": 10, "output_tokens": 5}


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "MAX_BACKOFF_S", 0.0)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Plays one trial of the desk at a server that answers anything, and checks nothing."""

    def play_it(*steps: Any, name: str = NAME, prices: Prices | None = None, **limits: Any) -> Played:
        left = list(steps)
        task = Desk()
        with MessagesAPI(lambda body, turn: left.pop(0) if len(left) > 1 else left[0], allow_violations=True) as api:
            monkeypatch.setenv("ANTHROPIC_BASE_URL", api.base_url)

            async def one() -> Record:
                model = make_model(parse_model(name), prices=prices)
                try:
                    return await play(spec_of(task, name, Limits(**limits)), model)
                finally:
                    await model.aclose()

            record = asyncio.run(one())
            seen = api.wait_until_idle()
        assert_plain(record)
        return Played(record, task.opened, seen)

    return play_it


def answer(*blocks: Any, **fields: Any) -> Raw:
    """Return an answer of a server, as plain as it sends it."""
    return raw(200, "application/json", json.dumps({"content": list(blocks), **fields}).encode())


def test_it_is_sent_the_bare_protocol_and_no_key_of_anybodys(played: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)

    (seen,) = played(answer(SUBMIT, stop_reason="tool_use", usage=USAGE)).requests

    assert seen.body.keys() == {"model", "max_tokens", "messages", "tools"}
    assert seen.body["model"] == "qwen/qwen3-8b:free"
    assert seen.headers["authorization"] == "Bearer no-key-is-set"
    assert not [name for name in seen.headers if "beta" in name]


def test_it_is_sent_the_key_that_there_is(played: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of-that-server")

    (seen,) = played(answer(SUBMIT, stop_reason="tool_use", usage=USAGE)).requests

    assert seen.headers["authorization"] == "Bearer of-that-server"


def test_what_fails_and_what_remains_stand_in_the_results(played: Any):
    calls = [{**CALL, "id": "1", "name": "nothing"}, {**CALL, "id": "2"}]

    one = played(answer(*calls, stop_reason="tool_use", usage=USAGE), answer(SUBMIT, usage=USAGE), tool_calls=5)

    results = one.requests[1].body["messages"][2]["content"]
    assert [block["type"] for block in results] == ["tool_result", "tool_result"]
    assert results[0]["content"].startswith("Error: There is no tool 'nothing'.")
    assert results[1]["content"] == "x\n\n4 of 5 tool calls remain."
    assert one.answers()[-1] == {"type": "text", "text": "4 of 5 tool calls remain."}


@pytest.mark.parametrize(
    "step",
    [
        answer(SUBMIT),
        answer(SUBMIT, usage=None, stop_reason=None),
        answer(SUBMIT, usage={"prompt_tokens": 10, "completion_tokens": 5}, stop_reason="tool_calls"),
        answer(SUBMIT, usage=USAGE, stop_reason="end_turn"),
        answer({**SUBMIT, "id": ""}, usage=USAGE, stop_reason="tool_use"),
        answer({key: SUBMIT[key] for key in ("type", "name", "input")}, stop_reason="tool_use"),
        answer({**SUBMIT, "input": '{"answer": 12}'}, stop_reason="tool_use"),
        answer({**SUBMIT, "id": 7}, {"type": "text", "text": None}, stop_reason="stop"),
    ],
)
def test_what_is_plain_is_taken_as_it_is_meant(played: Any, step: Raw):
    record = played(step).record

    assert (record.outcome, record.turns, record.fault) == ("passed", 1, None)


def test_two_calls_of_one_id_are_told_apart(played: Any):
    one = played(answer(CALL, CALL, stop_reason="tool_use"), answer(SUBMIT))

    said, told = one.requests[1].body["messages"][1:3]
    ids = [block["id"] for block in said["content"]]
    assert ids[0] == "a"
    assert ids == [block["tool_use_id"] for block in told["content"]]
    assert len(set(ids)) == 2


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (answer({**SUBMIT, "input": '{"answer":'}, stop_reason="tool_use"), "a tool call whose input is no object"),
        (answer({**SUBMIT, "input": [12]}, stop_reason="tool_use"), "a tool call whose input is no object"),
        (answer({"type": "text", "text": "hm"}, stop_reason="tool_use"), "stopped for a tool but calls none"),
        (answer({"type": "text", "text": "hm"}, stop_reason="tired"), "the stop reason 'tired'"),
        (answer(stop_reason=None), "a reply without a stop reason"),
        (raw(200, "application/json", b'{"choices": []}'), "a reply that is not a message"),
        (raw(200, "application/json", b'{"error": {"message": "no GPU"}}'), "an error in place of a reply: no GPU"),
        (raw(500, "application/json", b'{"error": {"code": 500, "message": "no tools"}}'), "HTTP 500: no tools"),
        (raw(400, "application/json", b'{"error": "model is not loaded"}'), "HTTP 400: model is not loaded"),
        (raw(422, "application/json", b'{"detail": [{"msg": "not allowed"}]}'), "HTTP 422: not allowed"),
        (raw(400, "text/plain", b"no\nsuch thing"), "HTTP 400: no such thing"),
        (raw(404, "text/plain", b"404 page not found"), "404 page not found; check the name behind api:, and that the"),
        (raw(405, "text/plain", b"Method Not Allowed"), "Method Not Allowed; check the name behind api:"),
        (raw(401, "application/json", b"{}"), "HTTP 401: AuthenticationError; set ANTHROPIC_API_KEY to the key of"),
        (status(400, message="speed: no such field"), "speed: no such field; speed=fast is set by rltask_request, or"),
    ],
)
def test_what_is_the_servers_fault_is_told_and_never_the_models(played: Any, step: Any, said: str):
    record = played(step, name=f"{NAME}@speed=fast").record

    assert (record.outcome, record.label) == ("errored", "api fault")
    assert said in record.reason


def test_a_price_is_the_users_or_unknown(played: Any):
    steps = (answer(SUBMIT, stop_reason="tool_use", usage={**USAGE, "input_tokens": 1_000_000}),)

    unknown = played(*steps).record
    known = played(*steps, prices=Prices({NAME: (0.1, 2.0)})).record

    assert unknown.cost_usd is None
    assert known.cost_usd == pytest.approx(0.1 + 5 * 2e-6)


@pytest.mark.parametrize("whatever", [None, 5, "text", [], {}, {"content": 5}, {"content": [None]}, {"error": 1}])
def test_what_is_no_message_stays_what_it_is(whatever: object):
    found = mended(whatever)

    assert found == whatever or (isinstance(found, dict) and found["content"] == dict(whatever)["content"])  # type: ignore[call-overload]


def test_a_reply_in_order_stays_as_it_came():
    message = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "a"}, CALL], "x": 1}
    message |= {"stop_reason": "tool_use", "usage": {**USAGE, "cache_read_input_tokens": 3, "speed": "fast"}}

    assert mended(message) == message | {"usage": message["usage"] | {"cache_creation_input_tokens": 0}}  # type: ignore[operator]


def test_the_api_itself_is_held_to_its_protocol(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    step = answer(SUBMIT, stop_reason=None, usage=USAGE)
    with MessagesAPI([step, reply(text("x"), tool_use("submit", {"answer": 12}))], allow_violations=True) as api:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", api.base_url)
        record = asyncio.run(play(spec_of(Desk(), "claude-x"), make_model(parse_model("claude-x"))))

    assert record.requests[0].faults == ("a reply without a stop reason",)
