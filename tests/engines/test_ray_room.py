"""What a task needs and no node has is refused in the words that its author wrote, with what there is."""

from __future__ import annotations

import pytest

from pytest_rltask.engines.ray_cluster import Cluster, check_room
from pytest_rltask.task import Resources

NODES = (
    {"Resources": {"CPU": 2.0, "memory": 4000 * 2**20}},
    {"Resources": {"CPU": 8.0, "memory": 2000 * 2**20, "licence": 1.0}},
)
CLUSTER = Cluster("ray", NODES)


@pytest.mark.parametrize(
    ("needs", "needed", "has"),
    [
        (Resources(gpus=1), "cpus=1, gpus=1", "cpus=2, gpus=0; cpus=8, gpus=0"),
        (Resources(memory_mb=8000), "cpus=1, memory_mb=8000", "cpus=2, memory_mb=4000; cpus=8, memory_mb=2000"),
        (Resources(cpus=4, memory_mb=3000), "cpus=4, memory_mb=3000", "cpus=2, memory_mb=4000; cpus=8, memory_mb=2000"),
        (
            Resources(custom={"tpu": 1}),
            "cpus=1, custom={'tpu': 1}",
            "cpus=2, custom={'tpu': 0}; cpus=8, custom={'tpu': 0}",
        ),
    ],
)
def test_what_no_node_has_is_told_with_what_they_have(needs: Resources, needed: str, has: str):
    (said,) = check_room(CLUSTER, {"render": needs, "small": Resources(cpus=2)})

    assert said == (
        f"task render needs a node with Resources({needed}), and no one of the cluster has that: its 2 have {has}; "
        "add one, or write less in Task.resources"
    )


def test_what_one_node_has_together_is_room():
    assert check_room(CLUSTER, {"render": Resources(cpus=8, memory_mb=2000, custom={"licence": 1})}) == []
