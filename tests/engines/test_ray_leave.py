"""The limiter of a real Ray cluster: it keeps the places of all players, and its death stops none of them."""

from __future__ import annotations

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

DRIVE = """
import asyncio, json, os, sys, time
import ray
from pytest_rltask.engines.ray_leave import leased, start_leave
from pytest_rltask.models.limiter import Limiter
from pytest_rltask.run.record import Usage

ray.init(address="auto", log_to_driver=False)
leave = start_leave()

@ray.remote(num_cpus=0.5)
class Player:
    def __init__(self, leave, name):
        self.limits = leased(leave, "claude-x", name) if leave else Limiter()
        self.in_flight = self.peak = 0

    async def play(self, requests, at_once, takes_s):
        begin, cpu, places = time.time(), time.process_time(), asyncio.Semaphore(at_once)
        loop = asyncio.get_running_loop()
        async def one():
            async with places, self.limits.place(loop.time() + 600) as place:
                self.in_flight += 1
                self.peak = max(self.peak, self.in_flight)
                await asyncio.sleep(takes_s)
                self.in_flight -= 1
                self.limits.answered(place, {}, Usage(10, 2))
        await asyncio.gather(*(one() for _ in range(requests)))
        return time.time() - begin, time.process_time() - cpu, self.peak

def drive(leave, requests=2000):
    players = [Player.options(scheduling_strategy="SPREAD").remote(leave, f"p{n}") for n in range(4)]
    ray.get([player.play.remote(1, 1, 0.0) for player in players])
    before = cpu_of(leave)
    played = [player.play.remote(requests, 100, 0.5) for player in players]
    if len(sys.argv) > 1 and leave:
        time.sleep(2)
        os.kill(ray.get(leave.pid.remote()), 9)
    said = [[round(number, 3) for number in each] for each in ray.get(played)]
    return {"players": said, "leave_cpu_s": cpu_of(leave) - before}

def cpu_of(leave):
    if leave is None:
        return 0.0
    fields = open(f"/proc/{ray.get(leave.pid.remote())}/stat").read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

print(json.dumps({"leased": drive(leave), "alone": drive(None)}), flush=True)
"""


def drive(*arguments: str) -> dict[str, Any]:
    with Cluster(nodes=2, cpus=2) as cluster:
        driver = cluster.start([sys.executable, "-c", DRIVE, *arguments], stdin=subprocess.DEVNULL)
        driver.wait(timeout=120)
        said = cluster.said(driver)
    assert driver.returncode == 0, said
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    return found


def test_leave_costs_a_request_well_under_a_millisecond():
    said = drive()

    requests = 4 * 2000
    leased, alone = (sum(cpu for _, cpu, _ in said[way]["players"]) for way in ("leased", "alone"))
    assert said["leased"]["leave_cpu_s"] / requests < 0.0005, said
    assert (leased - alone) / requests < 0.001, said


def test_players_go_on_when_the_limiter_dies():
    said = drive("kill")

    assert all(wall_s < 60 for wall_s, _, _ in said["leased"]["players"]), said
