"""What a person is shown at the end of a trial: what is new, and nothing twice."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_rltask.models.human import show_end
from pytest_rltask.run.record import Record, RequestLog, Usage


class Shown:
    """A console that nobody types at."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def show(self, title: str, text: str, kind: str = "harness") -> None:
        self.texts.append(text)

    def ask(self, prompt: str, tools: dict[str, Any]) -> str:
        raise EOFError


@pytest.mark.parametrize(("empty", "times"), [(True, 0), (False, 1)])
def test_whoever_ends_the_input_is_not_shown_again_what_was_to_be_answered(empty: bool, times: int):
    replies = [RequestLog(None, "human", "tool_use", Usage(), 0.0, 1.0, empty=one) for one in (False, empty)]
    record = Record("t[run-00]", "t", "digest", "human", 0, 42, "failed", score=0.0, requests=replies, turns=1)
    said = [("user", "Find it."), ("assistant", "Is it 7?"), ("user", "Higher.")]
    record.messages = [{"role": role, "content": [{"type": "text", "text": text}]} for role, text in said]
    shown = Shown()

    show_end(record, shown)

    assert shown.texts.count("Higher.") == times
    assert shown.texts[-1].startswith("score 0")
