"""The limiter of a real Ray cluster: it keeps the places of all players, and its death stops none of them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.cluster import Cluster, why_no_cluster

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why := why_no_cluster()), reason=f"no cluster: {why}"),
]

REQUESTS = 600
"""Of each player, which has 100 in flight that take half a second."""
DRIVE = """
import asyncio, json, os, sys, time
import ray
from pytest_rltask.engines.ray_leave import leased, start_leave
from pytest_rltask.models.limiter import Limiter
from pytest_rltask.run.record import Usage

ray.init(address="auto", log_to_driver=False)
leave, REQUESTS = start_leave(), int(sys.argv[1])

@ray.remote(num_cpus=0.5)
class Player:
    def __init__(self, leave, name):
        self.leased, self.alone = leased(leave, "claude-x", name), Limiter()

    async def play(self, way, requests):
        begin, cpu, places = time.time(), time.process_time(), asyncio.Semaphore(100)
        loop, limits = asyncio.get_running_loop(), getattr(self, way)
        async def one():
            async with places, limits.place(loop.time() + 600) as place:
                await asyncio.sleep(0.5)
                limits.answered(place, {}, Usage(10, 2))
        await asyncio.gather(*(one() for _ in range(requests)))
        return time.time() - begin, time.process_time() - cpu

def drive(way, requests, *, kill=False):
    before = cpu_of(leave)
    played = [player.play.remote(way, requests) for player in players]
    if kill:
        time.sleep(1)  # into the middle of what takes at least 3 s
        os.kill(ray.get(leave.pid.remote()), 9)
    return {"players": ray.get(played), "leave_cpu_s": 0.0 if kill else cpu_of(leave) - before}

def cpu_of(leave):
    fields = open(f"/proc/{ray.get(leave.pid.remote())}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

players = [Player.options(scheduling_strategy="SPREAD").remote(leave, f"p{n}") for n in range(4)]
for way in ("leased", "alone"):
    drive(way, 1)
leased, alone, killed = drive("leased", REQUESTS), drive("alone", REQUESTS), drive("leased", REQUESTS, kill=True)
print(json.dumps({"leased": leased, "alone": alone, "killed": killed}), flush=True)
"""


@pytest.fixture(scope="module")
def said() -> Any:
    """What four players of one cluster say of their requests: by leave, without, and with the limiter killed."""
    with Cluster(nodes=2, cpus=2) as cluster:
        driver = cluster.start([sys.executable, "-c", DRIVE, str(REQUESTS)], stdin=subprocess.DEVNULL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver.wait(timeout=120)
        said = cluster.said(driver)
    assert driver.returncode == 0, said
    return json.loads(said.splitlines()[-1])


def test_leave_costs_a_request_well_under_a_millisecond(said):
    leased, alone = (sum(cpu for _, cpu in said[way]["players"]) for way in ("leased", "alone"))
    assert said["leased"]["leave_cpu_s"] / (4 * REQUESTS) < 0.0005, said
    assert (leased - alone) / (4 * REQUESTS) < 0.001, said


def test_players_go_on_when_the_limiter_dies(said):
    assert all(3 <= wall_s < 60 for wall_s, _ in said["killed"]["players"]), said
