"""A worker, a node and the driver of a cluster killed: three rounds of `make bench-ray-kills`, with few trials."""

from __future__ import annotations

import pytest

from tests.bench.ray_kills import kills, play_rounds
from tests.support.cluster import why_no_cluster


@pytest.mark.slow
@pytest.mark.skipif(bool(why := why_no_cluster()), reason=f"no cluster: {why}")
def test_a_run_on_a_cluster_ends_as_if_nobody_had_killed_anything():
    rounds = list(kills(3, trials=20, seed=1))

    told = list(play_rounds(rounds, trials=20))

    assert [each.wrong for each in told] == [[], [], []]
    assert [kill.victim for kill in rounds] == ["worker", "node", "driver"]
    assert sum(each.in_flight for each in told) > 0
