"""Whoever acts in a trial: a model makes one player per trial; a player answers one request at a time.

Claude, a scripted policy and a replay all answer in the Messages API's own form (content blocks and a stop
reason), so that the trial loop cannot tell them apart.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pytest_rltask.run.record import FaultKind, Usage
from pytest_rltask.task import Policy

__all__ = ["Model", "ModelFault", "Player", "Reply", "Request", "Start", "seeded_rng"]


@dataclass(frozen=True)
class Start:
    """What a model may know of a trial before it plays it."""

    task: str
    seed: int
    prompt: str
    tools: tuple[str, ...]
    policies: Mapping[str, Policy]
    history: tuple[str, ...]
    """What earlier runs tried, as the first message shows it."""
    run: Callable[[Callable[[], Any]], Awaitable[Any]]
    """Runs a function that may block in the trial's own thread."""
    variant: str = ""
    """The parameters of its test, as its id names them."""


@dataclass(frozen=True)
class Request:
    """One request for an assistant message."""

    system: str
    tools: list[dict[str, Any]]
    messages: list[dict[str, Any]]
    max_tokens: int
    deadline: float
    """Time on the event loop's clock at which the answer is of no use any more, in seconds."""
    extends: bool = False
    """Whether it extends one of the same trial that was answered: what is wrong with it then came of the model."""
    media: Mapping[str, bytes] = field(default_factory=dict)
    """Images and documents that the messages refer to, by file."""
    under_way: list[Callable[[], Reply]] = field(default_factory=list)
    """Holds, while the request is under way and may be billed, what estimates its tokens and cost."""


@dataclass(frozen=True)
class Reply:
    """An assistant message."""

    content: list[dict[str, Any]]
    """Content blocks, to be sent back verbatim."""
    stop_reason: str
    usage: Usage = field(default_factory=Usage)
    cost_usd: float | None = 0.0
    """None: the price is unknown."""
    model: str = ""
    request_id: str | None = None
    latency_s: float = 0.0
    """Seconds from the moment at which the trial asked to the answer."""
    lost_s: float = 0.0
    """Seconds of these that went into attempts that failed and into waits for the API's limits."""
    faults: tuple[str, ...] = ()
    priced_as: str = ""
    """The model whose price it is, if that of the one which answered is not known."""
    guessed_usd: float = 0.0
    """What of the cost is an estimate, of replies that did not arrive and may be billed."""
    is_last: bool = False
    """Whether nothing can follow, whatever is asked: the last of a recorded trial."""

    @property
    def text(self) -> str:
        """What the model said, its text blocks joined."""
        return "\n".join(block["text"] for block in self.content if block.get("type") == "text")

    @property
    def tool_uses(self) -> list[dict[str, Any]]:
        """The calls the model asks the harness for."""
        return [block for block in self.content if block.get("type") == "tool_use"]


class ModelFault(Exception):
    """The model could not answer, through no fault of its own: the trial is errored."""

    def __init__(
        self,
        message: str,
        *,
        kind: FaultKind = "api",
        request_id: str | None = None,
        fatal: bool = False,
        billed: Reply | None = None,
    ) -> None:
        super().__init__(message)
        self.billed = billed
        """What was paid for all the same: the tokens and the cost of replies that were of no use."""
        self.kind = kind
        self.request_id = request_id
        self.fatal = fatal


class Player(Protocol):
    """A model in one trial."""

    async def reply(self, request: Request) -> Reply:
        """Answer the conversation so far.

        Raises:
            ModelFault: there is no answer to be had.
        """
        ...


class Model(Protocol):
    """Whoever acts; shared by all trials of one event loop."""

    def player(self, start: Start) -> Player:
        """Return the player of a trial."""
        ...

    async def aclose(self) -> None:
        """Give back connections."""
        ...


def seeded_rng(*parts: object) -> random.Random:
    """Return a random source that depends on nothing but the parts."""
    return random.Random(repr(parts))
