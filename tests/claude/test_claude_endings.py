"""How a conversation with Claude ends: every stop reason, every limit, the episode itself; and what it cost."""

from __future__ import annotations

import time
from typing import Any

import pytest

from pytest_rltask import tool
from pytest_rltask.run.record import Usage
from tests.claude.desk import MODEL, DeskEpisode, TrialPlayer, submit
from tests.support.messages_api import Gate, drip, hang, reply, slow, text, tool_use


class Nudging(DeskEpisode):
    """Answers the first three replies without a submission."""

    def nudge(self) -> str | None:
        self.events.append("nudge")
        return "Please submit." if self.events.count("nudge") <= 3 else None


ECHO = tool_use("echo", {"text": "a"})


# ---- stop reasons ----


@pytest.mark.parametrize("stop_reason", ["end_turn", "stop_sequence"])
def test_a_model_that_stops_is_graded_as_it_stands(desk: TrialPlayer, stop_reason: str):
    played = desk([reply(text("I give up."), stop_reason=stop_reason)])

    record = played.record
    assert (record.outcome, record.stop, record.limit, record.label) == (
        "failed",
        stop_reason,
        None,
        "score below threshold",
    )
    assert played.events == ["hears I give up.", "finish", "grade", "close"]


@pytest.mark.parametrize("stop_reason", ["end_turn", "stop_sequence"])
def test_a_nudge_keeps_the_conversation_going(desk: TrialPlayer, stop_reason: str):
    played = desk([reply(text("Hm."), stop_reason=stop_reason), submit()], kind=Nudging)

    assert played.answers() == [{"type": "text", "text": "Please submit."}]
    assert (played.record.outcome, played.record.stop) == ("passed", "done")


def test_nudging_ends_when_the_episode_has_nothing_more_to_say(desk: TrialPlayer):
    played = desk([reply(text(f"No {n}.")) for n in range(4)], kind=Nudging)

    assert played.events.count("nudge") == 4
    assert (played.record.stop, played.record.turns) == ("end_turn", 4)


def test_a_blank_nudge_is_none(desk: TrialPlayer):
    class Blank(DeskEpisode):
        def nudge(self) -> str:
            return " \n"

    assert desk([reply(text("Hm."))], kind=Blank).record.stop == "end_turn"


@pytest.mark.parametrize("stop_reason", ["end_turn", "max_tokens"])
def test_an_empty_reply_is_answered_but_is_no_part_of_the_history(desk: TrialPlayer, stop_reason: str):
    played = desk([reply(stop_reason=stop_reason), submit()], kind=Nudging)

    assert [message["role"] for message in played.bodies[1]["messages"]] == ["user", "user"]
    assert [request.empty for request in played.record.requests] == [True, False]
    assert played.record.outcome == "passed"


def test_calls_in_a_cut_reply_are_answered_but_not_run(desk: TrialPlayer):
    cut = reply(text("Long."), tool_use("submit", {}, id="toolu_1"), ECHO, stop_reason="max_tokens")

    played = desk([cut, submit()], reply_tokens=1000)

    first, second, said = played.answers()
    assert first["tool_use_id"] == "toolu_1"
    assert first["is_error"] is second["is_error"] is True
    assert "was not run" in first["content"]
    assert said == {"type": "text", "text": "Your reply was cut at 1,000 tokens, within 2 calls. Go on with one call."}
    assert played.events == ["hears Long.", "submit 12", "finish", "grade", "close"]


def test_a_pause_is_continued_with_the_history_as_it_is(desk: TrialPlayer):
    played = desk([reply(text("Searching"), stop_reason="pause_turn"), submit()])

    assert played.bodies[1]["messages"] == played.record.messages[:2]
    assert played.record.outcome == "passed"


@pytest.mark.parametrize(
    ("stop_reason", "label"),
    [
        ("refusal", "refusal"),
        ("model_context_window_exceeded", "context window full"),
    ],
)
def test_other_stop_reasons_end_the_trial_and_are_named(desk: TrialPlayer, stop_reason: str, label: str):
    played = desk([reply(text("..."), ECHO, stop_reason=stop_reason)], kind=Nudging)

    record = played.record
    assert (record.outcome, record.stop, record.label) == ("failed", stop_reason, label)
    assert record.reason.startswith("not 12")
    assert "echo a" not in played.events


def test_a_refusal_without_content_is_judged(desk: TrialPlayer):
    record = desk([reply(stop_reason="refusal")]).record

    assert (record.outcome, record.label, record.reason) == ("failed", "refusal", "not 12 (ended by: refusal)")


def test_a_passing_grade_stands_however_the_conversation_ended(desk: TrialPlayer):
    class Kind(DeskEpisode):
        done = False  # type: ignore[assignment]

    record = desk([submit(), reply(stop_reason="refusal")], kind=Kind).record

    assert (record.outcome, record.label, record.reason, record.stop) == ("passed", "", "", "refusal")


# ---- limits, and an episode that is done ----


def test_the_turn_limit_ends_the_trial(desk: TrialPlayer):
    played = desk([reply(ECHO), reply(ECHO)], turns=2)

    record = played.record
    assert (record.outcome, record.stop, record.limit, record.label) == ("failed", "limit", "turns", "turn limit")
    assert record.reason == "not 12 (ended by: turn limit)"
    assert played.events[-3:] == ["finish", "grade", "close"]


def test_a_submission_in_the_last_turn_counts(desk: TrialPlayer):
    record = desk([reply(ECHO), submit()], turns=2).record

    assert (record.outcome, record.limit) == ("passed", None)


def test_the_tool_call_limit_fires_in_the_middle_of_a_batch(desk: TrialPlayer):
    played = desk([reply(ECHO), reply(ECHO, ECHO, ECHO)], tool_calls=2)

    record = played.record
    assert (record.limit, record.label, record.tool_calls) == ("tool_calls", "tool-call limit", 2)
    assert [result.get("is_error", False) for result in played.answers(2)[:3]] == [False, True, True]
    assert "the tool-call limit is reached" in played.answers(2)[1]["content"]
    assert played.events.count("echo a") == 2


def test_a_model_may_still_speak_when_its_tool_calls_are_spent(desk: TrialPlayer):
    played = desk([reply(ECHO), reply(text("Done."))], tool_calls=1)

    assert played.answers()[1]["text"] == "0 of 1 tool calls remain."
    assert (played.record.stop, played.record.limit) == ("end_turn", None)


def test_the_token_limit_counts_cached_tokens_and_runs_no_further_tool(desk: TrialPlayer):
    usage = {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 7}

    played = desk([reply(ECHO, usage=usage), reply(ECHO, usage=usage)], total_tokens=100)

    assert (played.record.limit, played.record.label, played.record.turns) == ("total_tokens", "token limit", 2)
    assert played.record.usage.total == 100
    assert played.events.count("echo a") == 1


def test_the_time_limit_fires_after_a_tool_and_spares_the_rest_of_the_batch(desk: TrialPlayer):
    class Slow(DeskEpisode):
        @tool
        def echo(self, text: str, times: int = 1) -> str:
            """Take longer than the whole trial may."""
            time.sleep(0.65)
            return super().echo(text, times)

    played = desk([reply(ECHO, ECHO)], kind=Slow, wall_s=0.6)

    assert (played.record.limit, played.record.label, played.record.outcome) == ("wall", "time limit", "failed")
    assert "the time limit is reached" in played.answers()[1]["content"]
    assert played.events == ["echo a", "finish", "grade", "close"]


def test_an_episode_done_in_the_middle_of_a_batch_refuses_the_rest(desk: TrialPlayer):
    played = desk([reply(ECHO, tool_use("submit", {"answer": 12}), ECHO, tool_use("submit", {"answer": 13}))])

    assert [result.get("is_error", False) for result in played.answers()] == [False, False, True, True]
    assert "the episode has ended" in played.answers()[2]["content"]
    assert (played.record.outcome, played.record.stop, played.episode.answer) == ("passed", "done", 12)


def test_an_episode_that_a_text_ends_still_sees_the_calls_of_that_reply_run(desk: TrialPlayer):
    class Told(DeskEpisode):
        def observe(self, reply: str) -> None:
            self.answer = 12 if "twelve" in reply else None

    played = desk([reply(text("It is twelve."), ECHO, ECHO)], kind=Told)

    assert played.events == ["echo a", "echo a", "finish", "grade", "close"]
    assert (played.record.outcome, played.record.stop) == ("passed", "done")


@pytest.mark.parametrize("step", [hang(), drip(submit(), interval_s=0.02), slow(submit(), until=Gate())])
def test_a_reply_that_does_not_come_in_time_is_no_failure_of_the_model(desk: TrialPlayer, step: Any):
    begin = time.monotonic()
    played = desk([step], wall_s=0.4)

    record = played.record
    assert record.outcome == "errored"
    assert record.fault
    assert record.fault.kind == "api"
    assert record.fault.message.startswith("no reply in time; no time is left in the trial")
    assert 0.35 < record.seconds["total"] < time.monotonic() - begin < 60
    assert played.requests[-1].answered == "client left"
    assert played.events == ["close"]


# ---- usage and cost ----


def test_tokens_and_cost_of_all_requests_are_added_up(desk: TrialPlayer):
    first = {"input_tokens": 1000, "output_tokens": 100, "cache_creation_input_tokens": 4000}
    second = {"input_tokens": 10, "output_tokens": 50, "cache_read_input_tokens": 5000}

    record = desk([reply(ECHO, usage=first), reply(text("."), usage=second)]).record

    assert [request.usage.total for request in record.requests] == [5100, 5060]
    assert record.usage == Usage(1010, 150, cache_read_tokens=5000, cache_write_tokens=4000)
    # Claude Haiku 4.5, $ per million tokens: input 1, output 5, cache write 1.25, cache read 0.10.
    by_hand = (1000 * 1 + 100 * 5 + 4000 * 1.25 + 10 * 1 + 50 * 5 + 5000 * 0.10) / 1e6
    assert record.cost_usd == pytest.approx(by_hand, rel=1e-9)
    assert record.cost_usd == sum(request.cost_usd or 0 for request in record.requests)


def test_the_price_of_an_unknown_model_is_unknown_not_zero(desk: TrialPlayer):
    record = desk([reply(ECHO), submit()], model="claude-unknown-9").record

    assert [request.cost_usd for request in record.requests] == [None, None]
    assert record.cost_usd is None
    assert record.usage.total == 240


def test_usage_with_nulls_is_counted(desk: TrialPlayer):
    nulls = {"cache_creation_input_tokens": None, "cache_read_input_tokens": None, "service_tier": None}

    record = desk([reply(text("."), usage=nulls)]).record

    assert record.usage == Usage(100, 20)
    assert record.cost_usd == pytest.approx((100 * 1 + 20 * 5) / 1e6)


def test_each_request_is_logged_with_its_id_model_and_latency(desk: TrialPlayer):
    played = desk([reply(ECHO, model="claude-haiku-4-5-20260101"), submit()])

    first, second = played.record.requests
    assert first.request_id
    assert first.request_id != second.request_id
    assert (first.model, second.model) == ("claude-haiku-4-5-20260101", MODEL)
    assert (first.stop_reason, first.faults, first.latency_s > 0) == ("tool_use", (), True)
