"""How well do many trials share one process? Wall, CPU and memory, beside the bare SDK and Inspect AI.

Run as `make bench-scale`. A Messages API with half a second of latency runs in a process of its own (`light_api`).
Each side plays the same conversations against it, alternately, each time as one command with all that it does for a
user (records, logs, reports): 200 trials of 6 turns, that is five calls of a tool that adds two numbers and a last
word, 50 at a time. All grade the last word. By the server's journal each prompt must have made 6 requests, in order.
The bare SDK (`bare_sdk`) is a loop around `messages.create`, by its default client, and by that on aiohttp where it
is installed: without it, this package's numbers are not those of the extra `fast`.

wall    of the whole command; and, beside the ideal (turns x latency x trials / concurrency), what is left of it without
        start-up and end: without what a command of one trial takes besides its turns.
CPU     user and system time of the whole command with all its processes, divided by the trials; and which part of it a
        command of one trial takes as well.

Then this package and the bare SDK play 1,000 trials, 256 at a time. Other work on the machine lengthens wall times:
the best of the repeats tells what is possible, the median what was usual. CPU times change less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
MODEL = "claude-haiku-4-5-20251001"
SDK = "the bare SDK"
TURNS = 6
LATENCY_S = 0.5
FIRST_SEED = 42
REPLY_TOKENS = 4096
WALL_TARGET, CPU_TARGET, SDK_TARGET = 1.25, 0.5, 1.0

PROMPT = "Add up the numbers that you are given, one call each. " * 10

OURS = f'''
from dataclasses import dataclass

import pytest

from pytest_rltask import Episode, Grade, Limits, Task, tool


class AddEpisode(Episode):
    def __init__(self, seed):
        self.seed, self.said = seed, ""

    @property
    def prompt(self):
        return f"This is the trial of seed {{self.seed}}. {PROMPT}"

    @tool
    def add(self, a: int, b: int) -> str:
        """Add two numbers.

        Args:
            a: The first.
            b: The second.
        """
        return str(a + b)

    def observe(self, reply):
        self.said = reply

    def grade(self):
        return Grade(float("sum is {TURNS - 1}" in self.said), threshold=1.0)


@dataclass(frozen=True)
class Add(Task):
    @property
    def limits(self):
        return Limits(turns=20, reply_tokens={REPLY_TOKENS})

    def open(self, seed):
        return AddEpisode(seed)


@pytest.mark.rltask(task=Add(), band=(0.5, 1.0))
def test_add(trial):
    assert trial.passed
'''

INSPECT = f'''
from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate, use_tools
from inspect_ai.tool import tool


@tool
def add():
    async def execute(a: int, b: int) -> str:
        """Add two numbers.

        Args:
            a: The first.
            b: The second.
        """
        return str(a + b)

    return execute


@task
def adding(trials):
    seeds = range({FIRST_SEED}, {FIRST_SEED} + trials)
    samples = [Sample(f"This is the trial of seed {{seed}}. {PROMPT}", target="sum is {TURNS - 1}") for seed in seeds]
    return Task(dataset=samples, solver=[use_tools(add()), generate()], scorer=includes())
'''

Command = Callable[[int, int], list[str]]


@dataclass(frozen=True)
class Played:
    """What one command took."""

    trials: int
    wall_s: float
    cpu_s: float
    peak_mb: float
    """The most memory that one of its processes held."""
    in_flight: int
    """The most requests that the server had to answer at once."""
    late_s: float
    """The most by which the server was late with an answer."""


def ours(trials: int, concurrency: int) -> list[str]:
    """Return the command that plays trials with this package."""
    return [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest", "test_add.py"),
        *("--model", MODEL, "--runs", str(trials), "--concurrency", str(concurrency)),
    ]


def inspect_ai(python: Path) -> Command:
    """Return what makes the command that plays trials with Inspect AI: without its display, and not streaming."""

    def command(trials: int, concurrency: int) -> list[str]:
        return [
            *(str(python.with_name("inspect")), "eval", "inspect_add.py", "--model", f"anthropic/{MODEL}"),
            *("-T", f"trials={trials}", "--max-samples", str(concurrency), "--max-connections", str(concurrency)),
            *("--max-tokens", str(REPLY_TOKENS), "-M", "streaming=false", "--display", "none"),
        ]

    return command


def bare_sdk(transport: str) -> Command:
    """Return what makes the command that plays trials with nothing but the SDK."""

    def command(trials: int, concurrency: int) -> list[str]:
        words = ("--trials", str(trials), "--concurrency", str(concurrency), "--transport", transport)
        return [sys.executable, "-m", "tests.bench.bare_sdk", *words]

    return command


def play(command: Command, trials: int, concurrency: int, folder: Path) -> Played:
    """Play trials, make sure that they were played, and return what it took."""
    serving = [sys.executable, "-m", "tests.bench.light_api", "--turns", str(TURNS), "--latency", str(LATENCY_S)]
    with subprocess.Popen(serving, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        environment = _environment(server.stdout.readline().strip())
        words = command(trials, concurrency)
        with (folder / "client.log").open("w") as log:
            begin = time.monotonic()
            client = subprocess.Popen(words, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
            _, status, used = os.wait4(client.pid, 0)  # what its own children used included
            wall_s, client.returncode = time.monotonic() - begin, os.waitstatus_to_exitcode(status)
        server.stdin.close()
        served: dict[str, Any] = json.load(server.stdout)
    said = (folder / "client.log").read_text()
    assert client.returncode == 0, said
    check(served["journal"], trials, said)
    cpu_s, peak_mb = used.ru_utime + used.ru_stime, used.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    print(f"{' '.join(words)[-60:]:>60}: {wall_s:5.1f} s, CPU {cpu_s:5.1f} s", flush=True)
    return Played(trials, wall_s, cpu_s, peak_mb, served["peak_in_flight"], served["late_s"])


def _environment(base_url: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "PYTEST_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # pytest would compile its plugins anew each time
    return kept | {"ANTHROPIC_BASE_URL": base_url, "ANTHROPIC_API_KEY": "none", "PYTHONPATH": str(ROOT)}


def check(journal: list[list[int]], trials: int, said: str) -> None:
    """Make sure by the server's journal that every trial asked for each of its turns, once and in order."""
    turns: dict[int, list[int]] = {}
    for seed, turn in journal:
        turns.setdefault(seed, []).append(turn)
    assert set(turns) == set(range(FIRST_SEED, FIRST_SEED + trials)), said
    assert Counter(map(tuple, turns.values())) == {tuple(range(TURNS)): trials}, said


def report(name: str, one: list[Played], many: list[Played], concurrency: int) -> float:
    """Print what the commands of one side took, and return the median CPU seconds of a trial."""
    trials = many[0].trials
    ideal_s = TURNS * LATENCY_S * trials / concurrency
    besides_s = statistics.median(played.wall_s for played in one) - TURNS * LATENCY_S
    fixed_s = statistics.median(played.cpu_s for played in one)
    cpu_s = statistics.median(played.cpu_s for played in many) / trials
    print(f"{name}, {trials} trials, {concurrency} at a time:")
    print(f"  start-up and end: {besides_s:.1f} s of wall time, {fixed_s:.1f} s of CPU")
    for which, function in (("best", min), ("median", statistics.median)):
        wall_s = function([played.wall_s for played in many])
        left_s = wall_s - besides_s
        print(
            f"  wall, {which + ':':7} {wall_s:5.1f} s; without start-up and end {left_s:5.1f} s, "
            f"{left_s / ideal_s:.2f} of the ideal {ideal_s:.1f} s"
        )
    without_s = cpu_s - fixed_s / trials
    print(f"  CPU of a trial: {cpu_s * 1000:.1f} ms; without start-up and end {without_s * 1000:.1f} ms")
    print(f"  peak memory: {max(played.peak_mb for played in many):.0f} MB")
    print(
        f"  server: at most {max(played.in_flight for played in many)} requests at once, "
        f"late by at most {max(played.late_s for played in many) * 1000:.0f} ms"
    )
    return cpu_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inspect", type=Path, help="python of an environment with inspect-ai; without it, ours alone")
    parser.add_argument("--repeats", type=int, default=3, help="times that each side plays")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--concurrency", type=int, default=50)
    options = parser.parse_args()
    sides: dict[str, Command] = {"pytest-rltask": ours, SDK: bare_sdk("httpx")}
    if find_spec("aiohttp"):
        sides["the SDK on aiohttp"] = bare_sdk("aiohttp")
    if options.inspect:
        sides["Inspect AI"] = inspect_ai(options.inspect.absolute())
    one: dict[str, list[Played]] = {name: [] for name in sides}
    many: dict[str, list[Played]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory(prefix="scale-") as name:
        folder = Path(name)
        (folder / "test_add.py").write_text(OURS)
        (folder / "inspect_add.py").write_text(INSPECT)
        for command in sides.values():
            play(command, 1, 1, folder)  # fills the byte-code caches
        for _ in range(options.repeats):
            for side, command in sides.items():
                one[side].append(play(command, 1, 1, folder))
                many[side].append(play(command, options.trials, options.concurrency, folder))
        cpu = {side: report(side, one[side], many[side], options.concurrency) for side in sides}
        print(f"wall without start-up and end: target at most {WALL_TARGET} of the ideal")
        if options.inspect:
            ratio = cpu["pytest-rltask"] / cpu["Inspect AI"]
            print(f"CPU of a trial, ours to Inspect AI's: {ratio:.2f} (target: at most {CPU_TARGET})")
        _compare(cpu)
        sides.pop("Inspect AI", None)  # it would take minutes
        _compare({name: report(name, one[name], [play(sides[name], 1000, 256, folder)], 256) for name in sides})


def _compare(cpu: dict[str, float]) -> None:
    ratio = cpu["pytest-rltask"] / cpu[SDK]
    print(f"CPU of a trial, ours to that of {SDK}: {ratio:.2f} (target: at most {SDK_TARGET})")


if __name__ == "__main__":
    main()
