"""The same trial by hand, by a policy, and by Claude's side of a loopback Messages API: equal results and grade."""

from __future__ import annotations

import pytest

from tests.bench.three_ways import TASKS, differences


@pytest.mark.parametrize(
    ("task", "policy", "seeds"),
    [("imbalance", "baseline", 3), pytest.param("onnx_export", "naive", 1, marks=pytest.mark.slow)],
)
def test_it_is_one_trial_whoever_plays_it(task: str, policy: str, seeds: int) -> None:
    pytest.importorskip("torch", reason="needs what the tasks need")
    for seed in range(42, 42 + seeds):
        assert differences(TASKS[task], seed, policy) == []
