"""The scripted API: its replies, and how a list of steps is played."""

from __future__ import annotations

import asyncio
from typing import Any

import anthropic
import pytest

from tests.api.caller import CALL, Caller, in_async, results
from tests.support.messages_api import (
    MessagesAPI,
    Script,
    Step,
    cut_body,
    disconnect,
    drip,
    each_conversation,
    reply,
    slow,
    status,
    text,
    thinking,
    tool_use,
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
