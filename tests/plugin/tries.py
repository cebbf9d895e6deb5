"""What the tests of `--sequential` share: an episode that tells later runs what it tried, and what they were told."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_rltask.run.record import Record
from tests.conftest import Suite

# An episode that takes any number and tells later runs which, and a task that can be made to misbehave by its name.
TRIES = '''
import os, pathlib, time
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Task, call, tool

class PickEpisode(Episode):
    word = "number"
    def __init__(self, seed):
        self.seed, self.number = seed, None
    @property
    def prompt(self):
        return "Pick a number."
    @property
    def info(self):
        return {"worker": os.environ.get("PYTEST_XDIST_WORKER", "main")}
    @property
    def tried(self):
        return "" if self.number is None else f"{self.word} {self.number}"
    @tool
    def pick(self, number: int) -> str:
        """Pick a number."""
        self.number = number
        return "picked"
    @tool
    def fall(self) -> str:
        """Raise what is no ToolError."""
        raise ValueError("a bug of the task")
    def grade(self):
        return Grade(0.0, threshold=1.0)

def own(view):
    yield call("pick", number=view.seed)

def double(view):
    yield call("pick", number=2 * view.seed)

def same(view):
    yield call("pick", number=7)

def heard(view):
    yield call("pick", number=len(view.history))

def nothing(view):
    yield "I pass."

def unique(view):
    yield call("pick", number=time.time_ns())

def falls(view):
    yield call("pick", number=view.seed)
    yield call("fall")

@dataclass(frozen=True)
class Pick(Task):
    kind: type = PickEpisode
    policies = {"own": own, "double": double, "same": same, "heard": heard, "nothing": nothing}
    policies |= {"unique": unique, "falls": falls}
    def open(self, seed):
        return self.kind(seed)

def wait_for(name):
    end = time.monotonic() + 30
    while not pathlib.Path(name).exists():
        assert time.monotonic() < end, f"{name} never came"
        time.sleep(0.01)
'''

ONE = """
from tries import *
@pytest.mark.rltask(task=Pick())
def test_pick(trial):
    assert trial.passed
"""

TWO = (
    ONE
    + """
class Again(PickEpisode):
    word = "again"
@pytest.mark.rltask(task=Pick(Again), name="again")
def test_again(trial):
    assert trial.passed
"""
)


class Tries(Suite):
    """A suite whose runs tell what they tried."""

    def __init__(self, pytester: pytest.Pytester, workers: tuple[str, ...] = ()) -> None:
        super().__init__(pytester, workers)
        (pytester.path / "test_sum.py").unlink()
        self.write(tries=TRIES, test_pick=ONE)

    def play(self, *arguments: str, model: str = "policy:own") -> pytest.RunResult:
        """Run the inner pytest sequentially."""
        return self.run("--sequential", *arguments, model=model)

    @property
    def records(self) -> list[Record]:
        """The records of the newest run, as they began."""
        return sorted(self.last_run().records.values(), key=lambda record: record.started)

    def told(self, **wanted: Any) -> dict[int, list[str]]:
        """Return what the first message of each run told, of those that have one and the given fields."""
        chosen = [r for r in self.records if all(getattr(r, name) == value for name, value in wanted.items())]
        assert len({record.run for record in chosen}) == len(chosen), "one trial of each run"
        return {record.run: told(record) for record in chosen if record.messages}


def told(record: Record) -> list[str]:
    """Return the lines that the first message told of earlier runs."""
    _, *history = record.messages[0]["content"]
    if not history:
        return []
    title, *lines = history[0]["text"].splitlines()
    assert title == "Earlier runs of this task tried:"
    return [line.removeprefix("- ") for line in lines]


def told_of(word: str, *, runs: int) -> dict[int, list[str]]:
    """Return what each run is told if each run before it picked its seed."""
    return {run: [f"{word} {42 + earlier}" for earlier in range(run)] for run in range(runs)}
