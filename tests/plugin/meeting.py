"""What the tests of shares share: an episode whose trials wait for each other, and a suite of them."""

from __future__ import annotations

import json
from collections import Counter
from textwrap import dedent
from typing import Any

import pytest

from tests.conftest import Suite

# An episode whose trials wait for each other by files, and die where they are told to.
MEET = '''
import asyncio, os, pathlib, signal, time
from dataclasses import dataclass, field
import pytest
from pytest_rltask import Episode, Grade, Task, call, tool

async def until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.01)

def here(pattern="*"):
    return len(list(pathlib.Path("met").glob(pattern)))

class MeetEpisode(Episode):
    def __init__(self, task, seed):
        self.task, self.run, self.score = task, seed - 42, None
        self.worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    @property
    def prompt(self):
        return "Meet."
    @property
    def info(self):
        return {"worker": self.worker}
    def file(self, name):
        pathlib.Path("met").mkdir(exist_ok=True)
        return pathlib.Path("met") / f"{name}-{self.task.name}-{self.run}"
    @tool
    async def meet(self) -> str:
        """Meet others."""
        self.file("here").touch()
        await self.task.meeting(self)
        self.score = float(self.run % 3 == 0)
        return "met"
    def grade(self):
        return Grade(self.score or 0.0, threshold=1.0)
    def close(self):
        self.file("done").touch()

async def nobody(episode):
    pass

@dataclass(frozen=True)
class Meet(Task):
    meeting: object = field(default=nobody, metadata={"content": False})
    policies = {"meets": lambda view: (yield call("meet"))}
    def open(self, seed):
        return MeetEpisode(self, seed)
    def digest(self):
        return "d" * 16
'''

TEST = """
from meet import *
MEETING
@pytest.mark.rltask(task=Meet(meeting))
def test_meet(trial):
    assert trial.passed
"""

NOBODY = "meeting = nobody"


class Meeting(Suite):
    """A suite whose trials meet."""

    def __init__(self, pytester: pytest.Pytester, *workers: str) -> None:
        super().__init__(pytester, workers)
        (pytester.path / "test_sum.py").unlink()
        self.write(meet=MEET)

    def play(self, meeting: str, *arguments: str, **files: str) -> pytest.RunResult:
        """Run the inner pytest with a meeting: `async def meeting(episode)`."""
        self.write(test_meet=TEST.replace("MEETING", dedent(meeting)), **files)
        return self.run(*arguments, model="policy:meets")

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """Return the lines of a kind of the newest run, of all its writers."""
        files = self.run_dirs[-1].glob("trials.*.jsonl")
        entries = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [entry for entry in entries if entry["type"] == kind]

    def count(self, kind: str) -> dict[int, int]:
        """Return how many lines of a kind there are of each run."""
        return dict(Counter(int(line["trial_id"].split("run-")[1][:2]) for line in self.lines(kind)))

    @property
    def workers_of(self) -> dict[int, str]:
        """The worker that finished each run."""
        return {record.run: record.info["worker"] for record in self.last_run().records.values()}

    @property
    def outcomes(self) -> dict[int, str]:
        """The outcome of each run."""
        return {record.run: record.outcome for record in self.last_run().records.values()}

    @property
    def scores(self) -> dict[str, float | None]:
        """The score of each trial."""
        return {trial_id: record.score for trial_id, record in sorted(self.last_run().records.items())}


def once(*runs: int) -> dict[int, int]:
    """Return that each of the runs was counted once."""
    return dict.fromkeys(runs, 1)
