"""A cluster for the tests of the Ray engine: two nodes, which find the folder of all tests empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engines.ray_suite import RaySuite
from tests.support.cluster import Cluster, why_no_cluster


@pytest.fixture(scope="session")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if why := why_no_cluster():
        pytest.skip(why)
    with Cluster(nodes=2, hidden=tmp_path_factory.getbasetemp()) as cluster:
        yield cluster


@pytest.fixture
def suite(ray_cluster: Cluster, tmp_path: Path) -> RaySuite:
    return RaySuite(tmp_path, ray_cluster)
