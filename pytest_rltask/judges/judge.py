"""A question of a task's code to a model, its answer, and the judges that a task declares.

Whoever is asked is called a judge here, be it a grader or a simulated customer: it is not who plays. A task names its
judges, each with the model that answers and a script that stands in for it where no key may be needed.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from pytest_rltask.tools import ToolCall

__all__ = [
    "ASKS",
    "Answer",
    "Asker",
    "Asks",
    "Judge",
    "JudgeError",
    "Pending",
    "Question",
    "Script",
    "asks_of",
    "question",
]

_T = TypeVar("_T")
ASKS = "_rltask_asks"
"""The attribute of an open episode that holds what answers its questions."""
ANSWER_TOKENS = 4096
"""Tokens that an answer may have, unless the question says otherwise."""


class JudgeError(Exception):
    """A judge gave nothing that can be used. The trial is errored: it is no failure of whoever plays."""


@dataclass(frozen=True)
class Question:
    """What a judge is asked."""

    judge: str
    """The judge's name in ``Task.judges``, or a model's."""
    messages: list[dict[str, Any]]
    """In the form of the Messages API."""
    system: str = ""
    tools: list[dict[str, Any]] = field(default_factory=list)
    """What it may call, in the form of the Messages API; nobody runs it: a call is an answer in a known form."""
    max_tokens: int = ANSWER_TOKENS
    seed: int = 0
    """Of the trial."""
    nth: int = 0
    """How many questions this judge was asked before in the trial."""

    @property
    def text(self) -> str:
        """The text of the last message."""
        content = self.messages[-1]["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        return "\n".join(block["text"] for block in blocks if block.get("type") == "text")


@dataclass(frozen=True)
class Answer:
    """What a judge answered."""

    content: list[dict[str, Any]]
    """Content blocks in the form of the Messages API, to go on with."""
    stop_reason: str
    """``end_turn``, ``stop_sequence`` or ``tool_use``: any other makes the trial errored."""
    model: str = ""
    """Who answered, as it names itself."""
    cost_usd: float | None = 0.0
    """None: the price is not known."""

    @property
    def text(self) -> str:
        """What it said, its text blocks joined."""
        return "\n".join(block["text"] for block in self.content if block.get("type") == "text")

    @property
    def tool_uses(self) -> list[dict[str, Any]]:
        """The tools that it calls."""
        return [block for block in self.content if block.get("type") == "tool_use"]


Script = Callable[[Question], "str | ToolCall | Sequence[ToolCall]"]
"""What a judge answers where no model is asked: a text, or calls of the tools that it was offered.

It must be quick, and the same for the same question.
"""


@dataclass(frozen=True)
class Judge:
    """A model that a task asks.

    Example:
        >>> Judge("claude-haiku-4-5-20251001", scripted=lambda question: "yes").model
        'claude-haiku-4-5-20251001'
    """

    model: str
    """Who answers, as ``--model`` names a model; ``--judge`` overrides it."""
    scripted: Script | None = None
    """Answers instead where a scripted policy plays, in the audit, and with ``--judge policy:scripted``."""


class Asks(Protocol):
    """What answers the questions of a trial's code."""

    async def ask(self, question: Question) -> Answer:
        """Return the answer to a question."""
        ...

    def wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Wait, in the trial's thread, for work that asks."""
        ...


class Pending(Coroutine[Any, Any, _T]):
    """An answer that is to be awaited, and says so to whoever takes it for the answer."""

    def __init__(self, work: Coroutine[Any, Any, _T], call: str, sync: str) -> None:
        self._work, self._said = work, f"{call} was not awaited: write `await {call}`, or {sync} where no `async` is"

    def __await__(self) -> Generator[Any, Any, _T]:
        return self._work.__await__()

    def send(self, value: Any) -> Any:
        """Go on, as a coroutine does."""
        return self._work.send(value)

    def throw(self, *error: Any) -> Any:
        """Go on with an exception."""
        return self._work.throw(*error)

    def close(self) -> None:
        """End it."""
        self._work.close()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._work.close()  # else Python warns of it as well
        raise AttributeError(self._said)


def asks_of(episode: object) -> Asks:
    """Return what answers the questions of an open episode.

    Raises:
        RuntimeError: it is not open.
    """
    asks: Asks | None = getattr(episode, ASKS, None)
    if asks is None:
        raise RuntimeError(
            f"{type(episode).__name__} asks a model, but no trial is played with it: ask in a tool, nudge(), finish() "
            "or grade(), and not while the episode is opened"
        )
    return asks


def question(
    judge: str,
    messages: str | Sequence[Mapping[str, Any]],
    *,
    system: str = "",
    tools: Sequence[Mapping[str, Any]] = (),
    max_tokens: int = ANSWER_TOKENS,
) -> Question:
    """Return a question, its messages in one form.

    Raises:
        TypeError: the messages are none.

    Example:
        >>> question("grader", "Is 12 even?").messages
        [{'role': 'user', 'content': [{'type': 'text', 'text': 'Is 12 even?'}]}]
    """
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    form = 'write self.ask("grader", "a text") or a list of {"role": "user", "content": "..."}'
    if not said or not all(isinstance(one, Mapping) and {"role", "content"} <= one.keys() for one in said):
        raise TypeError(f"the messages to judge {judge!r} are {messages!r}; {form}")
    if said[-1]["role"] != "user":
        raise TypeError(f"the last message to judge {judge!r} is the {said[-1]['role']}'s; end with one of the user")
    if not isinstance(judge, str) or not judge:
        raise TypeError(f"the judge is {judge!r}; name one of Task.judges, or a model")
    return Question(judge, [_blocks(one) for one in said], system, [dict(one) for one in tools], max_tokens)


def _blocks(message: Mapping[str, Any]) -> dict[str, Any]:
    content = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else [dict(block) for block in content]
    return {"role": message["role"], "content": blocks}


class Asker:
    """An episode as one that asks models."""

    def ask(
        self,
        judge: str,
        messages: str | Sequence[Mapping[str, Any]],
        *,
        system: str = "",
        tools: Sequence[Mapping[str, Any]] = (),
        max_tokens: int = ANSWER_TOKENS,
    ) -> Coroutine[Any, Any, Answer]:
        """Ask a model, by ``await self.ask(...)`` in an ``async`` tool, nudge, finish or grade; see docs/judges.md.

        What it costs counts for the run and is told apart from what the player costs; its time is none of the player's.
        What goes wrong with it makes the trial errored, whatever becomes of the exception.

        Args:
            judge: a name of ``Task.judges``, or a model's.
            messages: a text, or messages in the form of the Messages API, of which the user has the last one.
            system: the system prompt.
            tools: what it may call, in the form of the Messages API; nothing runs, the call is the answer.
            max_tokens: of the answer; one that is longer is a fault, and not an answer cut short.
        """
        asked = question(judge, messages, system=system, tools=tools, max_tokens=max_tokens)
        return Pending(asks_of(self).ask(asked), "self.ask(...)", "self.ask_sync(...)")

    def ask_sync(self, judge: str, messages: str | Sequence[Mapping[str, Any]], **more: Any) -> Answer:
        """Ask a model in a method that is not ``async``; arguments are those of :meth:`ask`."""
        return asks_of(self).wait(self.ask(judge, messages, **more))
