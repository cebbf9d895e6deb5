"""The quota of an account, kept by the nodes of a cluster together: a shorter `make bench-ray`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bench.ray_nodes import ROOT, quota
from tests.bench.scale import OURS
from tests.support.cluster import Cluster, why_no_cluster


@pytest.mark.slow
@pytest.mark.skipif(bool(why := why_no_cluster()), reason=f"no cluster: {why}")
def test_nodes_together_keep_the_quota_of_the_account(tmp_path: Path):
    (tmp_path / "test_add.py").write_text(re.sub(r"sum is \d+", "sum is 1", OURS))

    with Cluster(3, environment={"PYTHONPATH": str(ROOT)}) as cluster:
        refused = quota(cluster, tmp_path, per_minute=50, trials=60, turns=2, minute_s=12)

    assert refused <= 0.02
