"""The cluster of the tests: a network of its own, nodes that die at once, and a project that they cannot see."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.cluster import Cluster, Namespace, why_no_cluster, why_no_namespace
from tests.support.messages_api import MessagesAPI, reply, text

_needs_namespace = pytest.mark.skipif(bool(why := why_no_namespace()), reason=f"no network of its own: {why}")
_needs_ray = pytest.mark.skipif(bool(why := why_no_cluster()), reason=f"no cluster: {why}")

FETCH = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=5).status)
except OSError as error:
    print(type(error).__name__, getattr(error, "code", ""))
"""


@_needs_namespace
def test_a_server_of_this_process_is_reached_from_inside_and_from_nowhere_else():
    with Namespace() as inside, MessagesAPI([reply(text("Hm."))], listening=inside.listening()) as api:
        fetch = [sys.executable, "-c", FETCH, api.base_url]

        there = subprocess.run(inside.inside(fetch), capture_output=True, text=True, check=True).stdout
        here = subprocess.run(fetch, capture_output=True, text=True, check=True).stdout

        api.take_violations()  # what was fetched is served nowhere
    assert (there.strip(), here.strip()) == ("HTTPError 404", "URLError")


@_needs_namespace
def test_a_folder_can_be_hidden_from_what_runs_inside(tmp_path: Path):
    (tmp_path / "seen").touch()

    with Namespace() as inside:
        look = ["ls", str(tmp_path)]
        shown, hidden = (
            subprocess.run(inside.inside(look, hidden=hide), capture_output=True, text=True, check=True).stdout
            for hide in (None, tmp_path)
        )

    assert (shown, hidden) == ("seen\n", "")


PLAY = """
import os, sys, time
import ray

FOLDER = sys.argv[1]
ray.init(address="auto", log_to_driver=False)

@ray.remote(max_restarts=-1, max_task_retries=-1)
class Player:
    def play(self):
        return os.getpid(), os.listdir(FOLDER)

players = [Player.options(scheduling_strategy="SPREAD").remote() for _ in range(4)]
print(ray.get([player.play.remote() for player in players]), flush=True)
sys.stdin.readline()
played = ray.get([player.play.remote() for player in players])
print("nodes", sum(node["Alive"] for node in ray.nodes()), len(played), flush=True)
"""


@_needs_ray
@pytest.mark.slow
def test_nodes_cannot_see_the_project_and_can_be_killed(tmp_path: Path):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "task.py").touch()
    with Cluster(nodes=2, hidden=tmp_path / "project") as cluster:
        driver = cluster.start([sys.executable, "-c", PLAY, str(tmp_path / "project")], stdin=subprocess.PIPE)
        wait_until(lambda: "[]" in cluster.said(driver), driver)
        players = [pid for number in (0, 1) for pid in cluster.workers(number)]
        assert len(players) == 4, cluster.said(driver)
        assert "task.py" not in cluster.said(driver)

        cluster.kill_worker(players[0])
        cluster.kill_node(1)
        driver.communicate("\n", timeout=90)

        assert "nodes 1 4" in cluster.said(driver)
        assert cluster.alive(cluster.nodes[1]) == []
    assert all(cluster.alive(process) == [] for process in [*cluster.nodes, driver])


def wait_until(has_come: Callable[[], bool], driver: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 60
    while not has_come() and driver.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
