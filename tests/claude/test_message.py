"""What the API may answer: what breaks the protocol is malformed, sampled anew, and never the model's failure."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.models.claude import MAX_ATTEMPTS
from pytest_rltask.models.message import STOP_REASONS, Malformed, parsed
from pytest_rltask.run.record import Usage
from tests.claude.desk import TrialPlayer, message, submit
from tests.support.messages_api import raw, reply, text, tool_use

ECHO = tool_use("echo", {"text": "a"})
CALL = {**ECHO, "id": "toolu_1"}


def body(**changes: Any) -> bytes:
    """Return a good message as JSON, with fields changed, or left out where None is given for `...`."""
    whole = {**message(text("Hm."), stop_reason="end_turn"), **changes}
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


MALFORMED: Mapping[str, tuple[bytes, str]] = {
    "no JSON": (b'{"content": [', "a reply that is not JSON"),
    "no UTF-8": (b'{"content": "\xff"}', "a reply that is not JSON"),
    "nothing": (b"", "a reply that is not JSON"),
    "a number of 5,000 digits": (b"1" * 5000, "a reply that is not a message"),
    "nesting without end": (b"[" * 100_000, "a reply that is not JSON"),
    "null": (b"null", "a reply that is not a message"),
    "a list": (b"[]", "a reply that is not a message"),
    "no fields": (b"{}", "a reply that is not a message"),
    "no content": (body(content=...), "a reply that is not a message"),
    "null content": (body(content=None), "a reply that is not a message"),
    "content as text": (body(content="Hm."), "a reply that is not a message"),
    "no usage": (body(usage=...), "a reply that is not a message"),
    "null usage": (body(usage=None), "a reply that is not a message"),
    "usage without tokens": (body(usage={}), "a reply whose usage is not in tokens"),
    "a usage without input": (body(usage={"output_tokens": 5}), "a reply whose usage is not in tokens"),
    "a negative usage": (
        body(usage={"input_tokens": -1, "output_tokens": 5}),
        "a reply whose usage is not in tokens",
    ),
    "a message of the user": (body(role="user"), "a reply that is not a message of the assistant"),
    "an error as a message": (body(type="error"), "a reply that is not a message of the assistant"),
    "a stop reason of no version": (
        body(stop_reason="brand_new"),
        "a reply with the stop reason 'brand_new', which the API does not have",
    ),
    "an empty stop reason": (
        body(stop_reason=""),
        "a reply with the stop reason '', which the API does not have",
    ),
    "an empty pause": (body(stop_reason="pause_turn", content=[]), "a reply that paused before it began"),
    "no stop reason": (body(stop_reason=...), "a reply without a stop reason"),
    "null stop reason": (body(stop_reason=None), "a reply without a stop reason"),
    "a null block": (body(content=[None]), "a reply with a block that lacks its fields"),
    "a block without type": (body(content=[{"text": "Hm."}]), "a reply with a block that lacks its fields"),
    "a text without text": (body(content=[{"type": "text"}]), "a reply with a block that lacks its fields"),
    "a call without id": (body(content=[{**ECHO, "id": None}]), "a reply with a block that lacks its fields"),
    "a call without input": (
        body(content=[{"type": "tool_use", "id": "a", "name": "echo"}]),
        "a reply with a block that lacks its fields",
    ),
    "a call with an empty id": (body(content=[{**ECHO, "id": ""}]), "a reply with a block that lacks its fields"),
    "a call without name": (
        body(content=[{"type": "tool_use", "id": "a", "input": {}}]),
        "a reply with a block that lacks its fields",
    ),
    "a call of nothing": (body(content=[tool_use(" ", {}, id="a")]), "a reply with a block that lacks its fields"),
    "a thought without text": (body(content=[{"type": "thinking"}]), "a reply with a block that lacks its fields"),
    **{
        f"a call with {value!r} for an object": (
            body(content=[{**ECHO, "id": "a", "input": value}], stop_reason="tool_use"),
            "a reply with a tool call whose input is no object",
        )
        for value in (None, [], "text", 12, [{"text": "a"}], '{"text": "a"', '{"text": "a"}')
    },
    **{
        f"a call at {stop}": (
            body(content=[{**ECHO, "id": "a"}], stop_reason=stop),
            f"a reply that calls a tool but did not stop for it ({stop})",
        )
        for stop in ("end_turn", "stop_sequence", "pause_turn")
    },
    "a tool stop without call": (body(stop_reason="tool_use"), "a reply that stopped for a tool but calls none"),
    "two calls of one id": (body(content=[{**ECHO, "id": "a"}] * 2), "a reply with two tool calls of one id"),
}


def problem(content: bytes) -> str | None:
    """Return what is wrong with an answer; None if nothing is."""
    try:
        parsed(content, "req_1")
    except Malformed as error:
        return str(error)
    return None


@pytest.mark.parametrize("what", MALFORMED)
def test_what_is_malformed_is_said(what: str):
    content, told = MALFORMED[what]

    assert problem(content) == told


def test_every_malformed_reply_is_sampled_anew_and_logged(desk: TrialPlayer):
    cases = list(MALFORMED.values())
    turns = [cases[first : first + MAX_ATTEMPTS - 1] for first in range(0, len(cases), MAX_ATTEMPTS - 1)]
    script = [[*(raw(200, "application/json", content) for content, _ in turn), reply(ECHO)] for turn in turns]

    record = desk([*itertools.chain(*script), submit()], turns=20).record

    assert record.outcome == "passed"
    assert [request.faults for request in record.requests] == [*(tuple(told for _, told in turn) for turn in turns), ()]


@pytest.mark.parametrize(
    "what", ["a call at end_turn", "a stop reason of no version", 'a call with \'{"text": "a"\' for an object']
)
def test_what_stays_malformed_errs_the_trial_and_runs_no_tool(desk: TrialPlayer, what: str):
    content, told = MALFORMED[what]

    played = desk([reply(ECHO), raw(200, "application/json", content)])

    fault = played.record.fault
    assert fault
    assert (played.record.outcome, fault.kind, fault.message) == ("errored", "api", f"{told} ({MAX_ATTEMPTS} attempts)")
    assert played.events == ["echo a", "close"]


def test_replies_of_no_use_are_paid_for_all_the_same(desk: TrialPlayer):
    spoilt = raw(200, "application/json", MALFORMED["a call at end_turn"][0])  # 10 tokens in, 5 out
    free = raw(200, "application/json", MALFORMED["no usage"][0])

    record = desk([spoilt, free, spoilt, submit()]).record

    assert record.outcome == "passed"
    assert record.usage == Usage(100 + 2 * 10, 20 + 2 * 5)
    assert record.cost_usd == pytest.approx((120 * 1 + 30 * 5) / 1e6)


def test_what_a_trial_cost_that_got_no_reply_of_use_is_counted(desk: TrialPlayer):
    spoilt = raw(200, "application/json", MALFORMED["a call at end_turn"][0])

    record = desk([reply(ECHO), spoilt]).record

    assert (record.outcome, record.turns) == ("errored", 1)
    assert record.usage == Usage(100 + MAX_ATTEMPTS * 10, 20 + MAX_ATTEMPTS * 5)
    assert record.cost_usd == pytest.approx((180 * 1 + 60 * 5) / 1e6)
    assert (record.requests[1].stop_reason, len(record.requests[1].faults)) == ("malformed", MAX_ATTEMPTS)


@pytest.mark.parametrize("stop_reason", STOP_REASONS)
@pytest.mark.parametrize("calls", [0, 1])
def test_each_stop_reason_says_whether_its_reply_may_call_tools(stop_reason: str, calls: int):
    content = [text("Hm."), *[CALL] * calls]

    said = problem(body(stop_reason=stop_reason, content=content))

    assert (said is None) == (STOP_REASONS[stop_reason] in (("none", "any") if calls == 0 else ("some", "any")))


def test_blocks_and_fields_still_to_come_are_no_fault():
    new = {"type": "hologram", "text": 5, "input": None}

    assert problem(body(content=[new, text("Hm.")], usage={"input_tokens": 1, "output_tokens": 1, "new": {}})) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(["type", "role", "content", "stop_reason", "usage", "model"])
BLOCKS = st.dictionaries(
    st.sampled_from(["type", "id", "name", "input", "text", "thinking"]),
    st.sampled_from(["text", "tool_use", "thinking"]) | JSON,
)


@given(st.dictionaries(FIELDS, JSON | st.lists(BLOCKS, max_size=2) | st.sampled_from(sorted(STOP_REASONS))))
def test_nothing_a_server_sends_is_anything_but_malformed_or_a_message(changes: dict[str, Any]):
    content = body(**changes)

    if problem(content) is None:
        assert isinstance(parsed(content, None)["content"], list)
