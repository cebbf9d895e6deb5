"""What does the engine itself take of the driver for a trial on a Ray cluster, beside an empty task of Ray's?

Run as `python -m tests.bench.ray_driver`. No items, no run directory and no report: these cost a run the same wherever
it plays, and `tests.bench.ray_nodes` measures a whole run. Both ways are played in turns in one process.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.cluster import Cluster, why_no_cluster

ROOT = Path(__file__).parents[2]
DRIVER = """
import asyncio, os, resource, sys, time
from pathlib import Path
import ray
from adding import Add
from pytest_rltask.engines.engine import Engine
from pytest_rltask.engines.local import LocalPlayer
from pytest_rltask.engines.ray import RayPlayer
from pytest_rltask.engines.ray_cluster import join
from pytest_rltask.engines.ray_place import Settings
from pytest_rltask.engines.travel import described
from pytest_rltask.models.prices import Prices
from pytest_rltask.trial.play import TrialSpec

trials, repeats = map(int, sys.argv[1:])
here = Path.cwd()
cluster = join("ray", root=here, excludes=[])
settings = Settings(described(here, str(here)), None, Prices(), allows_none=True, wanted="auto")
task, cores = Add(), cluster.cores

def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime

def by_engine():
    player = RayPlayer(cluster, settings, keep=lambda *_: None, most=lambda name: cores, news=lambda host: None,
                       here=LocalPlayer(lambda name: None, cores=1))
    engine = Engine(player, concurrency=lambda name: 4 * cores, finished=lambda record: None)
    specs = [TrialSpec(f"add[{n}]", task, "add", "policy:baseline", n, n, task.limits) for n in range(trials)]
    engine.submit(specs[:1])
    engine.result(specs[0].trial_id)
    begin, at = cpu_s(), time.monotonic()
    engine.submit(specs)
    outcomes = [engine.result(spec.trial_id).outcome for spec in specs]
    took = cpu_s() - begin, time.monotonic() - at
    engine.close()
    assert "errored" not in outcomes
    return took

@ray.remote(num_cpus=1, max_retries=0)
def empty():
    return b""

def by_ray():
    ray.get(empty.remote())
    begin, at = cpu_s(), time.monotonic()
    pending, left = set(), trials
    while pending or left:
        while left and len(pending) < 4 * cores:
            pending.add(empty.remote())
            left -= 1
        done, pending_list = ray.wait(list(pending), num_returns=1)
        pending = set(pending_list)
        ray.get(done)
    return cpu_s() - begin, time.monotonic() - at

for number in range(repeats):
    for way, work in (("engine", by_engine), ("Ray's own", by_ray)):
        used_s, took_s = work()
        each, wall = used_s / trials * 1000, took_s / trials * 1000
        print(f"{number}: {way:9}: {each:.2f} ms of CPU a trial, wall {wall:.2f} ms", flush=True)
cluster.leave()
"""
ADDING = '''
from dataclasses import dataclass
from pytest_rltask import Episode, Grade, Task, call, tool

class Adding(Episode):
    prompt = "Add up."
    def __init__(self):
        self.total = 0
    @tool
    def add(self, number: int) -> str:
        """Add a number."""
        self.total += number
        return str(self.total)
    def grade(self):
        return Grade(float(self.total == 2), threshold=1.0)

def adds(view):
    yield call("add", number=1)
    yield call("add", number=1)

@dataclass(frozen=True)
class Add(Task):
    policies = {"baseline": adds}
    def open(self, seed):
        return Adding()
'''


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=4)
    options = parser.parse_args()
    if why := why_no_cluster():
        sys.exit(f"no cluster: {why}")
    with tempfile.TemporaryDirectory(prefix="bench-ray-") as name:
        (Path(name) / "adding.py").write_text(ADDING)
        with Cluster(options.nodes, environment={"PYTHONPATH": str(ROOT)}) as cluster:
            command = [sys.executable, "-c", DRIVER, str(options.trials), str(options.repeats)]
            process = cluster.start(command, cwd=name, env={"PYTHONPATH": f"{ROOT}:{name}"})
            while process.poll() is None:
                time.sleep(0.5)
            print(cluster.said(process))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)


if __name__ == "__main__":
    main()
