"""A task any part of which can be made to misbehave, and a model that says what it is told to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_rltask import Episode, Grade, Limits, Policy, PolicyView, Task, call, tool
from pytest_rltask.models import Model, Reply, Request, Start
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.run.record import Record
from pytest_rltask.trial.play import TrialSpec, play

Hook = Callable[[], Any]


class BenchEpisode(Episode):
    """An episode any part of which can be made to misbehave by name."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self.hooks = hooks
        self.events: list[str] = []

    def _at(self, place: str, otherwise: Any) -> Any:
        self.events.append(place)
        return self.hooks[place]() if place in self.hooks else otherwise

    @property
    def prompt(self) -> str:
        return self._at("prompt", "Work.")

    @property
    def done(self) -> bool:
        return self._at("done", False)

    @property
    def info(self) -> Mapping[str, Any]:
        return self._at("info", {})

    @property
    def tried(self) -> str:
        return self._at("tried", "")

    def observe(self, reply: str) -> None:
        self._at("observe", None)

    def remind(self) -> str | None:
        return self._at("remind", None)

    def nudge(self) -> str | None:
        return self._at("nudge", None)

    @tool
    def work(self) -> Any:
        """Work."""
        return self._at("work", "worked")

    @tool
    async def rest(self) -> Any:
        """Rest without blocking."""
        await asyncio.sleep(0)
        return self._at("rest", "rested")

    def finish(self) -> None:
        self._at("finish", None)

    def grade(self) -> Grade:
        return self._at("grade", Grade(1.0, threshold=1.0))

    def close(self) -> None:
        self._at("close", None)


def plays(*tools: str) -> Policy:
    """Return a policy that calls tools one after the other."""

    def policy(view: PolicyView) -> Any:
        for name in tools:
            yield call(name)

    return policy


ONE_CALL = plays("work")


@dataclass(frozen=True)
class Bench(Task):
    """Opens episodes that can be looked at afterwards."""

    hooks: Mapping[str, Hook] = field(default_factory=dict)
    moves: Policy = ONE_CALL
    policy: str = "moves"
    opened: list[BenchEpisode] = field(default_factory=list)

    @property
    def policies(self) -> Mapping[str, Any]:  # type: ignore[override]
        return {self.policy: self.moves}

    def open(self, seed: int) -> Episode:
        if "open" in self.hooks:
            return self.hooks["open"]()
        self.opened.append(BenchEpisode(self.hooks))
        return self.opened[-1]


def raises(error: BaseException) -> Hook:
    """Return a hook that raises."""

    def hook() -> None:
        raise error

    return hook


def spec_of(task: Task, history: tuple[str, ...] = (), **limits: Any) -> TrialSpec:
    return TrialSpec("bench[run-00]", task, "bench", "policy:moves", 0, 42, Limits(**limits), history)


def play_bench(task: Task, model: Model | None = None, history: tuple[str, ...] = (), **limits: Any) -> Record:
    record = asyncio.run(play(spec_of(task, history, **limits), model or PolicyModel("moves")))
    assert Record.from_json(json.loads(json.dumps(record.to_json()))).outcome == record.outcome
    return record


@dataclass
class FakeModel:
    """Plays given replies, or raises given errors, in order."""

    replies: Sequence[Reply | Exception]
    on_request: Callable[[Request], None] = lambda request: None

    def player(self, start: Start) -> FakeModel:
        self.left = iter(self.replies)
        return self

    async def reply(self, request: Request) -> Reply:
        self.on_request(request)
        match next(self.left, Reply([], "end_turn")):
            case Exception() as error:
                raise error
            case reply:
                return reply

    async def aclose(self) -> None: ...
