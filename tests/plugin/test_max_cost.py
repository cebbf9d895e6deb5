"""`--max-cost`: no trial starts that might take the run's cost past the limit, and the verdict is on those that did."""

from __future__ import annotations

from typing import Any

import pytest

from tests.claude.desk import MODEL
from tests.conftest import WAYS, WAYS_IDS, Suite, next_words
from tests.plugin.test_usage_errors import assert_usage_error
from tests.support.messages_api import reply, status, tool_use
from tests.support.serving import EACH, Serve, every_third, submits


def row_of(suite: Suite) -> dict[str, Any]:
    (row,) = suite.report()["rows"]
    return row


@pytest.mark.parametrize("any_suite", WAYS, ids=WAYS_IDS, indirect=True)
def test_the_money_ends_the_run_and_the_verdict_is_on_what_was_started(any_suite: Suite, serve: Serve):
    api = serve(every_third)

    result = any_suite.run("--max-cost", f"{5.5 * EACH}", "-rs", model=MODEL)

    row, text = row_of(any_suite), result.stdout.str()
    assert len(api.conversations) == 5
    assert row["cost_usd"] == pytest.approx(5 * EACH)
    assert (row["judged"], row["planned"], row["not_afforded"], row["lost"]) == (5, 10, 5, 0)
    assert row["verdict"]["word"] == "in band"
    assert result.ret == pytest.ExitCode.OK
    assert "SKIPPED [5] test_sum.py:3: --max-cost 0.011: $0.0100 is spent, and another trial may cost $0.0020" in text
    ended = "the money (--max-cost) ended it: 5 of 10 planned trials were not started"
    assert ended in " ".join(text.split())
    assert ended in (any_suite.run_dirs[0] / "summary.md").read_text()
    page = (any_suite.run_dirs[0] / "report.html").read_text()
    assert "the money (--max-cost) ended it: 5 of 10 planned trials not started" in page
    enough = ["--max-cost", "0.025"]  # 0.010 + 1.5 x 5 x 0.002
    assert next_words(result)[-3:] == [*enough, f"--resume=logs/{any_suite.run_dirs[0].name}"]


def test_nothing_is_lost_where_the_money_lasts(suite: Suite, serve: Serve):
    serve(every_third)

    suite.run("--max-cost", "1", model=MODEL)

    assert (row_of(suite)["judged"], row_of(suite)["not_afforded"]) == (10, 0)


def test_what_errored_trials_cost_counts(suite: Suite, serve: Serve):
    shouts = reply(tool_use("shout", {"text": "a"}), usage={"input_tokens": 1000, "output_tokens": 200})
    serve(lambda body, turn: shouts if turn == 0 else status(400))

    suite.run("--max-cost", f"{2.5 * EACH}", model=MODEL)

    row = row_of(suite)
    assert (row["errored"], row["not_afforded"]) == (2, 8)
    assert row["cost_usd"] == pytest.approx(2 * EACH)


def test_what_a_resumed_run_cost_before_counts(any_suite: Suite, serve: Serve):
    api = serve(every_third)
    Suite(any_suite.pytester).run("--max-cost", f"{2.5 * EACH}", model=MODEL)
    assert len(api.conversations) == 2

    any_suite.run("--max-cost", f"{4.5 * EACH}", "--resume", "last", model=MODEL)

    assert len(api.conversations) == 4
    assert (row_of(any_suite)["judged"], row_of(any_suite)["not_afforded"]) == (4, 6)


def test_resumed_without_a_limit_the_rest_is_played(suite: Suite, serve: Serve):
    serve(every_third)
    suite.run("--max-cost", f"{2.5 * EACH}", model=MODEL)

    suite.run("--resume", "last", model=MODEL)

    assert (row_of(suite)["judged"], row_of(suite)["not_afforded"]) == (10, 0)


def test_what_errored_attempts_cost_stays_in_the_summary_after_they_are_played_again(suite: Suite, serve: Serve):
    broken = [True]
    shouts = reply(tool_use("shout", {"text": "a"}), usage={"input_tokens": 1000, "output_tokens": 200})
    serve(lambda body, turn: shouts if turn == 0 else status(400) if broken else submits(0))
    suite.run("--runs", "1", model=MODEL)
    broken.clear()

    suite.run("--runs", "1", "--resume", "last", model=MODEL)

    assert row_of(suite)["errored"] == 0
    assert row_of(suite)["cost_usd"] == pytest.approx(3 * EACH)
    assert row_of(suite)["usage"]["input_tokens"] == 3000


def test_earlier_runs_say_what_a_trial_may_cost(suite: Suite, serve: Serve):
    api = serve(every_third)
    suite.run("--runs", "1", model=MODEL)

    result = suite.run("--max-cost", f"{0.5 * EACH}", model=MODEL)

    assert len(api.conversations) == 1
    assert row_of(suite)["verdict"]["word"] == "incomplete"
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["incomplete: the money (--max-cost) ended before any trial of sum by claude-*"])
    assert "no trial was started" in (suite.run_dirs[-1] / "report.html").read_text()


def test_a_policy_costs_nothing(suite: Suite):
    suite.run("--max-cost", "0.000001")

    assert row_of(suite)["judged"] == 10


def test_a_model_without_a_known_price_is_refused_before_anything_is_played(any_suite: Suite, serve: Serve):
    api = serve(every_third)

    result = any_suite.run("--max-cost", "1", "--model", MODEL, model="claude-unknown-9")

    assert_usage_error(result, "--max-cost: the price of claude-unknown-9 is not known")
    assert (api.requests, any_suite.run_dirs) == ([], [])


def test_early_stops_and_money_go_together(suite: Suite, serve: Serve):
    api = serve(lambda body, turn: submits(int(body["messages"][0]["content"][0]["text"].split()[3]) + 1))

    suite.run("--max-cost", f"{6.5 * EACH}", "--stop-early", "--runs", "20", "--concurrency", "1", model=MODEL)

    assert len(api.conversations) == 6
    assert (row_of(suite)["not_needed"], row_of(suite)["not_afforded"]) == (14, 0)


def test_a_wrong_key_ends_a_run_whose_trials_wait_for_a_price(any_suite: Suite, serve: Serve):
    api = serve([status(401)])

    result = any_suite.run("--max-cost", "1", model=MODEL)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert len(api.requests) <= 2  # one in each worker
    assert len(any_suite.last_run().starts) <= 2


@pytest.mark.parametrize("amount", ["0", "-1", "nan", "inf", "much"])
def test_an_amount_that_cannot_be_used(suite: Suite, amount: str):
    result = suite.run(f"--max-cost={amount}")

    assert_usage_error(result, f"--max-cost {amount} is not a positive number of US dollars; write --max-cost 5")
