"""What a portfolio says of a task: shares of the variance against values computed by hand, and players of no task."""

from __future__ import annotations

import argparse
import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.calibration import Row, add_arguments, play, portfolio_summary, variance_shares
from benchmarks.imbalance.task import Imbalance
from pytest_rltask import PolicyView


def give_up(view: PolicyView) -> Generator[str, Any, None]:
    yield "I give up."


def row(policy: str, seed: int, *, passed: bool) -> Row:
    return {"policy": policy, "seed": seed, "passed": passed, "seconds": 4.0, "cpu_s": 1.5}


def test_the_seeds_share_is_omega_squared_by_hand() -> None:
    # mean 1/2, SS_total 12/4 = 3; column means 1, 2/3, 1/3, 0: SS_seed = 3 * 10/36 * 2 = 5/3; row means 3/4, 1/2, 1/4:
    # SS_player = 4 * 2/16 = 1/2; MS_rest = (3 - 5/3 - 1/2) / (2 * 3) = 5/36
    shares = variance_shares([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]])

    assert shares.seed == pytest.approx((5 / 3 - 3 * 5 / 36) / (3 + 5 / 36))
    assert shares.player == pytest.approx((1 / 2 - 2 * 5 / 36) / (3 + 5 / 36))
    assert shares.rest == pytest.approx(1 - shares.seed - shares.player)


def test_players_that_differ_alike_on_all_seeds_leave_the_seed_no_share() -> None:
    shares = variance_shares([[1, 1, 1], [0, 0, 0]])

    assert (shares.player, shares.seed) == (1.0, 0.0)


def test_a_seeds_share_is_never_negative() -> None:
    assert variance_shares([[1, 0], [0, 1]]).seed == 0.0  # both column means are 1/2


@pytest.mark.parametrize("outcomes", [[], [[1, 0]], [[1], [0]], [[1, 1], [1, 1]]])
def test_where_nothing_varies_there_are_no_shares(outcomes: list[list[float]]) -> None:
    assert math.isnan(variance_shares(outcomes).seed)


def test_the_summary_counts_players_within_the_rates_and_names_the_best() -> None:
    rows = [row("all", seed, passed=True) for seed in range(10)]
    rows += [row("some", seed, passed=seed < 8) for seed in range(10)]
    rows += [row("none", seed, passed=False) for seed in range(10)]
    rows += [row("other", seed, passed=True) for seed in range(10)]

    lines = portfolio_summary(rows, ["all", "some", "none"]).splitlines()

    assert lines[0] == "- players 3, seeds 10, mean pass rate 60.0%"
    assert lines[1] == "- players that pass 5 to 80 % of their trials: 1 of 3; the best, `all`: 100%"
    assert lines[3] == "- a trial: 1.5 s of CPU time, 4.0 s, at most 4 s"


def test_seeds_that_a_player_lacks_are_left_out_of_the_variance() -> None:
    rows = [row("a", seed, passed=seed < 2) for seed in range(4)] + [row("b", 0, passed=False)]

    assert "seeds 1, mean pass rate 25.0%" in portfolio_summary(rows, ["a", "b"])


@pytest.mark.slow
def test_players_that_are_no_policies_of_the_task_play_under_their_names(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_arguments(parser, ["quitter"])
    options = parser.parse_args(["--seeds=2", "--seed=7", "--jobs=1", f"--results={tmp_path / 'results.jsonl'}"])

    rows = play(Imbalance(), options, {"quitter": give_up})

    assert sorted((row["policy"], row["seed"], row["passed"]) for row in rows) == [
        ("quitter", 7, False),
        ("quitter", 8, False),
    ]
    assert all(row["cpu_s"] >= 0 for row in rows)
    assert {row["task"] for row in rows} == {Imbalance().digest()}
    assert "quitter" not in Imbalance.policies
