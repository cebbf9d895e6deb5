"""What Claude is sent and told: turns, tool results, odd calls, odd outputs, odd texts."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from pytest_rltask import Episode, Grade
from tests.claude.desk import MODEL, DeskEpisode, TrialPlayer, message, submit
from tests.support.messages_api import reply, text, thinking, tool_use

SUBMISSION = message(tool_use("submit", {"answer": 12}, id="toolu_submit"))


def test_parallel_calls_are_answered_once_each_in_order_before_the_reminder(desk: TrialPlayer):
    class Reminding(DeskEpisode):
        def remind(self) -> str:
            return "Think of the budget."

    calls = [tool_use("echo", {"text": letter}, id=f"toolu_{letter}") for letter in "cab"]

    played = desk([reply(text("Three at once."), *calls), submit()], kind=Reminding, tool_calls=5)

    assert played.record.outcome == "passed"
    assert played.answers() == [
        {"type": "tool_result", "tool_use_id": "toolu_c", "content": "c"},
        {"type": "tool_result", "tool_use_id": "toolu_a", "content": "a"},
        {"type": "tool_result", "tool_use_id": "toolu_b", "content": "b"},
        {"type": "text", "text": "2 of 5 tool calls remain."},
        {"type": "text", "text": "Think of the budget."},
    ]
    assert played.events == [
        "hears Three at once.",
        "echo c",
        "echo a",
        "echo b",
        "submit 12",
        "finish",
        "grade",
        "close",
    ]


def test_the_history_is_only_ever_extended(desk: TrialPlayer):
    played = desk([reply(tool_use("echo", {"text": str(turn)})) for turn in range(4)] + [submit()])

    histories = [body["messages"] for body in played.bodies]
    assert [len(history) for history in histories] == [1, 3, 5, 7, 9]
    assert all(longer[: len(shorter)] == shorter for shorter, longer in itertools.pairwise(histories))
    assert played.record.messages[:9] == histories[-1]
    assert (played.record.turns, played.record.tool_calls, played.record.stop) == (5, 5, "done")


def test_thinking_and_blocks_unknown_to_the_sdk_go_back_verbatim(desk: TrialPlayer):
    blocks = [
        thinking("", signature="c2ln"),
        {"type": "redacted_thinking", "data": "ZGF0YQ=="},
        tool_use("echo", {"text": "a", "times": 1}, id="toolu_1"),
    ]

    played = desk([reply(*blocks), submit()])

    assert played.bodies[1]["messages"][1]["content"] == blocks


def test_a_block_of_a_type_still_to_come_goes_back_as_it_came(desk: TrialPlayer):
    new = {"type": "hologram", "text": "a field that text blocks have too", "angle": [1, None], "id": None}
    call = {**tool_use("echo", {"text": "a"}, id="toolu_1"), "caller": {"type": "direct"}}

    played = desk.mocked([message(new, call), SUBMISSION])

    assert played.bodies[1]["messages"][1]["content"] == [new, call]
    assert played.record.outcome == "passed"


def test_each_request_asks_for_caching_and_carries_the_tools(desk: TrialPlayer):
    class Instructed(DeskEpisode):
        system = "You are terse."

    played = desk([reply(tool_use("echo", {"text": "a"})), submit()], kind=Instructed, reply_tokens=777)

    for body in played.bodies:
        assert body["model"] == MODEL
        assert body["max_tokens"] == 777
        assert body["cache_control"] == {"type": "ephemeral"}
        assert body["system"] == "You are terse."
        assert [tool["name"] for tool in body["tools"]] == ["submit", "echo", "measure", "give", "refuse"]
        assert body["tools"][0] == {
            "name": "submit",
            "description": "Submit the answer.",
            "input_schema": {
                "type": "object",
                "properties": {"answer": {"type": "integer", "description": "A whole number."}},
                "required": ["answer"],
                "additionalProperties": False,
            },
        }


def test_a_trial_without_system_prompt_or_tools_sends_neither(desk: TrialPlayer):
    class Talk(Episode):
        prompt = "Say something."

        def __init__(self, seed: int) -> None:
            pass

        def grade(self) -> Grade:
            return Grade(1.0, threshold=1.0)

    played = desk([reply(text("Something."))], kind=Talk)

    assert played.bodies[0].keys().isdisjoint({"tools", "system"})
    assert played.record.outcome == "passed"


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("shell", {"command": "ls"}, "no tool 'shell'. The tools are: submit, echo, measure, give, refuse."),
        ("submit", {"answer": "12"}, "answer: Input should be a valid integer"),
        ("submit", {"answer": True}, "answer: Input should be a valid integer"),
        ("submit", {"answer": 12.5}, "answer: Input should be a valid integer"),
        ("submit", {}, "answer: Field required"),
        ("submit", {"answer": 12, "force": 1}, "force: Extra inputs are not permitted"),
        ("measure", {"share": 1.0}, "share: Input should be less than 1"),
        ("measure", {"share": False}, "share: Input should be a valid number"),
        ("echo", {"text": None}, "text: Input should be a valid string"),
        ("refuse", {}, "not today?"),
    ],
)
def test_a_call_that_cannot_run_is_told_why_and_costs_nothing(
    desk: TrialPlayer, name: str, arguments: dict[str, Any], told: str
):
    played = desk([reply(tool_use(name, arguments)), submit()], tool_calls=1)

    result = played.answers()[0]
    assert result["is_error"] is True
    assert told in result["content"]
    assert played.record.outcome == "passed"
    assert played.record.tool_calls == 1  # the submission


@pytest.mark.parametrize("number", ["1e309", "-1e309", "NaN", "Infinity"])
def test_a_number_no_request_can_carry_is_sent_back_as_text(desk: TrialPlayer, number: str):
    body = json.dumps(message(tool_use("measure", {"share": 0.5}, id="toolu_1"))).replace("0.5", number)

    played = desk.mocked([body.encode(), SUBMISSION])

    assert played.bodies[1]["messages"][1]["content"][0]["input"] == {"share": str(float(number))}
    assert "share: Input should be a valid number" in played.answers()[0]["content"]
    assert played.record.outcome == "passed"


def test_a_long_output_keeps_its_head_and_its_tail(desk: TrialPlayer):
    played = desk([reply(tool_use("echo", {"text": "<middle>", "times": 1_250_000})), submit()], tool_output_chars=1000)

    shown = played.answers()[0]["content"]
    assert shown.startswith("<middle>" * 31)
    assert shown.endswith("<middle>" * 93)
    assert "[... 9,999,000 characters cut ...]" in shown
    assert len(shown) < 1100


def test_an_error_text_is_cut_too(desk: TrialPlayer):
    played = desk([reply(tool_use("echo", {"x" * 50_000: 1})), submit()], tool_output_chars=1000)

    assert len(played.answers()[0]["content"]) < 1100


@pytest.mark.parametrize(
    ("what", "shown"),
    [
        ("nothing", "null"),
        ("empty", "(no output)"),
        ("number", "1.5"),
        ("list", '[1, "two", null]'),
        ("dict", '{"exit": 0, "output": "grün"}'),
        ("control", "\x00\x1b[31m"),
        ("surrogate", "a?b"),
        ("nested surrogate", '{"a?": ["b?"]}'),
        ("nan", '{"loss": null}'),
    ],
)
def test_whatever_a_tool_returns_becomes_text(desk: TrialPlayer, what: str, shown: str):
    played = desk([reply(tool_use("give", {"what": what})), submit()])

    assert played.answers()[0]["content"] == shown
    assert played.record.outcome == "passed"


def test_lone_surrogates_of_the_model_are_mended_and_judged(desk: TrialPlayer):
    odd = [text("a\ud800"), tool_use("echo", {"text": "b\udfff"}, id="toolu_1"), tool_use("x\ud83d", {}, id="toolu_2")]

    played = desk.mocked([message(*odd), SUBMISSION])

    said, echoed, unknown = played.bodies[1]["messages"][1]["content"]
    assert (said["text"], echoed["input"], unknown["name"]) == ("a\ufffd", {"text": "b\ufffd"}, "x\ufffd")
    assert played.answers()[0]["content"] == "b\ufffd"
    assert played.record.outcome == "passed"


def test_an_emoji_in_two_escapes_is_no_lone_surrogate(desk: TrialPlayer):
    played = desk.mocked([message(text("😀"), *SUBMISSION["content"])])

    assert played.record.messages[1]["content"][0]["text"] == "😀"


def test_a_call_nested_deeper_than_can_be_sent_back_is_mended_and_judged(desk: TrialPlayer):
    nested: Any = 0
    for _ in range(400):
        nested = [nested]

    played = desk.mocked([message(tool_use("echo", {"text": nested}, id="toolu_1")), SUBMISSION])

    assert "(nested too deeply)" in json.dumps(played.bodies[1]["messages"][1])
    assert "text: Input should be a valid string" in played.answers()[0]["content"]
    assert played.record.outcome == "passed"


def test_texts_of_the_task_with_lone_surrogates_are_mended(desk: TrialPlayer):
    class Odd(DeskEpisode):
        prompt = "p\ud800"
        system = "s\ud800"

        def remind(self) -> str:
            return "r\ud800"

    played = desk([reply(tool_use("echo", {"text": "a"})), submit()], kind=Odd)

    assert played.bodies[1]["system"] == "s?"
    assert played.bodies[1]["messages"][0]["content"] == [{"type": "text", "text": "p?"}]
    assert played.answers()[1] == {"type": "text", "text": "r?"}


def test_a_blank_reminder_is_left_out(desk: TrialPlayer):
    class Blank(DeskEpisode):
        def remind(self) -> str:
            return " \n"

    played = desk([reply(tool_use("echo", {"text": "a"})), submit()], kind=Blank)

    assert [block["type"] for block in played.answers()] == ["tool_result"]
