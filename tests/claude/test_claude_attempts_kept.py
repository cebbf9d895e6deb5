"""One request to Claude in virtual time: what is kept of its attempts, what is sent, what a cancelled one leaves."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pytest_rltask.models import Reply
from pytest_rltask.models import limiter as limiter_module
from pytest_rltask.models.claude import ClaudeModel
from pytest_rltask.run.record import Usage
from tests.claude import virtual_time
from tests.claude.test_claude_attempts import KEY, MODEL, Api, asks, failed, message, replied, request, status

PRICE = 1e-6
"""US dollars for each token of input."""


@pytest.fixture(autouse=True)
def _no_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter_module._JITTER, "uniform", lambda low, high: high)


# ---- what is kept ----


@pytest.mark.parametrize(("count", "kept"), [(19, 19), (20, 20), (21, 20), (30, 20)])
def test_of_many_faults_twenty_lines_are_kept(count: int, kept: int):
    reply = replied(Api(*[status(529, retry_after="1")] * count, message()))

    assert len(reply.faults) == kept
    last = "HTTP 529: said" if count <= 20 else f"... and {count - 19} more"
    assert reply.faults[-1] == last
    assert set(reply.faults[:-1]) == {"HTTP 529: said"}


def test_what_is_of_no_use_is_paid_and_told_and_tried_again():
    spoilt = message(tokens=300, stop_reason="unheard of")

    reply = replied(Api(spoilt, b"<html>", message(tokens=100)))

    assert reply.usage == Usage(input_tokens=400)
    assert reply.cost_usd == pytest.approx(400 * PRICE)
    assert [fault[:40] for fault in reply.faults] == [
        "a reply with the stop reason 'unheard of",
        "a reply that is not JSON",
    ]


def test_where_all_is_of_no_use_what_it_cost_is_told():
    fault = failed(Api(message(tokens=50, stop_reason="unheard of")))

    assert fault.billed is not None
    assert (fault.billed.usage, fault.billed.cost_usd) == (Usage(input_tokens=8 * 50), pytest.approx(400 * PRICE))
    assert len(fault.billed.faults) == 8
    assert fault.billed.content == []


@pytest.mark.parametrize("tokens", [(50,), (50, 7), (50, 7, 3)])
def test_a_request_that_is_given_up_is_told_by_its_last_answer_and_cost_what_all_did(tokens: tuple[int, ...]):
    spoilt = [message(tokens=count, stop_reason="unheard of", model=f"claude-{count}") for count in tokens]

    billed = failed(Api(*spoilt, status(422))).billed

    assert billed is not None
    assert (billed.usage, billed.model) == (Usage(input_tokens=sum(tokens)), f"claude-{tokens[-1]}")
    assert billed.request_id == f"req-{len(tokens) - 1}"
    assert billed.faults[-1] == "HTTP 422: said"


def test_one_price_that_is_unknown_makes_the_sum_unknown():
    api = Api(message(stop_reason="unheard of", model="claude-unknown"), message())

    (reply,) = asks(api, request(), name="claude-unknown")

    assert isinstance(reply, Reply)
    assert (reply.cost_usd, reply.usage) == (None, Usage(input_tokens=200))


def test_tokens_of_each_kind_are_counted_and_nulls_are_none():
    usage = {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3, "cache_creation_input_tokens": None}

    assert replied(Api(message(usage=usage))).usage == Usage(1, 2, 3, 0)


def test_a_key_is_struck_out_and_a_long_fault_is_cut():
    assert replied(Api(status(500, f"{KEY} is bad"), message())).faults == ("HTTP 500: *** is bad",)
    (fault,) = replied(Api(status(500, "x" * 1000), message())).faults
    assert len(fault) == 400


# ---- what is sent ----


def test_what_there_is_not_is_not_sent():
    api = Api(message())
    tools = [{"name": "run"}]

    asks(api, request(), request(system="Be brief.", tools=tools))

    assert [sorted(sent) for sent in api.sent] == [
        ["extra_body", "max_tokens", "messages", "model", "timeout"],
        ["extra_body", "max_tokens", "messages", "model", "system", "timeout", "tools"],
    ]
    assert (api.sent[1]["system"], api.sent[1]["tools"], api.sent[1]["max_tokens"]) == ("Be brief.", tools, 77)


def content_of(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return replied(Api(message(content=list(blocks)))).content


def nested(levels: int) -> Any:
    value: Any = "end"
    for _ in range(levels):
        value = [value]
    return value


def depth_of(value: Any) -> tuple[int, Any]:
    levels = 0
    while isinstance(value, list):
        (value,), levels = value, levels + 1
    return levels, value


def test_a_blank_text_is_not_sent_back():
    text = {"type": "text", "text": " x "}

    assert content_of({"type": "text", "text": " \n"}, text, {"type": "thinking", "thinking": ""}) == [
        text,
        {"type": "thinking", "thinking": ""},
    ]


@pytest.mark.parametrize(("levels", "kept", "end"), [(61, 61, "end"), (62, 62, "end"), (63, 62, "(nested too deeply)")])
def test_what_nests_deeper_than_the_sdk_can_send_is_left_out(levels: int, kept: int, end: str):
    (block,) = content_of({"type": "other", "input": {"a": nested(levels)}})

    assert depth_of(block["input"]["a"]) == (kept, end)


def test_what_no_request_can_carry_is_mended_and_all_else_is_verbatim():
    (block,) = content_of(
        {"type": "other", "a": "\ud800x", "\udfff": 1, "b": [1e999, 1.5, None, True, "grün \U0001f600"]}
    )

    assert block == {"type": "other", "a": "\ufffdx", "\ufffd": 1, "b": ["inf", 1.5, None, True, "grün \U0001f600"]}


# ---- cancelled ----


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_a_request_that_is_cancelled_leaves_an_estimate_and_one_that_ended_leaves_none(is_cancelled: bool):
    one = request(10, messages=[{"role": "user", "content": "x" * 101}], system="é")

    async def asked() -> None:
        model = ClaudeModel(MODEL, client=Api(message(), takes_s=5.0))  # type: ignore[arg-type]
        asking = asyncio.create_task(model.reply(one))
        await asyncio.sleep(1)
        if is_cancelled:
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        else:
            await asking

    virtual_time.run(asked())

    estimates = [estimate() for estimate in one.under_way]
    assert len(estimates) == is_cancelled
    for estimate in estimates:
        sent = '["é", [], [{"role": "user", "content": "' + "x" * 101 + '"}]]'
        assert estimate.usage == Usage(input_tokens=-(-len(sent) // 4))
        assert estimate.cost_usd == pytest.approx(estimate.usage.input_tokens * PRICE)
        assert (estimate.content, estimate.stop_reason) == ([], "unanswered")


@pytest.mark.parametrize("answer", [status(500), status(422), b"{"])
def test_a_request_that_failed_leaves_no_estimate(answer: Any):
    one = request(0.1)

    failed(Api(answer), one)

    assert one.under_way == []


def test_a_mistake_of_ours_is_passed_on():
    api = Api(KeyError("ours"))

    with pytest.raises(KeyError, match="ours"):
        asks(api)
    assert len(api.asked_at) == 1
