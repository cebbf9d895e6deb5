"""What do fixtures of each test cost? Wall time of 20 trials whose test has `tmp_path` and an autouse `monkeypatch`.

Run as `make bench-fixtures`. Trials take between half a second and one and a half, by their seed, most of it waiting as
for an API. Suites with and without the fixtures alternate, so that a noisy machine hits both alike; the time is that
from the first trial's start to the last one's end, by their records.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import datetime
from pathlib import Path

from pytest_rltask.run.load import load_run

SUITE = """
import asyncio, random
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Task, call, tool

class Waiting(Episode):
    prompt = "Wait."
    def __init__(self, seed):
        self.seconds = random.Random(seed).uniform(0.5, 1.5)
    @tool
    async def wait(self) -> str:
        '''Wait.'''
        await asyncio.sleep(self.seconds)
        return "waited"
    def grade(self):
        return Grade(1.0, threshold=1.0)

@dataclass(frozen=True)
class Wait(Task):
    policies = {"waits": lambda view: (yield call("wait"))}
    def open(self, seed):
        return Waiting(seed)
"""
TESTS = {
    "without": """
@pytest.mark.rltask(task=Wait(), band=(0, 1))
def test_wait(trial):
    assert trial.passed
""",
    "with": """
@pytest.fixture(autouse=True)
def variable(monkeypatch):
    monkeypatch.setenv("VARIABLE", "1")

@pytest.mark.rltask(task=Wait(), band=(0, 1))
def test_wait(trial, tmp_path):
    assert trial.passed
""",
}
TARGET = 1.1


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="runs of each suite")
    parser.add_argument("--runs", type=int, default=20, help="trials of a run")
    arguments = parser.parse_args()
    for concurrency in (10, 2):
        seconds: dict[str, list[float]] = {name: [] for name in TESTS}
        for _ in range(arguments.rounds):
            for name in TESTS:
                seconds[name].append(wall_s(TESTS[name], arguments.runs, concurrency))
        medians = {name: statistics.median(own) for name, own in seconds.items()}
        shown = ", ".join(f"{name} {median:.2f} s" for name, median in medians.items())
        ratio = medians["with"] / medians["without"]
        print(f"{arguments.runs} trials, {concurrency} at once: {shown}, ratio {ratio:.2f} (target: up to {TARGET:g})")


def wall_s(test: str, runs: int, concurrency: int) -> float:
    """Play a suite, and return the seconds from its first trial's start to its last one's end."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "test_wait.py").write_text(SUITE + test)
        words = (
            f"--runs={runs}",
            f"--concurrency={concurrency}",
            "--model=policy:waits",
            "-q",
            "-p",
            "no:cacheprovider",
        )
        command = [sys.executable, "-m", "pytest", *words]
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        (path,) = Path(folder, "logs").glob("run_*")
        run = load_run(path)
    starts = [datetime.fromisoformat(at).timestamp() for own in run.starts.values() for at in own]
    ends = [
        datetime.fromisoformat(record.started).timestamp() + record.seconds["total"] for record in run.records.values()
    ]
    assert len(ends) == runs
    return max(ends) - min(starts)


if __name__ == "__main__":
    main()
