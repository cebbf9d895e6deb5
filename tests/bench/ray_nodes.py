"""What does a Ray cluster of four nodes cost a run, and does it keep an account's quota?

Run as `make bench-ray`. The nodes are processes of this machine, in a network of their own (`tests.support.cluster`).

Stub trials: 500 trials of a policy with two tool calls each, by one process and by four nodes. `driver` is the CPU time
of the process that runs pytest, reports included; beside it what Ray itself takes of a driver for as many empty tasks,
and as many calls of actors, as `ray.get` collects them. A command of one trial tells what is start-up.

Quota: 200 trials of the Messages API, all in flight, by an account that may send 50 requests a minute, and then one of
1,000, with more requests than a minute holds. The server's bucket refills continuously and refuses (429) what finds it
empty: at most 2 % of the requests may be.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.scale import OURS
from tests.support.cluster import Cluster, why_no_cluster

ROOT = Path(__file__).parents[2]
MODEL = "claude-haiku-4-5-20251001"
STUB = '''
from dataclasses import dataclass
from typing import ClassVar

import pytest

from pytest_rltask import Episode, Grade, Task, call, tool


class Adding(Episode):
    def __init__(self, seed):
        self.seed, self.total = seed, 0

    @property
    def prompt(self):
        return f"Add up to {self.seed}."

    @tool
    def add(self, number: int) -> str:
        """Add a number."""
        self.total += number
        return str(self.total)

    def grade(self):
        return Grade(float(self.total % 5 == 0), threshold=1.0)


def adds(view):
    yield call("add", number=view.seed)
    yield call("add", number=0)
    yield "Done."


@dataclass(frozen=True)
class Add(Task):
    policies: ClassVar = {"baseline": adds}

    def open(self, seed):
        return Adding(seed)


@pytest.mark.rltask(task=Add())
def test_add(trial):
    assert trial.passed
'''
EMPTY = """
import json, resource, sys, time
import ray

ray.init(address="auto", log_to_driver=False)

@ray.remote
def nothing(packed):
    return packed

@ray.remote(num_cpus=0.01, max_concurrency=1000)
class Player:
    async def nothing(self, packed):
        return packed

players = [Player.options(scheduling_strategy="SPREAD").remote() for _ in range(4)]
ray.get([nothing.remote(b"") for _ in range(16)] + [player.nothing.remote(b"") for player in players])

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

def measure(submit, count, at_once):
    begin, cpu_s, pending, got = time.perf_counter(), cpu(), [], 0
    for number in range(count):
        pending.append(submit(number))
        while len(pending) >= at_once or (number == count - 1 and pending):
            done, pending = ray.wait(pending, num_returns=1)
            got += len(ray.get(done))
    assert got == count
    return [(cpu() - cpu_s) / count * 1000, (time.perf_counter() - begin) / count * 1000]

count, at_once, packed = int(sys.argv[1]), int(sys.argv[2]), b"x" * 3000
print(json.dumps({
    "tasks": measure(lambda n: nothing.remote(packed), count, at_once),
    "calls of actors": measure(lambda n: players[n % 4].nothing.remote(packed), count, at_once),
}))
"""


@dataclass(frozen=True)
class Played:
    """What one run of pytest took."""

    wall_s: float
    cpu_s: float
    """Of pytest's own process."""
    said: str


def pytest_command(*arguments: str) -> list[str]:
    """Return the command that runs pytest; it tells its CPU time at its end."""
    code = "import resource, sys, pytest; code = pytest.main(sys.argv[1:]); u = resource.getrusage(0)"
    code += "; print('cpu', u.ru_utime + u.ru_stime, flush=True); sys.exit(code)"
    plugins = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-p", "no:xdist")
    return [sys.executable, "-c", code, "-q", *plugins, *arguments]


def play(cluster: Cluster, folder: Path, *arguments: str, env: dict[str, str] | None = None) -> Played:
    """Play a suite from inside the cluster's network."""
    command = pytest_command(*arguments)
    begin = time.monotonic()
    process = cluster.start(command, cwd=folder, env={"PYTHONPATH": str(ROOT), **(env or {})})
    code = process.wait(timeout=3600)
    wall_s, said = time.monotonic() - begin, cluster.said(process)
    cpu = re.search(r"^cpu ([\d.]+)", said, re.MULTILINE)
    if code not in (0, 1) or cpu is None:
        raise RuntimeError(f"pytest ended with {code}:\n{said}")
    return Played(wall_s, float(cpu[1]), said)


def stubs(cluster: Cluster, folder: Path, *, trials: int, repeats: int) -> None:
    """Play stub trials in one process and on the nodes, and empty calls of Ray's beside them."""
    ways = {"one process": ("--engine=local",), "four nodes": ("--engine=ray",)}
    concurrency = "--concurrency=8"
    for number in range(repeats):
        for way, engine in ways.items():
            one = play(cluster, folder, "--runs=1", "--model=policy:baseline", *engine, concurrency)
            many = play(cluster, folder, f"--runs={trials}", "--model=policy:baseline", *engine, concurrency)
            each_ms = (many.cpu_s - one.cpu_s) / (trials - 1) * 1000
            print(
                f"{number}: {trials} stub trials, {way:11}: wall {many.wall_s:6.1f} s (one trial {one.wall_s:.1f} s), "
                f"driver {each_ms:.2f} ms of CPU a trial ({one.cpu_s:.1f} s of start-up and end apart)",
                flush=True,
            )
        process = cluster.start([sys.executable, "-c", EMPTY, str(trials), "8"])
        assert process.wait(timeout=600) == 0, cluster.said(process)
        for what, (cpu_ms, wall_ms) in json.loads(cluster.said(process).splitlines()[-1]).items():
            print(
                f"{number}: Ray's own, {trials} empty {what}: {cpu_ms:.2f} ms of CPU each, wall {wall_ms:.2f} ms each"
            )


@contextlib.contextmanager
def serving(cluster: Cluster, *options: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Serve the light Messages API inside; its address, and its journal once the block has ended."""
    command = cluster.inside([sys.executable, "-m", "tests.bench.light_api", *options])
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        served: dict[str, Any] = {}
        yield server.stdout.readline().strip(), served
        server.stdin.close()
        served |= json.load(server.stdout)


def quota(cluster: Cluster, folder: Path, *, per_minute: int, trials: int, turns: int, minute_s: float) -> float:
    """Play trials of an account with a quota; return the share of refused requests."""
    options = ("--turns", str(turns), "--latency", "0.5", "--per-minute", str(per_minute), "--minute", str(minute_s))
    with serving(cluster, *options) as (address, served):
        env = {"ANTHROPIC_BASE_URL": address, "ANTHROPIC_API_KEY": "none"}
        arguments = (f"--runs={trials}", f"--concurrency={trials}", f"--model={MODEL}", "--engine=ray")
        played = play(cluster, folder, *arguments, "--trial-timeout=3000", env=env)
    answered, refused = len(served["journal"]), served["refused"]
    assert answered == trials * turns, played.said
    share = refused / (answered + refused)
    at_best_s = max(0.0, (answered - per_minute) / per_minute * minute_s)
    print(
        f"quota of {per_minute} requests in {minute_s:g} s: {trials} trials, {answered} requests answered, {refused} "
        f"refused ({share:.1%}; at most 2 %), {served['span_s']:.0f} s from first to last, {at_best_s:.0f} s at best; "
        f"driver {played.cpu_s / trials * 1000:.1f} ms of CPU a trial, all included",
        flush=True,
    )
    return share


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500, help="stub trials")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--minute", type=float, default=60.0, help="seconds that the account's minute takes")
    parser.add_argument("--only", choices=("stubs", "quota"))
    options = parser.parse_args()
    if why := why_no_cluster():
        sys.exit(f"no cluster: {why}")
    with tempfile.TemporaryDirectory(prefix="bench-ray-") as name:
        stub, adding = Path(name, "stub"), Path(name, "adding")
        for folder, text in ((stub, STUB), (adding, OURS)):
            folder.mkdir()
            (folder / "test_add.py").write_text(text)
        turns = re.compile(r"sum is \d+")  # of which OURS expects so many as the larger quota takes
        with Cluster(options.nodes, environment={"PYTHONPATH": str(ROOT)}) as cluster:
            if options.only != "quota":
                stubs(cluster, stub, trials=options.trials, repeats=options.repeats)
            if options.only != "stubs":
                for per_minute, count in ((50, 1), (1000, 6)):
                    (adding / "test_add.py").write_text(turns.sub(f"sum is {count - 1}", OURS))
                    quota(cluster, adding, per_minute=per_minute, trials=200, turns=count, minute_s=options.minute)


if __name__ == "__main__":
    os.nice(5)
    main()
