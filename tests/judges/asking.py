"""Trials of a small task that asks judges, against a scripted server, without pytest's side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pytest_rltask import Episode, Grade, Judge, Limits, PolicyView, Task, call, tool
from pytest_rltask.models import Model, Player, Reply, Request, Start
from pytest_rltask.models.claude import ClaudeModel
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.run.record import Record, RequestLog
from pytest_rltask.trial.opening import TrialSpec
from pytest_rltask.trial.play import play

JUDGE = "claude-sonnet-4-6"


def greets(view: PolicyView) -> Generator[Any, Any, None]:
    """Say hello by a tool, then in words."""
    yield call("greet", word="hello")
    yield "Good bye."


class TalkEpisode(Episode):
    """Its hooks are handed over; `heard` tells what judges said."""

    def __init__(self, task: Talk) -> None:
        self.task = task
        self.heard: list[Any] = []

    @property
    def prompt(self) -> str:
        return "Greet."

    @tool
    async def greet(self, word: str) -> str:
        """Greet somebody."""
        return await self.task.greeting(self, word)

    @tool
    def call_out(self, word: str) -> str:
        """Greet somebody who is far away."""
        return str(self.task.shout(self, word))

    async def grade(self) -> Grade:
        return await self.task.grading(self)


class Somebody:
    """Plays what the policy plays, and is none: judges are asked as the task says."""

    def player(self, start: Start) -> Player:
        return PolicyModel("greets").player(start)

    async def aclose(self) -> None: ...


async def nothing(episode: TalkEpisode, word: str) -> str:
    return word


async def passes(episode: TalkEpisode) -> Grade:
    return Grade(1.0, threshold=1.0)


@dataclass(frozen=True)
class Talk(Task):
    """A task whose code is given."""

    judges: ClassVar[Any] = {"customer": Judge(JUDGE, scripted=lambda question: f"heard {question.text}")}
    policies: ClassVar[Any] = {"greets": greets}
    greeting: Callable[[TalkEpisode, str], Any] = nothing
    shout: Callable[[TalkEpisode, str], Any] = lambda episode, word: word
    grading: Callable[[TalkEpisode], Any] = passes
    opened: list[TalkEpisode] = field(default_factory=list)

    def open(self, seed: int) -> TalkEpisode:
        self.opened.append(TalkEpisode(self))
        return self.opened[-1]


def spec_of(
    task: Task, *, judges: dict[str, str] | None = None, model: str = "policy:greets", **limits: Any
) -> TrialSpec:
    """Return what is to be played; judges as the task says unless others are given."""
    own = {"customer": JUDGE} if judges is None else judges
    return TrialSpec("talk[run-00]", task, "talk", model, 0, 42, Limits(**limits), judges=own)


def played(
    task: Task,
    *,
    player: Model | None = None,
    model: Any = None,
    paid: Any = None,
    judges: dict[str, str] | None = None,
    slots: int | None = None,
    **limits: Any,
) -> Record:
    """Play a trial, with a model that answers for judges."""

    async def play_it() -> Record:
        made: dict[str, Any] = {}

        def models(name: str) -> Any:
            if name not in made:
                made[name] = model(name) if model else ClaudeModel(name)
            return made[name]

        async def pay(record: Record, request: RequestLog) -> None:
            if paid is not None:
                paid(record, request)

        places = asyncio.Semaphore(slots) if slots else None
        spec = spec_of(task, judges=judges, **limits)
        try:
            return await play(spec, player or PolicyModel("greets"), places, paid=pay, models=models)
        finally:
            for one in made.values():
                await one.aclose()

    return asyncio.run(play_it())


class Answering:
    """Answers as it is told, with no network."""

    def __init__(self, answer: Callable[[Request], Any]) -> None:
        self.answer = answer

    def player(self, start: Any) -> Answering:
        return self

    async def reply(self, request: Request) -> Reply:
        given = self.answer(request)
        if asyncio.iscoroutine(given):
            given = await given
        if isinstance(given, Exception):
            raise given
        return given

    async def aclose(self) -> None: ...


def says(words: str = "well", **fields: Any) -> Reply:
    return Reply([{"type": "text", "text": words}], "end_turn", **fields)


def answering(answer: Callable[[Request], Any]) -> Callable[[str], Answering]:
    return lambda name: Answering(answer)


SCRIPTED = {"customer": "policy:scripted"}
