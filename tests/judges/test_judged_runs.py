"""A judged task is played by an inner pytest: cost of player and judge apart, one limit for both, no cent lost."""

from __future__ import annotations

from collections import Counter

import pytest

from pytest_rltask.run.load import load_run
from tests.conftest import Suite, slow, unwrapped
from tests.judges.letters import ASYNC_GRADE, JUDGE, JUDGE_EACH, PLAYER, PLAYER_EACH, SYNC_GRADE, answers, suite_of
from tests.support.serving import Serve


@pytest.mark.parametrize(
    ("grade", "workers"),
    [(ASYNC_GRADE, ()), slow(SYNC_GRADE, ()), slow(ASYNC_GRADE, ("-n", "2"))],
    ids=["async", "sync", "workers"],
)
def test_fifty_judged_trials_cost_what_the_server_was_paid_player_and_judge_apart(
    judged: Suite, serve: Serve, grade: str, workers: tuple[str, ...]
):
    api = serve(answers)
    judged.write(test_letter=suite_of(grade))

    result = judged.run("--runs", "50", *workers, model=PLAYER)

    asked = Counter(seen.body["model"] for seen in api.wait_until_idle())
    assert asked == {PLAYER: 50, JUDGE: 50}
    (row,) = judged.report()["rows"]
    assert (row["passed"], row["judged"]) == (50, 50)
    assert row["cost_usd"] == pytest.approx(50 * (PLAYER_EACH + JUDGE_EACH))
    assert row["judge_cost_usd"] == pytest.approx(50 * JUDGE_EACH)
    assert (row["usage"]["input_tokens"], row["judge_usage"]["input_tokens"]) == (50_000, 100_000)
    run = load_run(judged.run_dirs[-1])
    assert sum(record.player_cost_usd or 0 for record in run.records.values()) == pytest.approx(50 * PLAYER_EACH)
    assert "cost: $0.1000 of the player, $0.3750 of judges" in unwrapped(result)
