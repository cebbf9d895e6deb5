"""A node that dies as it is looked at is none of the cluster any more; any other that cannot play is told."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from pytest_rltask import __version__
from pytest_rltask.engines import ray_cluster
from pytest_rltask.engines.ray_cluster import Cluster, ClusterError, looked_at
from pytest_rltask.engines.travel import code_digest

ABOUT = SimpleNamespace(name="a", version=__version__, digest=code_digest(), unknown=(), no_sandbox="")
SETTINGS: Any = SimpleNamespace(wanted="auto")


def node(name: str, *, alive: bool = True) -> dict[str, Any]:
    return {"NodeID": name, "NodeManagerAddress": f"10.0.0.{name}", "Alive": alive, "Resources": {"CPU": 2.0}}


def looked(monkeypatch: pytest.MonkeyPatch, now: list[dict[str, Any]], answers: dict[str, Any]) -> Cluster:
    """Look at the nodes 1 and 2 of a Ray that answers as told, and whose nodes are others by then."""

    def get(ref: str) -> Any:
        if isinstance(answers[ref], Exception):
            raise answers[ref]
        return answers[ref]

    ray, scheduling = ModuleType("ray"), ModuleType("ray.util.scheduling_strategies")
    options = SimpleNamespace(options=lambda scheduling_strategy, **_: _Remote(scheduling_strategy))
    vars(ray).update(remote=lambda function: options, nodes=lambda: now, get=get, wait=lambda refs, **_: (refs, []))
    vars(scheduling).update(NodeAffinitySchedulingStrategy=lambda name, soft: name)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.util", ModuleType("ray.util"))
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", scheduling)
    return looked_at(Cluster("ray://here", (node("1"), node("2"))), SETTINGS, [], isolates=False)


class _Remote:
    def __init__(self, name: str) -> None:
        self.name = name

    def remote(self, *_: object, **__: object) -> str:
        return self.name


GONE = RuntimeError("the node of NodeAffinitySchedulingStrategy doesn't exist any more")


@pytest.mark.parametrize("now", [[node("1")], [node("1"), node("2", alive=False)]])
def test_a_node_that_died_meanwhile_is_left_out(monkeypatch: pytest.MonkeyPatch, now: list[dict[str, Any]]):
    cluster = looked(monkeypatch, now, {"1": ABOUT, "2": GONE})

    assert [one["NodeID"] for one in cluster.nodes] == ["1"]
    assert cluster.abouts == (ABOUT,)


def test_a_node_that_lives_and_cannot_play_is_told(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ClusterError, match=r"node 10\.0\.0\.2 cannot play: the node of"):
        looked(monkeypatch, [node("1"), node("2")], {"1": ABOUT, "2": GONE})


def test_where_all_died_there_is_none_to_play_on(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ClusterError, match="all nodes of the cluster died"):
        looked(monkeypatch, [], {"1": GONE, "2": GONE})


def test_those_that_were_looked_at_are_kept(monkeypatch: pytest.MonkeyPatch):
    cluster = looked(monkeypatch, [node("1"), node("2")], {"1": ABOUT, "2": ABOUT})

    assert (len(cluster.nodes), cluster.abouts) == (2, (ABOUT, ABOUT))
    assert ray_cluster.MOST_LOOKED_AT >= 2
