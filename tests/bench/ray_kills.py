"""Does a run on a Ray cluster survive whatever dies? Rounds of kills; the journal of the server is the witness.

Run as `make bench-ray-kills`. Each round plays the suite of `kills` on four nodes that cannot see its folder. Once a
random number of requests has arrived it kills one process that plays (or carries news, or lends places), one node, or
pytest itself, which is the driver. Where a process or node died the run must finish by itself; else it is resumed. It
is checked that

* every trial whose record was on disk at the kill is in the report as it was, and was never asked for again,
* every trial has one record with a grade in the end, and none was played more than twice,
* what is judged, and the report, are those of an undisturbed run in one process,
* the run counts what the server was paid, but for a reply to each trial in flight that died on its way.

Only processes that a round started are killed, by their pid.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pytest_rltask.run.load import load_run
from tests.bench.kills import FIRST_SEED, TURNS, WHOLE, Suite, plays_of, script, seed_of, undisturbed
from tests.support.cluster import Cluster, why_no_cluster
from tests.support.messages_api import MessagesAPI, SeenRequest

Victim = Literal["worker", "node", "driver"]
VICTIMS: tuple[Victim, ...] = ("worker", "node", "driver")
NODES = 4
CONCURRENCY = 10
EACH = 0.0002
"""Dollars that a reply costs: 100 tokens read at $1, and 20 written at $5 per million."""


@dataclass(frozen=True)
class Kill:
    """One round: whom to kill, and when."""

    victim: Victim
    after: int
    """Requests that have arrived."""
    chosen: int
    """Which of the processes or nodes."""


@dataclass
class Told:
    """What a round found."""

    name: str = ""
    """Of what was killed."""
    on_disk: int = 0
    """Trials whose record was on disk at the kill."""
    in_flight: int = 0
    """Trials that had been asked for by then, and were not on disk."""
    played_again: int = 0
    resumed: int = 0
    paid_usd: float = 0.0
    """What the replies cost that arrived somewhere, by the server's journal."""
    counted_usd: float = 0.0
    """What the run directory says, estimates left out."""
    guessed_usd: float = 0.0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)
    """What did not hold; empty if all is well."""


class RaySuite(Suite):
    """The suite of `kills`, played from inside a cluster's network."""

    def __init__(self, folder: Path, *, trials: int, api: MessagesAPI, cluster: Cluster) -> None:
        super().__init__(folder, trials=trials, workers=0, api=api)
        self.command += ["--engine=ray"]
        self._cluster = cluster

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start pytest, the driver."""
        return self._cluster.start([*self.command, *arguments], cwd=self.folder, env=self.environment)


def play_round(kill: Kill, cluster: Cluster, base: Path, *, trials: int, expected: Sequence[Any]) -> Told:
    """Play a suite, kill what is to be killed, go on until it is finished, and tell what was found."""
    told, begin = Told(), time.monotonic()
    folder = Path(tempfile.mkdtemp(dir=base))
    listening = cluster.listening()
    with MessagesAPI(script, latency_s=0.5, allow_violations=True, listening=listening) as api:
        suite = RaySuite(folder, trials=trials, api=api, cluster=cluster)
        driver = suite.start()
        _wait_for(kill.after, api, driver, cluster)
        told.name = _kill(kill, driver, cluster)
        on_disk, at_kill = suite.judged(), len(api.requests)
        said = _go_on(kill, driver, suite, cluster, told)
        journal = api.wait_until_idle(timeout_s=60)
        _check(suite, told, on_disk=on_disk, began=journal[:at_kill], journal=journal, trials=trials)
        if list(suite.report()) != list(expected):
            told.wrong.append(f"the report differs from an undisturbed run's: {suite.report()[:3]}")
        told.wrong += [f"the server refused: {violation}" for violation in api.take_violations()]
        if told.wrong:
            told.wrong.append(said[-3000:])
    told.seconds = time.monotonic() - begin
    return told


def _wait_for(requests: int, api: MessagesAPI, driver: subprocess.Popen[str], cluster: Cluster) -> None:
    end = time.monotonic() + 180
    while len(api.requests) < requests:
        assert driver.poll() is None, cluster.said(driver)
        assert time.monotonic() < end, cluster.said(driver)
        time.sleep(0.005)


def _kill(kill: Kill, driver: subprocess.Popen[str], cluster: Cluster) -> str:
    """Kill the victim and return its name."""
    match kill.victim:
        case "driver":
            for pid in cluster.alive(driver):
                os.kill(pid, signal.SIGKILL)
            return "pytest"
        case "node":
            alive = [number for number in range(1, len(cluster.nodes)) if cluster.alive(cluster.nodes[number])]
            number = alive[kill.chosen % len(alive)]
            cluster.kill_node(number)
            return f"node {number}"
    while True:
        running = [worker for number in range(len(cluster.nodes)) for worker in cluster.workers(number)]
        if name := cluster.kill_worker(running[kill.chosen % len(running)]):
            return name


def _go_on(kill: Kill, driver: subprocess.Popen[str], suite: RaySuite, cluster: Cluster, told: Told) -> str:
    """Have the run finished: by itself, or with `--resume` if its driver died; return what pytest said."""
    code, process = driver.wait(timeout=300), driver
    if kill.victim == "driver":
        told.resumed += 1
        process = suite.start("--resume", "last")
        code = process.wait(timeout=300)
    if code != 0:
        told.wrong.append(f"pytest ended with {code}")
    return cluster.said(process)


def _check(
    suite: RaySuite,
    told: Told,
    *,
    on_disk: dict[str, list[str]],
    began: list[SeenRequest],
    journal: list[SeenRequest],
    trials: int,
) -> None:
    finally_there = suite.judged()
    told.on_disk = len(on_disk)
    for run in range(trials):
        trial, seed = f"test_add.py::test_add[claude-haiku-4-5-20251001-run-{run:02d}]", str(FIRST_SEED + run)
        outcomes, plays = finally_there.get(trial, []), plays_of(journal, seed)
        told.in_flight += trial not in on_disk and any(seed_of(seen.body) == seed for seen in began)
        told.played_again += len(plays) > 1
        if len(outcomes) != 1:
            told.wrong.append(f"{trial} has {len(outcomes)} records with a grade")
        if on_disk.get(trial, outcomes) != outcomes:
            told.wrong.append(f"{trial} was {on_disk[trial]} on disk and is {outcomes}")
        if not plays or plays[-1] != WHOLE or any(play != WHOLE[: len(play)] for play in plays):
            told.wrong.append(f"{trial} was not played as it should: {plays}")
        if len(plays) > (1 if trial in on_disk else 2):
            told.wrong.append(f"{trial} was paid more often than need be: {plays}")
    run_data = load_run(suite.run_dir)
    told.paid_usd = EACH * sum(seen.answered == "200" and seen.message is not None for seen in journal)
    told.guessed_usd = sum(request.guessed_usd for record in run_data.paid for request in record.requests)
    told.counted_usd = sum(record.known_cost_usd for record in run_data.paid) - told.guessed_usd
    # Between a reply and the driver's disk: at most one of each trial in flight.
    if not -1e-9 <= told.paid_usd - told.counted_usd <= EACH * CONCURRENCY + 1e-9:
        told.wrong.append(f"the server was paid {told.paid_usd:.4f}, and the run counts {told.counted_usd:.4f}")


def kills(rounds: int, *, trials: int, seed: int) -> Iterator[Kill]:
    """Yield the rounds: each victim in turn, each at a random moment."""
    rng = random.Random(seed)
    for number in range(rounds):
        yield Kill(VICTIMS[number % len(VICTIMS)], after=rng.randint(1, TURNS * trials - 5), chosen=rng.randrange(1000))


def play_rounds(rounds: Sequence[Kill], *, trials: int) -> Iterator[Told]:
    """Play rounds on one cluster; a node that was killed has another in its place in the next."""
    expected = undisturbed(trials=trials)
    with (
        tempfile.TemporaryDirectory(prefix="kills-ray-") as base,
        Cluster(NODES, hidden=Path(base), environment={"PYTHONPATH": str(Path(__file__).parents[2])}) as cluster,
    ):
        for kill in rounds:
            yield play_round(kill, cluster, Path(base), trials=trials, expected=expected)
            if kill.victim == "node":
                cluster.add_node()


def main() -> None:
    """Play the rounds and print what each found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the random choices")
    parser.add_argument("--only", type=int, help="play this round alone")
    options = parser.parse_args()
    if why := why_no_cluster():
        sys.exit(f"no cluster: {why}")
    rounds = list(kills(options.rounds, trials=options.trials, seed=options.seed))
    if options.only is not None:
        rounds = rounds[options.only : options.only + 1]
    failed, total = 0, Told()
    for number, (kill, told) in enumerate(zip(rounds, play_rounds(rounds, trials=options.trials), strict=True)):
        print(
            f"{number:2d}: {told.name:18} killed after {kill.after:3d} requests: {told.on_disk:3d} on disk, "
            f"{told.in_flight:2d} in flight, {told.played_again:2d} played again, {told.resumed} resumed; paid "
            f"${told.paid_usd:.4f}, counted {told.counted_usd:.4f} and {told.guessed_usd:.4f} estimated; "
            f"{told.seconds:3.0f} s: {'as undisturbed' if not told.wrong else 'WRONG'}",
            flush=True,
        )
        for line in told.wrong:
            print(f"    {line}", flush=True)
        failed += bool(told.wrong)
        for name in ("on_disk", "in_flight", "played_again", "paid_usd", "counted_usd"):
            setattr(total, name, getattr(total, name) + getattr(told, name))
    print(
        f"{total.on_disk} finished trials on disk at the kills, {total.in_flight} in flight, {total.played_again} "
        f"played again; the server was paid ${total.paid_usd:.4f}, the runs count {total.counted_usd:.4f}; "
        f"{failed} rounds WRONG"
    )
    sys.exit(bool(failed))


if __name__ == "__main__":
    os.nice(5)
    main()
