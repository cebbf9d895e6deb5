"""Code of a task asks a judge: the answer, what is kept and paid, whose fault it is, and whose time."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any, ClassVar

import pytest

from pytest_rltask import Grade, Judge, call
from pytest_rltask.models import ModelFault, Reply, Request
from pytest_rltask.run.record import Record, RequestLog, Usage
from tests.judges.asking import JUDGE, SCRIPTED, Somebody, Talk, TalkEpisode, answering, played, says
from tests.support.messages_api import reply, text
from tests.support.serving import Serve

COSTS = {"usage": {"input_tokens": 1000, "output_tokens": 100}}
EACH = 0.0045
"""Dollars of such a reply of the judge's: $3 and $15 per million tokens."""


async def asks(episode: TalkEpisode, word: str) -> str:
    answer = await episode.ask("customer", word, system="You are a customer.")
    episode.heard.append(answer)
    return answer.text


def asks_sync(episode: TalkEpisode, word: str) -> str:
    answer = episode.ask_sync("customer", word)
    episode.heard.append(answer)
    return answer.text


def calls_out(view: Any) -> Any:
    yield call("call_out", word="hello")


class Shouts(Talk):
    policies: ClassVar[Any] = {"greets": calls_out}


ASKING = [Talk(greeting=asks), Shouts(shout=asks_sync)]


@pytest.mark.parametrize("task", ASKING, ids=["async", "sync"])
def test_a_tool_asks_and_what_was_asked_and_paid_is_in_the_record(task: Talk, serve: Serve):
    api = serve([reply(text("Hello to you."), **COSTS)])
    paid: list[tuple[str, int]] = []

    record = played(task, paid=lambda record, request: paid.append((request.judge, record.tool_calls)))

    assert record.outcome == "passed", record.reason
    assert paid == [("customer", 0)], "it is on disk before the tool returns"
    (one,), (request,) = record.asked, record.judge_requests
    assert (one.judge, one.model, one.after, one.reply[0]["text"]) == ("customer", JUDGE, 2, "Hello to you.")
    assert (request.judge, request.usage.input_tokens, request.cost_usd) == ("customer", 1000, pytest.approx(EACH))
    assert (record.usage, record.player_cost_usd, record.judge_cost_usd) == (Usage(), 0.0, pytest.approx(EACH))
    assert record.judges == {"customer": JUDGE}
    result = record.messages[2]["content"][0]
    assert result["content"] == "Hello to you."
    assert api.requests[0].body["messages"][0]["content"][0]["text"] == "hello"
    assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record


@pytest.mark.parametrize("task", ASKING, ids=["async", "sync"])
def test_a_script_answers_without_a_key(task: Talk):
    record = played(task, judges=SCRIPTED)

    assert (record.outcome, record.cost_usd, record.judge_requests) == ("passed", 0.0, [])
    assert [one.reply[0]["text"] for one in record.asked] == ["heard hello"]


def test_a_policy_is_answered_by_scripts_where_nobody_says_otherwise():
    assert played(Talk(greeting=asks), judges={}).asked[0].model == "policy:scripted"


async def grades(episode: TalkEpisode) -> Grade:
    answer = await episode.ask("customer", "Is it good?")
    return Grade(float(answer.text == "yes"), threshold=1.0)


def swallows(episode: TalkEpisode, word: str) -> str:
    try:
        return episode.ask_sync("customer", word).text
    except Exception:
        return "nobody answered"


FAULTS = [
    (ModelFault("HTTP 500"), "api", "judge customer (claude-sonnet-4-6): HTTP 500"),
    (ModelFault("HTTP 401", fatal=True), "api", "judge customer (claude-sonnet-4-6): HTTP 401"),
    (Reply([], "refusal"), "task", "judge customer (claude-sonnet-4-6) refused to answer"),
    (Reply([], "max_tokens"), "task", "judge customer (claude-sonnet-4-6) was cut at 4,096 tokens"),
    (Reply([], "model_context_window_exceeded"), "task", "takes no question of this length"),
]


@pytest.mark.parametrize(("given", "kind", "said"), FAULTS)
@pytest.mark.parametrize("task", [Talk(grading=grades), Shouts(shout=swallows)], ids=["grader", "taking no notice"])
def test_what_goes_wrong_with_a_judge_errs_the_trial_and_never_fails_it(task: Talk, given: Any, kind: str, said: str):
    record = played(task, model=answering(lambda request: given))

    assert (record.outcome, record.fault and record.fault.kind) == ("errored", kind)
    assert record.fault
    assert said in record.fault.message
    assert record.fault.fatal == getattr(given, "fatal", False)


def test_what_a_fault_was_billed_counts():
    fault = ModelFault("no reply", billed=says(usage=Usage(10, 10), cost_usd=0.5))

    record = played(Talk(grading=grades), model=answering(lambda request: fault))

    assert (record.outcome, record.judge_cost_usd, record.judge_requests[0].judge) == ("errored", 0.5, "customer")


def test_without_a_key_the_trial_is_errored_and_says_what_to_set():
    record = played(Talk(grading=grades))

    assert record.outcome == "errored"
    assert record.fault
    assert "there is no key; set ANTHROPIC_API_KEY" in record.fault.message


def test_a_judge_without_a_script_says_what_to_write():
    class Silent(Talk):
        judges: ClassVar[Any] = {"customer": Judge(JUDGE)}

    record = played(Silent(greeting=asks), judges=SCRIPTED)

    assert record.fault
    assert 'judges = {"customer": Judge("claude-...", scripted=...)}' in record.fault.message


def test_a_model_can_be_asked_by_its_name(serve: Serve):
    serve([reply(text("yes"), **COSTS)])

    async def by_name(episode: TalkEpisode) -> Grade:
        return Grade(float((await episode.ask(JUDGE, "Good?")).text == "yes"), threshold=1.0)

    record = played(Talk(grading=by_name), player=Somebody())

    assert (record.outcome, record.judge_requests[0].judge) == ("passed", JUDGE)


def test_a_name_that_is_neither_judge_nor_model_is_the_tasks_fault():
    async def asks_anybody(episode: TalkEpisode) -> Grade:
        await episode.ask("gradr", "Good?")
        raise AssertionError("nobody answers")

    from pytest_rltask.models.named import make_model, parse_model

    record = played(Talk(grading=asks_anybody), player=Somebody(), model=lambda name: make_model(parse_model(name)))

    assert record.fault
    assert record.fault.kind == "task"
    assert "unknown model 'gradr'" in record.fault.message


@pytest.mark.parametrize(
    ("messages", "said"),
    [
        ([], "are []"),
        ([{"text": "a"}], "write self.ask("),
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "end with one of the user"),
    ],
)
def test_messages_that_are_none_say_how_to_write_them(messages: Any, said: str):
    async def asks_wrongly(episode: TalkEpisode, word: str) -> str:
        return (await episode.ask("customer", messages)).text

    record = played(Talk(greeting=asks_wrongly))

    assert record.fault
    assert record.fault.kind == "task"
    assert said in record.fault.message


def test_a_wait_on_the_event_loop_is_refused_and_says_where_to_ask():
    async def waits_on_the_loop(episode: TalkEpisode, word: str) -> str:
        return asks_sync(episode, word)

    record = played(Talk(greeting=waits_on_the_loop))

    assert record.fault
    assert "in an `async def` write `await self.ask(...)`" in record.fault.message


def test_an_episode_that_nobody_plays_cannot_ask():
    with pytest.raises(RuntimeError, match="not while the episode is opened"):
        TalkEpisode(Talk()).ask_sync("customer", "hello")


# ---- time ----


def test_a_judges_time_is_none_of_the_players_nor_of_the_tool():
    async def late(request: Request) -> Reply:
        await asyncio.sleep(0.6)
        return says()

    record = played(Talk(greeting=asks, grading=grades), model=answering(late), tool_s=0.3, wall_s=0.5)

    assert (record.outcome, record.limit, record.fault) == ("failed", None, None)
    assert record.seconds["judge"] > 1.0


def test_a_tool_that_is_slow_itself_is_still_told_of():
    async def asks_and_dawdles(episode: TalkEpisode, word: str) -> str:
        await episode.ask("customer", word)
        await asyncio.sleep(30)
        return word

    record = played(Talk(greeting=asks_and_dawdles), model=answering(lambda request: says()), tool_s=0.3)

    assert record.fault
    assert "tool greet did not return within 0.3 s" in record.fault.message


def test_others_compute_while_a_trial_waits_for_its_judge():
    at_once = 0

    async def both() -> list[Record]:
        from pytest_rltask.models.policy import PolicyModel
        from pytest_rltask.trial.play import play
        from tests.judges.asking import spec_of

        inside, all_there = 0, asyncio.Event()

        async def meets(request: Request) -> Reply:
            nonlocal inside, at_once
            inside += 1
            at_once = max(at_once, inside)
            if inside == 2:
                all_there.set()
            await asyncio.wait_for(all_there.wait(), 5)
            inside -= 1
            return says()

        slots, task = asyncio.Semaphore(1), Shouts(shout=asks_sync)
        one = answering(meets)
        trials = (play(spec_of(task), PolicyModel("greets"), slots, models=one) for _ in range(2))
        records = await asyncio.gather(*trials)
        assert not slots.locked(), "each place was given back, once"
        return list(records)

    assert [record.outcome for record in asyncio.run(both())] == ["passed", "passed"]
    assert at_once == 2


def test_a_trial_that_is_cancelled_ends_at_once_and_what_its_judge_costs_is_estimated():
    told: list[Record] = []
    ended: list[str] = []

    async def cancelled(task: Talk) -> float:
        from pytest_rltask.models.policy import PolicyModel
        from pytest_rltask.trial.play import play
        from tests.judges.asking import spec_of

        is_asked = asyncio.Event()

        async def never(request: Request) -> Reply:
            request.under_way.append(lambda: says(usage=Usage(70), cost_usd=0.25, guessed_usd=0.25))
            is_asked.set()
            try:
                await asyncio.sleep(1e6)
            finally:
                ended.append("the request")
            raise AssertionError("it is cancelled")

        trial = asyncio.create_task(
            play(spec_of(task), PolicyModel("greets"), cut_off=told.append, models=answering(never))
        )
        await is_asked.wait()
        begin = time.monotonic()
        trial.cancel()
        with pytest.raises(asyncio.CancelledError):
            await trial
        took_s = time.monotonic() - begin
        await asyncio.sleep(0)
        assert ended == ["the request"], "nobody pays on"
        return took_s

    for task in ASKING:
        told.clear()
        ended.clear()
        assert asyncio.run(cancelled(task)) < 0.5
        (record,) = told
        assert record.judge_cost_usd == 0.25, "as soon as it is told of"
        assert [request.judge for request in record.judge_requests] == ["customer"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (lambda question: 1 / 0, "the script of judge customer: ZeroDivisionError"),
        (lambda question: None, "return a text, or call(...) of a tool"),
        (lambda question: [], "return a text, or call(...) of a tool"),
    ],
)
def test_a_script_that_is_broken_is_the_tasks_fault_whoever_takes_no_notice(script: Any, said: str):
    class Broken(Shouts):
        judges: ClassVar[Any] = {"customer": Judge(JUDGE, scripted=script)}

    record = played(Broken(shout=swallows), judges=SCRIPTED)

    assert record.fault
    assert (record.outcome, record.fault.kind) == ("errored", "task")
    assert said in record.fault.message


def test_what_cannot_be_written_down_ends_the_trial():
    def full(record: Record, request: RequestLog) -> None:
        raise OSError("No space left")

    answers = answering(lambda request: says(cost_usd=0.5))

    record = played(Shouts(shout=swallows), model=answers, paid=full)

    assert record.fault
    assert "what judge customer cost cannot be written: No space left" in record.fault.message
    assert record.judge_cost_usd == 0.5
