"""Does a run survive `kill -9`? Rounds of it at random moments; the server's journal says what was paid.

Run as `make bench-kills`. Each round plays a suite against a scripted Messages API, and once a random number of
requests has arrived it kills the whole run, its controller, or one worker. Then the run is resumed until it is
finished (where a worker died, it must finish by itself), and it is checked that

* every trial whose record was on disk at the kill is in the report as it was, and was never asked for again,
* no trial has two records with a grade,
* a trial that was in flight was played exactly once more, and every other trial exactly once,
* `report.json` says what that of an undisturbed run says, times and names aside,
* no process is left.

Which requests are a trial's, its prompt tells. Only processes that a round started are killed, by their pid.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from pytest_rltask.run.load import load_run
from tests.support.messages_api import MessagesAPI, Reply, SeenRequest, reply, text, tool_use

Victim = Literal["run", "controller", "worker"]

TURNS = 3
WHOLE = list(range(TURNS))
FIRST_SEED = 42
SUITE = """
from dataclasses import dataclass

import pytest

from pytest_rltask import Episode, Grade, Task, tool


class AddEpisode(Episode):
    def __init__(self, seed):
        self.seed, self.said = seed, ""

    @property
    def prompt(self):
        return f"Add 1 to the number {self.seed} until you are told to stop."

    @tool
    def add(self, number: int) -> str:
        \"\"\"Add 1 to a number.\"\"\"
        return str(number + 1)

    def observe(self, reply):
        self.said = reply

    def grade(self):
        return Grade(float("right" in self.said), threshold=1.0)


@dataclass(frozen=True)
class Add(Task):
    def open(self, seed):
        return AddEpisode(seed)


@pytest.mark.rltask(task=Add())
def test_add(trial):
    assert trial.passed
"""


@dataclass
class Kill:
    """One round: whom to kill, and when."""

    victim: Victim
    workers: int
    after: int
    """Requests that have arrived."""
    chosen: int = 0
    """Which worker, if one is killed."""


@dataclass
class Told:
    """What a round found."""

    on_disk: int = 0
    """Trials whose record was on disk when the run was killed."""
    in_flight: int = 0
    """Trials that had been asked for by then, and were not on disk."""
    played_again: int = 0
    resumed: int = 0
    """How often pytest was started with `--resume` until the run was finished."""
    refused: int = 0
    """How often that was refused since a worker of the killed run still lived."""
    wrong: list[str] = field(default_factory=list)
    """What did not hold; empty if all is well."""


class Suite:
    """A suite in a folder of its own, and the processes that play it against a server: they end with its context.

    Args:
        folder: an empty one.
        trials: how many.
        workers: of pytest-xdist; 0: none.
        api: the server.
    """

    def __init__(self, folder: Path, *, trials: int, workers: int, api: MessagesAPI) -> None:
        self.folder = folder
        self.workers = workers
        self.command = [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:hypothesispytest", "-p", "no:cacheprovider"),
            *("--model", "claude-haiku-4-5-20251001", "--runs", str(trials), "--concurrency", "10"),
            *(("-n", str(workers)) if workers else ()),
        ]
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("ANTHROPIC_", "PYTEST_"))},
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "ANTHROPIC_BASE_URL": api.base_url,
            "ANTHROPIC_API_KEY": "none",
        }
        (folder / "test_add.py").write_text(SUITE)
        self._started: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for pid in self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start pytest in a session of its own, by which all its processes are found."""
        process = subprocess.Popen(
            [*self.command, *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def alive(self) -> list[int]:
        """Return the processes of all sessions that were started."""
        started = {process.pid for process in self._started}
        return sorted(pid for pid, _, session in _processes() if session in started)

    @property
    def run_dir(self) -> Path:
        """The only run directory."""
        (path,) = (self.folder / "logs").glob("run_*")
        return path

    def judged(self) -> dict[str, list[str]]:
        """Return the outcome of each whole record with a grade that is on disk, by trial."""
        found: dict[str, list[str]] = {}
        for file in (self.folder / "logs").glob("run_*/trials.*.jsonl"):
            for line in file.read_bytes().splitlines():
                with contextlib.suppress(ValueError):  # half a line of a process that was killed
                    entry = json.loads(line)
                    if entry["type"] == "trial" and entry["score"] is not None:
                        found.setdefault(entry["trial_id"], []).append(entry["outcome"])
        return found

    def report(self) -> list[Any]:
        """Return what the report says: the verdict, the rows, and what became of each trial and what it cost.

        Times are left aside; and sums of what was paid, which count the trials that were cut off as well.
        """
        data = json.loads((self.run_dir / "report.json").read_text())
        sums = ("seconds", "usage", "cost_usd", "known_cost_usd", "guessed_cost_usd")
        rows = [{name: value for name, value in row.items() if name not in sums} for row in data["rows"]]
        records = load_run(self.run_dir).records
        trials = {
            trial: (record.outcome, record.score, record.seed, record.usage, record.cost_usd)
            for trial, record in sorted(records.items())
        }
        return [data["gate"], data["gate_holds"], rows, trials]


def script(body: dict[str, Any], turn: int) -> Reply:
    """Call the tool until the last turn; one conversation in four says what the grader wants to hear."""
    seed = int(seed_of(body))
    if turn < TURNS - 1:
        return reply(tool_use("add", {"number": seed + turn}))
    return reply(text("That is right." if seed % 4 == 0 else "I do not know."))


def play_round(kill: Kill, *, trials: int, expected: list[Any], latency_s: float = 0.02) -> Told:
    """Play a suite, kill what is to be killed, go on until it is finished, and tell what was found."""
    told = Told()
    with (
        tempfile.TemporaryDirectory(prefix="kills-") as folder,
        MessagesAPI(script, latency_s=latency_s, allow_violations=True) as api,
        Suite(Path(folder), trials=trials, workers=kill.workers, api=api) as suite,
    ):
        process = suite.start()
        api.wait_for_requests(kill.after, timeout_s=120)
        _kill(kill, process)
        on_disk, at_kill = suite.judged(), len(api.requests)
        said = _go_on(kill, process, suite, told)
        _check(kill, suite, told, on_disk=on_disk, at_kill=at_kill, journal=api.requests, trials=trials)
        if suite.report() != expected:
            told.wrong.append(f"the report differs from an undisturbed run's: {suite.report()[:3]}")
        told.wrong += [f"the server refused: {violation}" for violation in api.take_violations()]
        if left := suite.alive():
            told.wrong.append(f"processes are left: {left}")
        if told.wrong:
            told.wrong.append(said[-3000:])
    return told


def undisturbed(*, trials: int) -> list[Any]:
    """Return what the report of a run says that nobody kills."""
    with (
        tempfile.TemporaryDirectory(prefix="kills-") as folder,
        MessagesAPI(script) as api,
        Suite(Path(folder), trials=trials, workers=0, api=api) as suite,
    ):
        said = suite.start().communicate(timeout=300)[0]
        assert len(api.requests) == TURNS * trials, said
        return suite.report()


def _kill(kill: Kill, process: subprocess.Popen[str]) -> None:
    children = sorted(pid for pid, parent, _ in _processes() if parent == process.pid)  # the workers
    match kill.victim:
        case "controller":
            victims = [process.pid]
        case "worker":
            victims = [children[kill.chosen % len(children)]]
        case "run":
            victims = [process.pid, *children]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)


def _go_on(kill: Kill, process: subprocess.Popen[str], suite: Suite, told: Told) -> str:
    """Have the run finished: by itself if only a worker died, else with `--resume`; return what pytest said."""
    said: str = process.communicate(timeout=300)[0] if kill.victim == "worker" else ""
    process.wait(timeout=60)
    code = process.returncode
    while code < 0:
        told.resumed += 1
        resumed = suite.start("--resume", "last")
        said = resumed.communicate(timeout=300)[0]
        code = resumed.returncode
        if found := re.search(r"still being played by process (\d+)", said):
            told.refused += 1
            told.resumed -= 1
            _wait_for_end(int(found[1]), suite)
            code = -1
    if code != 0:
        told.wrong.append(f"pytest ended with {code}")
    return said


def _wait_for_end(pid: int, suite: Suite) -> None:
    end = time.monotonic() + 60
    while pid in suite.alive():
        assert time.monotonic() < end, f"process {pid} outlives its controller by a minute"
        time.sleep(0.1)


def _check(
    kill: Kill,
    suite: Suite,
    told: Told,
    *,
    on_disk: dict[str, list[str]],
    at_kill: int,
    journal: list[SeenRequest],
    trials: int,
) -> None:
    finally_there = suite.judged()
    told.on_disk = len(on_disk)
    for run in range(trials):
        trial, seed = f"test_add.py::test_add[claude-haiku-4-5-20251001-run-{run:02d}]", str(FIRST_SEED + run)
        outcomes, plays = finally_there.get(trial, []), plays_of(journal, seed)
        began = any(seed_of(seen.body) == seed for seen in journal[:at_kill])
        told.in_flight += began and trial not in on_disk
        told.played_again += len(plays) > 1
        if len(outcomes) != 1:
            told.wrong.append(f"{trial} has {len(outcomes)} records with a grade")
        if on_disk.get(trial, outcomes) != outcomes:
            told.wrong.append(f"{trial} was {on_disk[trial]} on disk and is {outcomes}")
        if not plays or plays[-1] != WHOLE or any(play != WHOLE[: len(play)] for play in plays):
            told.wrong.append(f"{trial} was not played as it should: {plays}")
        if len(plays) > (1 if trial in on_disk else 2):
            told.wrong.append(f"{trial} was paid more often than need be: {plays}")
        # A first request may have been on its way at the kill; and orphaned workers go on for some seconds.
        is_orphan = kill.victim == "controller" and kill.workers
        if len(plays) > 1 and not began and len(plays[0]) > 1 and not is_orphan:
            told.wrong.append(f"{trial} was not in flight, and played twice: {plays}")


def plays_of(journal: list[SeenRequest], seed: str) -> list[list[int]]:
    """Return the turns that were asked for, play by play: each starts anew at turn 0."""
    plays: list[list[int]] = []
    for seen in journal:
        if seed_of(seen.body) == seed:
            if seen.turn == 0:
                plays.append([])
            plays[-1].append(seen.turn)
    return plays


def seed_of(body: dict[str, Any]) -> str:
    found = re.search(r"number (\d+)", body["messages"][0]["content"][0]["text"])
    assert found, body
    return found[1]


def _processes() -> Iterator[tuple[int, int, int]]:
    """Yield the processes of this machine, zombies left out, each with its parent and session."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, parent, _, session = (path / "stat").read_text().rpartition(")")[2].split()[:4]
            if state not in "ZX":
                yield int(path.name), int(parent), int(session)


def kills(rounds: int, *, trials: int, seed: int) -> Iterator[Kill]:
    """Yield the rounds: every combination of victim and workers in turn, each at a random moment."""
    rng = random.Random(seed)
    kinds: list[tuple[Victim, int]] = [("run", 0), ("worker", 2), ("controller", 2), ("run", 2)]
    for number in range(rounds):
        victim, workers = kinds[number % len(kinds)]
        yield Kill(victim, workers, after=rng.randint(1, TURNS * trials), chosen=rng.randrange(2))


def main() -> None:
    """Play the rounds and print what each found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the random choices")
    parser.add_argument("--only", type=int, help="play this round alone")
    options = parser.parse_args()
    expected = undisturbed(trials=options.trials)
    total, failed = Told(), 0
    for number, kill in enumerate(kills(options.rounds, trials=options.trials, seed=options.seed)):
        if options.only not in (None, number):
            continue
        told = play_round(kill, trials=options.trials, expected=expected)
        where = f"-n {kill.workers}" if kill.workers else "alone"
        print(
            f"{number:2d}: {kill.victim:10} {where:5} killed after {kill.after:3d} requests: "
            f"{told.on_disk:3d} on disk, {told.in_flight:2d} in flight, {told.played_again:2d} played again, "
            f"{told.resumed} resumed, {told.refused} refused: {'as undisturbed' if not told.wrong else 'WRONG'}",
            flush=True,
        )
        for line in told.wrong:
            print(f"    {line}")
        failed += bool(told.wrong)
        total.on_disk += told.on_disk
        total.in_flight += told.in_flight
        total.played_again += told.played_again
    print(
        f"{total.on_disk} finished trials on disk at the kills, {total.in_flight} in flight, "
        f"{total.played_again} played again; rounds that went wrong: {failed} (target: 0)"
    )
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
