"""What the code of a task asked a judge in a trial, and was answered, as its record keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Asked", "asked_from_json"]


@dataclass(frozen=True)
class Asked:
    """A question of the task's code to a judge, and its answer."""

    judge: str
    model: str
    """Who answered for the judge: a model's name, or ``policy:scripted``."""
    digest: str
    """Of all that was asked: a replay finds the answer by it."""
    after: int
    """How many messages the conversation had then."""
    repeats: int = 0
    """Messages, from the first on, that are left out: this judge's question before began with the same."""
    system: str = ""
    """The system prompt; empty too if it is that of this judge's question before."""
    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    """What it might call; empty too if that is as in this judge's question before."""
    reply: list[dict[str, Any]] = field(default_factory=list)
    """Content blocks of the answer."""
    stop_reason: str = ""


def asked_from_json(entry: dict[str, Any]) -> Asked:
    """Rebuild what a record says of a question.

    Raises:
        TypeError: it says something else.
    """
    known = {name: entry[name] for name in Asked.__dataclass_fields__ if name in entry}
    asked = Asked(**known)
    texts = (asked.judge, asked.model, asked.digest, asked.system, asked.stop_reason)
    blocks = [
        *asked.reply,
        *asked.tools,
        *asked.messages,
        *(block for one in asked.messages for block in one["content"]),
    ]
    counts = all(type(count) is int and count >= 0 for count in (asked.after, asked.repeats))
    if not counts or not all(isinstance(text, str) for text in texts) or not all(isinstance(b, dict) for b in blocks):
        raise TypeError("a question to a judge that is none")
    return asked
