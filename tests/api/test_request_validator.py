"""The validator's own tests: it must refuse what the API refuses, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.support.request_validator import Conversation, RequestValidator, check_shape

Body = dict[str, Any]

CALL = {"type": "tool_use", "id": "toolu_1", "name": "echo", "input": {"text": "hi"}}
CALL_2 = {**CALL, "id": "toolu_2"}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "hi"}
RESULT_2 = {**RESULT, "tool_use_id": "toolu_2"}
REMINDER = {"type": "text", "text": "3 calls left"}
ECHO = {"name": "echo", "description": "Say it again.", "input_schema": {"type": "object", "properties": {}}}


def user(content: object) -> Body:
    return {"role": "user", "content": content}


def assistant(*blocks: object) -> Body:
    return {"role": "assistant", "content": list(blocks)}


def request(*messages: Body, **params: Any) -> Body:
    """A request as our loop would send it; a parameter given as None is left out."""
    body = {"model": "claude-haiku-4-5", "max_tokens": 100, "tools": [ECHO], "messages": list(messages), **params}
    return {name: value for name, value in body.items() if value is not None}


def tool(**changes: object) -> Body:
    return request(user("go"), tools=[{**ECHO, **changes}])


THINKING = {"type": "thinking", "thinking": "", "signature": "c2ln"}

GOOD = {
    "a prompt": request(user("go")),
    "a prompt in blocks": request(user([{"type": "text", "text": "go"}])),
    "caching, thinking and a system prompt": request(
        user("go"), system="Be brief.", cache_control={"type": "ephemeral"}, thinking={"type": "adaptive"}
    ),
    "consecutive user messages": request(user("go"), user("now")),
    "a system message in between": request(user("go"), {"role": "system", "content": "Be brief."}),
    "a result": request(user("go"), assistant(CALL), user([RESULT])),
    "a failed result without content": request(
        user("go"), assistant(CALL), user([{"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True}])
    ),
    "two results in the other order, then a reminder": request(
        user("go"), assistant(THINKING, CALL, CALL_2), user([RESULT_2, RESULT, REMINDER])
    ),
    "a tool with constraints and extras": tool(
        strict=True,
        input_schema={"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}, "$defs": {}},
    ),
    "a tool of the API's own": request(user("go"), tools=[{"type": "bash_20250124", "name": "bash"}]),
}

BAD = {
    "missing max_tokens": (request(user("go"), max_tokens=None), "'max_tokens' is a required property"),
    "missing model": (request(user("go"), model=None), "'model' is a required property"),
    "missing messages": ({"model": "m", "max_tokens": 1}, "'messages' must be a list"),
    "no messages": (request(), "messages: empty"),
    "max_tokens of zero": (request(user("go"), max_tokens=0), "max_tokens: 0 is less than 1"),
    "temperature": (request(user("go"), temperature=0.5), "'temperature' is not a parameter"),
    "top_p": (request(user("go"), top_p=0.5), "'top_p' is not a parameter"),
    "streaming": (request(user("go"), stream=True), "stream"),
    "a bad cache lifetime": (request(user("go"), cache_control={"type": "ephemeral", "ttl": "2h"}), "cache_control"),
    "a bad tool_choice": (request(user("go"), tool_choice={"type": "echo"}), "tool_choice"),
    "a bad role": (request({"role": "tool", "content": "go"}), "role 'tool'"),
    "an extra field of a message": (request({**user("go"), "name": "me"}), "'name' is not a field"),
    "an assistant's word first": (request(assistant(REMINDER), user("go")), "first message must be the user's"),
    "empty content": (request(user([])), "messages.0: content is empty"),
    "an empty string": (request(user("")), "messages.0: content is empty"),
    "content of no kind": (request(user(None)), "content must be a string or a list"),
    "blank text": (request(user(" \n")), "messages.0: text is blank"),
    "an empty text block": (request(user([{"type": "text", "text": ""}])), "messages.0.content.0: text is blank"),
    "empty text inside a result": (
        request(user("go"), assistant(CALL), user([{**RESULT, "content": [{"type": "text", "text": ""}]}])),
        "messages.2.content.0.content.0: text is empty",
    ),
    "an unknown block": (request(user([{"type": "poem"}])), "unknown block type 'poem'"),
    "an extra field of a block": (request(user([{**REMINDER, "index": 0}])), "messages.0.content.0"),
    "thinking without signature": (
        request(user("go"), assistant({"type": "thinking", "thinking": "hm"}), user("on")),
        "'signature' is a required property",
    ),
    "a user who calls tools": (request(user([CALL])), "a message of role user cannot hold tool_use"),
    "an assistant who answers them": (
        request(user("go"), assistant(CALL), assistant(RESULT)),
        "a message of role assistant cannot hold tool_result",
    ),
    "a result without id": (
        request(user("go"), assistant(CALL), user([{"type": "tool_result", "content": "hi"}])),
        "'tool_use_id' is a required property",
    ),
    "a result for an unknown id": (
        request(user("go"), assistant(CALL), user([RESULT, RESULT_2])),
        "tool_result for toolu_2, which the message before did not ask for",
    ),
    "a result for an older call": (
        request(user("go"), assistant(CALL), user([RESULT]), assistant(CALL_2), user([RESULT_2, RESULT])),
        "messages.4: tool_result for toolu_1",
    ),
    "an unanswered call": (request(user("go"), assistant(CALL, CALL_2), user([RESULT])), "toolu_2 not answered"),
    "a call never answered": (request(user("go"), assistant(CALL)), "messages.1: tool_use toolu_1 not answered"),
    "a call answered one message late": (
        request(user("go"), assistant(CALL), user("wait"), user([RESULT])),
        "messages.2: tool_use toolu_1 not answered",
    ),
    "a call answered twice": (
        request(user("go"), assistant(CALL), user([RESULT, RESULT])),
        "toolu_1 answered 2 times",
    ),
    "a reminder before the results": (
        request(user("go"), assistant(CALL), user([REMINDER, RESULT])),
        "tool results must come first, found text, tool_result",
    ),
    "a reminder between the results": (
        request(user("go"), assistant(CALL, CALL_2), user([RESULT, REMINDER, RESULT_2])),
        "tool results must come first",
    ),
    "a tool without schema": (request(user("go"), tools=[{"name": "echo"}]), "'input_schema' is a required property"),
    "a tool with an extra field": (tool(color="red"), "tools.0"),
    "a tool name with a dot": (tool(name="my.echo"), "tools.0.name: 'my.echo' does not match"),
    "a tool name too long": (tool(name="e" * 129), "does not match"),
    "a tool name with a newline": (tool(name="echo\n"), "does not match"),
    "two tools of one name": (request(user("go"), tools=[ECHO, ECHO]), "names are not unique: echo, echo"),
    "a tool schema that is not of an object": (tool(input_schema={"type": "string"}), "type must be 'object'"),
    "a tool schema that is none": (
        tool(input_schema={"type": "object", "properties": {"n": {"type": "int"}}}),
        "not a JSON schema",
    ),
}


@pytest.mark.parametrize("body", GOOD.values(), ids=GOOD.keys())
def test_it_accepts_a_good_request(body: Body) -> None:
    assert check_shape(body) == []


@pytest.mark.parametrize(("body", "words"), BAD.values(), ids=BAD.keys())
def test_it_refuses_a_bad_request_and_says_why(body: Body, words: str) -> None:
    violations = check_shape(body)

    assert any(words in violation for violation in violations), violations


class Partner:
    """A validator together with the server that would stand around it."""

    def __init__(self) -> None:
        self.validator = RequestValidator()

    def accepts(self, body: Body, *, trial: str = "") -> Conversation:
        verdict = self.validator.place(copy.deepcopy(body), discriminator=trial)
        assert verdict.violations == []
        assert verdict.conversation is not None
        return verdict.conversation

    def answers(self, body: Body, *blocks: Body, trial: str = "", stop_reason: str = "tool_use") -> Conversation:
        conversation = self.accepts(body, trial=trial)
        self.validator.answered(conversation, {"content": copy.deepcopy(list(blocks)), "stop_reason": stop_reason})
        return conversation

    def fails(self, body: Body, *, trial: str = "") -> Conversation:
        conversation = self.accepts(body, trial=trial)
        self.validator.failed(conversation)
        return conversation

    def refuses(self, body: Body, words: str, *, trial: str = "") -> None:
        violations = self.validator.check(body, discriminator=trial)
        assert any(words in violation for violation in violations), violations


@pytest.fixture
def partner() -> Partner:
    return Partner()


def test_it_follows_a_conversation_that_only_grows(partner: Partner) -> None:
    first = partner.answers(request(user("go")), THINKING, CALL)
    second = partner.answers(request(user("go"), assistant(THINKING, CALL), user([RESULT, REMINDER])), CALL_2)
    history = (user("go"), assistant(THINKING, CALL), user([RESULT, REMINDER]), assistant(CALL_2))
    third = partner.answers(request(*history, user([RESULT_2]), user("and more")), {"type": "text", "text": "done"})

    assert first is second is third
    assert third.turn == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            request(user("go!"), assistant(CALL), user([RESULT]), assistant(CALL_2), user([RESULT_2])),
            "begins like this",
        ),
        (request(user("go"), assistant(CALL), user("x"), assistant(CALL_2), user([RESULT_2])), "messages.2 (user)"),
        (
            request(user("go"), assistant(CALL), user([RESULT, REMINDER]), assistant(CALL_2), user([RESULT_2])),
            "messages.2 (user) changed since the request before",
        ),
        (
            request(
                user("go"), assistant({**CALL, "caller": None}), user([RESULT]), assistant(CALL_2), user([RESULT_2])
            ),
            "messages.1 (assistant) changed",
        ),
        (
            request(user("go"), assistant(CALL), user([RESULT]), assistant({**CALL_2, "input": {}}), user([RESULT_2])),
            "messages.3 is not what the assistant answered",
        ),
        (request(user("go"), assistant(CALL), user([RESULT]), user("again")), "where the assistant's answer should be"),
        (request(user("go"), assistant(CALL)), "shortened from 3 messages to 2"),
        (request(user("go"), assistant(CALL), user([RESULT]), assistant(CALL_2)), "toolu_2 not answered"),
        (request(user("other"), assistant({**CALL, "id": "toolu_9"}), user("x")), "no conversation is known"),
    ],
    ids=["prompt", "result", "reminder", "field", "answer", "no answer", "shortened", "unanswered", "unknown"],
)
def test_it_refuses_a_history_that_is_not_the_old_one_and_more(partner: Partner, body: Body, words: str) -> None:
    partner.answers(request(user("go")), CALL)
    partner.answers(request(user("go"), assistant(CALL), user([RESULT])), CALL_2)

    partner.refuses(body, words)


@pytest.mark.parametrize(
    ("name", "value"), [("tools", [ECHO, {**ECHO, "name": "b"}]), ("system", "Be long."), ("model", "claude-opus-5")]
)
def test_it_refuses_other_parameters_in_the_same_conversation(partner: Partner, name: str, value: object) -> None:
    partner.answers(request(user("go")), CALL)

    partner.refuses(
        request(user("go"), assistant(CALL), user([RESULT]), **{name: value}), f"{name} changed within a conversation"
    )


def test_a_refused_request_may_be_put_right(partner: Partner) -> None:
    partner.answers(request(user("go")), CALL)

    partner.refuses(request(user("go"), assistant(CALL), user("oops")), "not answered")

    assert partner.accepts(request(user("go"), assistant(CALL), user([RESULT]))).turn == 1


def test_a_failed_request_may_be_repeated_as_it_was(partner: Partner) -> None:
    later = request(user("go"), assistant(CALL), user([RESULT]))

    conversation = partner.fails(request(user("go")))
    assert partner.answers(request(user("go")), CALL) is conversation
    assert conversation.attempt == 1
    assert partner.fails(later) is partner.fails(later) is conversation
    assert (conversation.turn, conversation.attempt) == (1, 1)


def test_a_failed_request_may_not_come_back_changed(partner: Partner) -> None:
    partner.answers(request(user("go")), CALL)
    partner.fails(request(user("go"), assistant(CALL), user([RESULT])))

    partner.refuses(request(user("go"), assistant(CALL), user([RESULT, REMINDER])), "messages.2 (user) changed")


def test_a_lost_answer_may_be_asked_for_again_and_either_one_continued(partner: Partner) -> None:
    partner.answers(request(user("go")), CALL)
    middle = (user("go"), assistant(CALL), user([RESULT]))
    conversation = partner.answers(request(*middle), CALL_2)

    again = partner.answers(request(*middle), {**CALL_2, "id": "toolu_3"})

    assert again is conversation
    assert partner.accepts(request(*middle, assistant(CALL_2), user([RESULT_2]))) is conversation


def test_identical_prompts_are_conversations_of_their_own(partner: Partner) -> None:
    one = partner.answers(request(user("go")), CALL)
    two = partner.answers(request(user("go")), CALL_2)

    assert one is not two
    assert partner.accepts(request(user("go"), assistant(CALL_2), user([RESULT_2]))) is two
    assert partner.accepts(request(user("go"), assistant(CALL), user([RESULT]))) is one


def test_identical_prompts_in_flight_together_are_not_taken_for_retries(partner: Partner) -> None:
    one, two = partner.accepts(request(user("go"))), partner.accepts(request(user("go")))
    partner.validator.failed(one)
    retried = partner.accepts(request(user("go")))

    assert one is not two
    assert retried is one


def test_an_opening_is_no_retry_of_a_conversation_that_failed_later(partner: Partner) -> None:
    one = partner.answers(request(user("go")), CALL)
    partner.fails(request(user("go"), assistant(CALL), user([RESULT])))

    two = partner.accepts(request(user("go")))

    assert one is not two


def test_identical_answers_without_tool_calls_are_continued_once_each(partner: Partner) -> None:
    words = {"type": "text", "text": "I would rather talk."}
    one = partner.answers(request(user("go")), words, stop_reason="end_turn")
    two = partner.answers(request(user("go")), words, stop_reason="end_turn")

    first = partner.accepts(request(user("go"), assistant(words), user("submit, please")))
    second = partner.accepts(request(user("go"), assistant(words), user("submit, at last")))

    assert (first, second) == (one, two)
    partner.refuses(request(user("go"), assistant(words), user("third")), "changed since the request before")


def test_two_trials_may_stay_identical_as_long_as_no_tool_is_called(partner: Partner) -> None:
    words = {"type": "text", "text": "I would rather talk."}
    one = partner.answers(request(user("go")), words, stop_reason="end_turn")
    two = partner.answers(request(user("go")), words, stop_reason="end_turn")
    later = request(user("go"), assistant(words), user("submit, please"))

    assert partner.answers(later, CALL) is one
    assert partner.answers(later, CALL_2) is two


def test_a_discriminator_keeps_trials_apart(partner: Partner) -> None:
    one = partner.fails(request(user("go")), trial="1")
    two = partner.answers(request(user("go")), CALL, trial="2")

    assert one is not two
    partner.refuses(request(user("go"), assistant(CALL), user([RESULT])), "was not answered", trial="1")


def test_a_paused_turn_goes_back_without_another_message(partner: Partner) -> None:
    words, more = {"type": "text", "text": "searching"}, {"type": "text", "text": "found"}
    partner.answers(request(user("go")), words, stop_reason="pause_turn")

    conversation = partner.answers(request(user("go"), assistant(words)), more, stop_reason="end_turn")

    assert conversation.turn == 1
    partner.accepts(request(user("go"), assistant(words), assistant(more), user("thanks")))


def test_an_answer_that_was_not_paused_does_not_go_back_alone(partner: Partner) -> None:
    words = {"type": "text", "text": "done"}
    partner.answers(request(user("go")), words, stop_reason="end_turn")

    partner.refuses(request(user("go"), assistant(words)), "prefill is not supported")


def test_an_answer_without_content_is_not_sent_back(partner: Partner) -> None:
    partner.answers(request(user("go")), stop_reason="end_turn")

    partner.refuses(request(user("go"), assistant(), user("submit")), "messages.1: content is empty")
    conversation = partner.fails(request(user("go"), user("submit")))
    assert conversation.turn == 1
    assert partner.accepts(request(user("go"), user("submit"))) is conversation


def test_an_answer_of_an_unknown_type_may_go_back_since_it_is_the_servers_own(partner: Partner) -> None:
    poem = {"type": "poem", "lines": 3}
    partner.answers(request(user("go")), poem, stop_reason="end_turn")

    partner.accepts(request(user("go"), assistant(poem), user("submit")))
