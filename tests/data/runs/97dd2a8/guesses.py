"""Games of guessing a number, played by commit 97dd2a8 of the plugin: the runs beside this file are of these tests.

Every number follows from the seed, and the prompt tells games apart, so that a scripted model can play them as well.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from pytest_rltask import Episode, Grade, Limits, Task, ToolError, call, tool

MENDED = Path(__file__).with_name("mended.txt").exists()
"""Whether what failed in the first invocation works by now."""


class GuessEpisode(Episode):
    """One number to find."""

    def __init__(self, task, seed):
        self.task, self.seed, self.numbers = task, seed, []

    @property
    def system(self):
        return "You play games of numbers."

    @property
    def prompt(self):
        return f"Game {self.seed}: find my number from 1 to {self.task.high}. You have {self.task.guesses} guesses."

    @property
    def info(self):
        return {"high": self.task.high}

    @property
    def tried(self):
        return ", ".join(map(str, self.numbers))

    @property
    def done(self):
        return bool({self.seed + 1, -1} & {*self.numbers})

    @tool
    def guess(self, number: int) -> str:
        """Guess the number; the answer is "higher", "lower" or "found".

        Args:
            number: Your guess.
        """
        if number != -1 and not 1 <= number <= self.task.high:
            raise ToolError(f"Guess from 1 to {self.task.high}.")
        self.numbers.append(number)
        return "found" if self.done else "higher" if number <= self.seed else "lower"

    @tool
    def peek(self) -> str:
        """Look at the number."""
        raise KeyError("a bug of the task")

    def remind(self):
        return f"{len(self.numbers)} guesses so far."

    def grade(self):
        if -1 in self.numbers:
            return Grade(1.0, threshold=1.0, cheated=True, label="minus one", reason="guessed -1")
        found = float(self.done)
        metrics = {"guesses": len(self.numbers)}
        return Grade(found, threshold=1.0, label="not found", reason=f"not {self.tried or 'tried'}", metrics=metrics)


def mixed(view):
    """Play each seed in its own way."""
    match view.seed:
        case 42:
            yield call("guess", number=43)
        case 43:
            yield "I give up."
        case 44:
            yield call("guess", number=-1)
        case 45:
            yield call("peek")
        case 46:
            yield call("guess" if MENDED else "peek", **({"number": 47} if MENDED else {}))
        case 47:
            yield call("guess", number=1_000_000)
            yield call("guess", number=1)
            yield "No more."
        case 48:
            yield [call("guess", number=number) for number in range(1, 7)]
        case 49 if os.environ.get("PYTEST_XDIST_WORKER"):
            os._exit(9)
        case _:
            raise RuntimeError("a bug of the policy")


@dataclass(frozen=True)
class Guess(Task):
    """Find a number by guessing."""

    high: int = 1000
    guesses: int = 4
    policies: ClassVar = {"mixed": mixed}

    @property
    def limits(self):
        return Limits(tool_calls=self.guesses)

    def open(self, seed) -> GuessEpisode:
        return GuessEpisode(self, seed)


@dataclass(frozen=True)
class Hopeless(Guess):
    """Find a number without trying."""

    policies: ClassVar = {"mixed": lambda view: (yield "I give up.")}


@pytest.mark.rltask(task=Guess(), runs=8)
def test_guess(trial):
    """The grader has the say."""
    assert trial.passed, trial.reason


@pytest.mark.rltask(task=Guess(high=500), name="judged", runs=7)
def test_judged(trial):
    """The assertion overrules the grader, both ways; what it does not judge has no outcome."""
    if trial.record.seed == 47:
        raise ValueError("a bug of the test")
    if trial.record.seed == 48:
        pytest.skip("not today")
    assert trial.metrics.get("guesses") != 1, "one guess is luck"


@pytest.mark.rltask(task=Hopeless(), band=(0.8, 1.0), runs=12)
def test_hopeless(trial):
    """Proven too hard before all are played."""
    assert trial.passed, trial.reason


@pytest.mark.parametrize("side", ["near", "afar"])
@pytest.mark.rltask(task=Guess(high=200), name="sides", runs=2)
def test_sides(trial, side):
    """One of its parameters has another name in the second invocation."""
    assert trial.passed, side


@pytest.mark.skip(reason="not ready")
@pytest.mark.rltask(task=Guess(high=300), name="skipped", runs=2)
def test_skipped(trial):
    """Never played."""


@pytest.mark.skipif(not MENDED, reason="to be mended")
@pytest.mark.rltask(task=Guess(high=400), name="later", runs=1)
def test_later(trial):
    """Skipped in the first invocation, and played in the second."""
    assert trial.passed
