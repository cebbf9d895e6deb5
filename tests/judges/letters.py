"""A judged task: a letter is written, and a rubric decides; and a customer who is played. With servers that answer."""

from __future__ import annotations

from typing import Any

from tests.support.messages_api import Reply, Step, reply, text, tool_use

PLAYER, JUDGE = "claude-haiku-4-5-20251001", "claude-sonnet-4-6"
PLAYER_USAGE, JUDGE_USAGE = {"input_tokens": 1000, "output_tokens": 200}, {"input_tokens": 2000, "output_tokens": 100}
PLAYER_EACH, JUDGE_EACH = 0.002, 0.0075
"""Dollars of a request: $1 and $5, $3 and $15 per million tokens."""

SUITE = """
from dataclasses import dataclass
import pytest
from pytest_rltask import Criterion, Episode, Grade, Judge, RubricJudge, Task, call, tool

RUBRIC = RubricJudge("grader", [Criterion("polite", "It is polite."), Criterion("short", "It is short.")]{more})


def writes(text):
    def policy(view):
        yield call("send", letter=text)
    return policy


class LetterEpisode(Episode):
    letter = ""

    @property
    def prompt(self):
        return "Write a letter; 75 % of the marks pass."

    @property
    def done(self):
        return bool(self.letter)

    @tool
    def send(self, letter: str) -> str:
        \"\"\"Send the letter.\"\"\"
        self.letter = letter
        return "sent"

    {grade}


@dataclass(frozen=True)
class Letter(Task):
    judges = {{
        "grader": Judge(
            "claude-sonnet-4-6",
            scripted=RUBRIC.scripted(lambda work: {{"polite": int("please" in work), "short": 1}}),
        )
    }}
    needs_seed = False
    policies = {{"null": lambda view: (yield "no letter"), "solver": writes("please come"), "rude": writes("come")}}

    def open(self, seed):
        return LetterEpisode()


@pytest.mark.rltask(task=Letter())
def test_letter(trial):
    assert trial.passed
"""
ASYNC_GRADE = """async def grade(self):
        marks = await RUBRIC.judged(self, self.letter)
        return Grade(marks.score, threshold=0.75, metrics=marks.metrics)"""
SYNC_GRADE = """def grade(self):
        marks = RUBRIC.judged_sync(self, self.letter)
        return Grade(marks.score, threshold=0.75, metrics=marks.metrics)"""


def suite_of(grade: str = ASYNC_GRADE, more: str = "") -> str:
    """Return the file of a test, with a grader and what else its rubric is given."""
    return SUITE.format(grade=grade, more=more)


def verdict(polite: int = 1, short: int = 1) -> Reply:
    """Return what a judge answers."""
    given = {"reasons": "So it is.", "polite": polite, "short": short}
    return reply(tool_use("verdict", given), usage=JUDGE_USAGE)


def sends(letter: str = "please come") -> Reply:
    """Return what a player answers."""
    return reply(tool_use("send", {"letter": letter}), usage=PLAYER_USAGE)


def answers(body: dict[str, Any], turn: int) -> Step:
    """Play and judge, by the model that is asked."""
    if body["model"] == JUDGE:
        return verdict()
    return sends() if turn == 0 else reply(text("Done."), usage=PLAYER_USAGE)
