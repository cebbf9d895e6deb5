"""Answers of a recorded trial, and judges that are asked by hooks: found by what is asked, kept without repeating."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from pytest_rltask import Environment, Episode, Grade, call, tool
from pytest_rltask.models.replay import ReplayModel, Replays
from pytest_rltask.run.record import RequestLog
from tests.judges.asking import JUDGE, SCRIPTED, Talk, TalkEpisode, answering, played, says
from tests.judges.test_asking import COSTS, grades
from tests.support.messages_api import MessagesAPI, reply, status, text
from tests.support.serving import Serve

# ---- replays ----


def test_a_replay_has_the_recorded_answers_found_by_what_is_asked(serve: Serve):
    async def both_ways(episode: TalkEpisode, word: str) -> str:
        first, second = await asyncio.gather(*(episode.ask("customer", f"{word} {n}") for n in (order or [1, 2])))
        return f"{first.text} {second.text}"

    order: list[int] = []
    task = Talk(greeting=both_ways)
    was = played(task, model=answering(lambda request: says(request.messages[0]["content"][0]["text"].upper())))
    order[:] = [2, 1]

    record = played(task, player=ReplayModel(Replays([("", was)])), judges={"customer": "recorded"})

    assert (record.outcome, record.cost_usd) == ("passed", 0.0)
    assert record.messages[2]["content"][0]["content"] == "HELLO 2 HELLO 1"
    assert {one.model for one in record.asked} == {JUDGE}


@pytest.mark.parametrize(
    ("asked", "judges", "said"),
    [
        ("hello you", {"customer": "recorded"}, "asked what the recorded trial did not ask: 'hello you'"),
        ("hello", {"customer": "recorded:claude-opus-4-6"}, "was claude-sonnet-4-6, and is claude-opus-4-6 now"),
    ],
)
def test_a_replay_with_another_question_or_judge_says_so(asked: str, judges: dict[str, str], said: str):
    words = ["hello"]

    async def asks_it(episode: TalkEpisode, word: str) -> str:
        return (await episode.ask("customer", words[0])).text

    task = Talk(greeting=asks_it)
    was = played(task, model=answering(lambda request: says()))
    words[0] = asked

    record = played(task, player=ReplayModel(Replays([("", was)])), judges=judges)

    assert record.outcome == "errored"
    assert record.fault
    assert record.fault.kind == "harness"
    assert said in record.fault.message


def test_each_recorded_answer_is_given_once():
    async def asks_twice(episode: TalkEpisode, word: str) -> str:
        return " ".join([(await episode.ask("customer", word)).text for _ in range(2)])

    given = iter(["one", "two"])
    task = Talk(greeting=asks_twice)
    was = played(task, model=answering(lambda request: says(next(given))))

    record = played(task, player=ReplayModel(Replays([("", was)])), judges={"customer": "recorded"})

    assert record.messages[2]["content"][0]["content"] == "one two"


# ---- hooks ----


@pytest.mark.parametrize("is_async", [True, False])
def test_a_simulated_customer_answers_in_nudge(is_async: bool):
    def said_to(episode: Any) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [{"type": "text", "text": f"They say: {episode.said[-1]}"}]}]

    class Customer(Episode):
        def __init__(self) -> None:
            self.said: list[str] = []

        prompt = "Sell something."  # type: ignore[assignment]

        def observe(self, reply: str) -> None:
            self.said.append(reply)

        @property
        def done(self) -> bool:
            return len(self.said) == 3

        @tool
        def look(self) -> str:
            """Look."""
            return ""

        def grade(self) -> Grade:
            return Grade(1.0, threshold=1.0)

    class Waits(Customer):
        def nudge(self) -> str:
            return self.ask_sync("customer", said_to(self)).text

    class Awaits(Customer):
        async def nudge(self) -> str:
            return (await self.ask("customer", said_to(self))).text

    def sells(view: Any) -> Any:
        yield "a car"
        yield "a bike"
        yield "a walk"

    class Sale(Talk):
        policies: ClassVar[Any] = {"greets": sells}

        def open(self, seed: int) -> Any:
            return Awaits() if is_async else Waits()

    record = played(Sale(), judges=SCRIPTED)

    assert record.fault is None, record.fault.details
    assert record.outcome == "passed"
    heard = [message["content"][0]["text"] for message in record.messages if message["role"] == "user"]
    assert heard[1:] == ["heard They say: a car", "heard They say: a bike"]
    assert [one.after for one in record.asked] == [2, 4]


def test_what_a_question_repeats_of_the_one_before_is_not_kept_twice():
    async def goes_on(episode: TalkEpisode, word: str) -> str:
        said: list[Any] = [{"role": "user", "content": word}]
        for n in range(3):
            answer = await episode.ask("customer", said, system="Be kind.")
            said += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": f"and {n}"}]
        return "talked"

    record = played(Talk(greeting=goes_on), judges=SCRIPTED)

    assert [(one.repeats, len(one.messages), one.system) for one in record.asked] == [
        (0, 1, "Be kind."),
        (1, 2, ""),
        (3, 2, ""),
    ]


def test_the_limiter_and_retries_of_a_player_are_a_judges(serve: Serve, monkeypatch: pytest.MonkeyPatch):
    from pytest_rltask.models import limiter

    monkeypatch.setattr(limiter, "MAX_BACKOFF_S", 0.0)
    api: MessagesAPI = serve([status(529), status(500), reply(text("yes"), **COSTS)])

    record = played(Talk(grading=grades))

    assert (record.outcome, len(api.requests)) == ("passed", 3)
    (request,) = record.judge_requests
    assert isinstance(request, RequestLog)
    assert len(request.faults) == 2


def test_an_environment_is_answered_by_scripts_if_it_is_told_so():
    with Environment(Talk(greeting=greets_by_judge), judge="policy:scripted") as env:
        env.reset(seed=42)
        step = env.step([call("greet", word="hello")])
        env.grade()

    assert step.results[0].text == "heard hello"
    assert env.record.judges == SCRIPTED


def test_an_environment_asks_the_models_of_the_task(serve: Serve):
    serve([reply(text("Hello to you."), **COSTS)])

    with Environment(Talk(greeting=greets_by_judge)) as env:
        for _ in range(2):
            env.reset(seed=42)
            step = env.step([call("greet", word="hello")])

    assert step.results[0].text == "Hello to you."
    assert env.record.judge_cost_usd == pytest.approx(0.0045)


async def greets_by_judge(episode: TalkEpisode, word: str) -> str:
    return (await episode.ask("customer", word)).text
