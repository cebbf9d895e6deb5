"""A task with tools of every kind, and trials of it by Claude: real SDK, real HTTP, a scripted server, no network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import genai_prices  # noqa: F401 - here, so that no short trial spends its time on it
import httpx2
from anthropic import AsyncAnthropic
from pydantic import Field

from pytest_rltask import Episode, Grade, Limits, Task, ToolError, tool
from pytest_rltask.models import claude
from pytest_rltask.run.record import Record
from pytest_rltask.trial.play import TrialSpec, play
from tests.support.messages_api import MessagesAPI, Reply, Script, SeenRequest, reply, tool_use
from tests.support.serving import KEY, MODEL

OUTPUTS: Mapping[str, Any] = {
    "nothing": None,
    "empty": "",
    "number": 1.5,
    "list": [1, "two", None],
    "dict": {"exit": 0, "output": "grün"},
    "control": "\x00\x1b[31m",
    "surrogate": "a\ud800b",
    "nested surrogate": {"a\ud800": ["b\udfff"]},
    "nan": {"loss": float("nan")},
}


class DeskEpisode(Episode):
    """Tools of every kind. The trial passes once 12 was submitted; `events` tells what happened, in order."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.answer: int | None = None
        self.events: list[str] = []

    @property
    def prompt(self) -> str:
        return "Submit 12."

    @property
    def done(self) -> bool:
        return self.answer is not None

    @tool
    def submit(self, answer: int) -> str:
        """Submit the answer.

        Args:
            answer: A whole number.
        """
        self.events.append(f"submit {answer}")
        self.answer = answer
        return "submitted"

    @tool
    def echo(self, text: str, times: int = 1) -> str:
        """Repeat a text."""
        self.events.append(f"echo {text}")
        return text * times

    @tool
    def measure(self, share: Annotated[float, Field(gt=0, lt=1)]) -> dict[str, float]:
        """Measure a share."""
        self.events.append(f"measure {share}")
        return {"share": share}

    @tool
    def give(self, what: str) -> Any:
        """Give something odd."""
        return OUTPUTS[what]

    @tool
    def refuse(self) -> str:
        """Refuse."""
        raise ToolError("not today\ud800")

    def observe(self, reply: str) -> None:
        if reply:
            self.events.append(f"hears {reply}")

    def finish(self) -> None:
        self.events.append("finish")

    def grade(self) -> Grade:
        self.events.append("grade")
        return Grade(float(self.answer == 12), threshold=1.0, reason="" if self.answer == 12 else "not 12")

    def close(self) -> None:
        self.events.append("close")


@dataclass(frozen=True)
class Desk(Task):
    """A desk whose episodes can be looked at afterwards."""

    kind: type[DeskEpisode] = DeskEpisode
    opened: list[DeskEpisode] = field(default_factory=list)

    def open(self, seed: int) -> Episode:
        episode = self.kind(seed)
        self.opened.append(episode)
        return episode


@dataclass
class Played:
    """A finished trial, seen from all sides."""

    record: Record
    episodes: list[DeskEpisode]
    requests: list[SeenRequest]

    @property
    def episode(self) -> DeskEpisode:
        """The one episode that was opened."""
        (episode,) = self.episodes
        return episode

    @property
    def events(self) -> list[str]:
        """What happened in the episode."""
        return self.episode.events

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What was sent."""
        return [seen.body for seen in self.requests]

    def answers(self, turn: int = 1) -> list[dict[str, Any]]:
        """Return the blocks of the user message that answers the first, second, ... reply."""
        users = [message for message in self.record.messages if message["role"] == "user"]
        blocks: list[dict[str, Any]] = users[turn]["content"]
        return blocks


class TrialPlayer:
    """Plays trials of the desk."""

    def __call__(
        self, script: Script, *, kind: type[DeskEpisode] = DeskEpisode, model: str = MODEL, **limits: Any
    ) -> Played:
        """Play one trial against a script; every request is checked by the server."""
        task = Desk(kind)
        with MessagesAPI(script) as api:
            record = asyncio.run(play_one(api, task, model, Limits(**limits)))
            seen = api.wait_until_idle()
        assert_plain(record)
        return Played(record, task.opened, seen)

    def mocked(self, answers: Sequence[Any], *, kind: type[DeskEpisode] = DeskEpisode, **limits: Any) -> Played:
        """Play one trial with answers that the scripted server could not follow, the requests unchecked.

        Args:
            answers: bodies as bytes, or messages to be made JSON with escapes, in order.
            kind: the episode's class.
            limits: fields of Limits.
        """
        task, left, seen = Desk(kind), iter(answers), []

        def answer(request: httpx2.Request) -> httpx2.Response:
            body = json.loads(request.content.decode())  # no request may hold what is not UTF-8
            seen.append(SeenRequest(len(seen), "POST", request.url.path, {}, body, 0.0))
            said = next(left)
            content = said if isinstance(said, bytes) else json.dumps(said).encode()
            return httpx2.Response(200, content=content, headers={"content-type": "application/json"})

        async def played() -> Record:
            async with httpx2.AsyncClient(transport=httpx2.MockTransport(answer)) as http:
                client = AsyncAnthropic(api_key=KEY, max_retries=0, http_client=http)
                return await play(spec_of(task, limits=Limits(**limits)), claude.ClaudeModel(MODEL, client))

        record = asyncio.run(played())
        assert_plain(record)
        return Played(record, task.opened, seen)


def message(*blocks: Mapping[str, Any], stop_reason: str = "tool_use") -> dict[str, Any]:
    """Return an assistant message, for `mocked`."""
    usage = {"input_tokens": 10, "output_tokens": 5}
    return {"model": MODEL, "content": list(blocks), "stop_reason": stop_reason, "usage": usage}


async def play_one(api: MessagesAPI, task: Task, model: str = MODEL, limits: Limits | None = None) -> Record:
    """Play one trial with a client of its own."""
    async with AsyncAnthropic(base_url=api.base_url, api_key=KEY, max_retries=0) as client:
        return await play(spec_of(task, model, limits), claude.ClaudeModel(model, client))


def spec_of(task: Task, model: str = MODEL, limits: Limits | None = None, *, run: int = 0) -> TrialSpec:
    """Return what is to be played."""
    return TrialSpec(f"desk[run-{run:02d}]", task, "desk", model, run, 42 + run, limits or Limits())


def assert_plain(record: Record) -> None:
    """A record must survive the disk whatever a model, a tool or a server put in it, and hold no key."""
    data = json.loads(json.dumps(record.to_json()))
    assert Record.from_json(data).to_json().keys() == data.keys()
    assert KEY not in json.dumps(data)


def submit(answer: int = 12) -> Reply:
    """Return the reply that ends most conversations."""
    return reply(tool_use("submit", {"answer": answer}))
