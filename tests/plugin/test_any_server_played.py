"""`--model api:NAME` in a run: names of all kinds, what is missing, and what it costs."""

from __future__ import annotations

import pytest

from tests.conftest import Suite, unwrapped
from tests.plugin.test_usage_errors import assert_usage_error
from tests.support.serving import Serve, submits


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("api:qwen/qwen3-8b:free", "api:qwen/qwen3-8b:free"),
        ("api:my model [v2]", "api:my%20model%20%5Bv2%5D"),
        ("api:a::b@c", "api:a:%3Ab@c"),
        ("api:größe", "api:gr%C3%B6%C3%9Fe"),
    ],
)
def test_a_name_is_sent_as_it_is_and_quoted_where_it_names_a_test(suite: Suite, serve: Serve, name: str, label: str):
    api = serve(lambda body, turn: submits(43))
    test_id = f"test_sum.py::test_sum[{label}-run-00]"

    suite.run("--runs", "1", model=name)

    assert api.requests[0].body["model"] == name.removeprefix("api:")
    (record,) = suite.last_run().records.values()
    assert (record.trial_id, record.model) == (test_id, name)
    assert [row["model"] for row in suite.report()["rows"]] == [name]
    assert suite.last_run().plan[0].test == "test_sum.py::test_sum"
    suite.pytester.runpytest(test_id, "--model", name, "--runs", "2", "--resume=last").assert_outcomes(
        passed=1, failed=1
    )
    assert len(api.requests) == 1


def test_it_needs_a_server_and_no_key(suite: Suite, serve: Serve, monkeypatch: pytest.MonkeyPatch):
    assert_usage_error(suite.run(model="api:qwen3"), "write ANTHROPIC_BASE_URL=http://127.0.0.1:8080 before pytest")

    serve([submits(43)])
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    assert suite.run("--runs", "1", "--band", "1,100", model="api:qwen3").ret == 0


@pytest.mark.slow
def test_its_cost_is_unknown_unless_the_ini_file_says_what_it_costs(suite: Suite, serve: Serve):
    serve(lambda body, turn: submits(43))
    unknown = suite.run("--runs", "1", model="api:q 3@reply_tokens=500")
    refused = suite.run("--runs", "1", "--max-cost", "1", model="api:q 3")
    plan = suite.run("--runs", "1", "--plan", model="api:q 3")
    suite.pytester.makeini("[pytest]\nrltask_prices =\n  api:other = 1/1\n  api:q 3 = 0.5/2\n")
    known = suite.run("--runs", "1", "--max-cost", "1", model="api:q 3@reply_tokens=500")

    assert "cost unknown" in unwrapped(unknown)
    assert_usage_error(refused, "the price of api:q 3 is not known", "write --prices 'api:q 3'=IN/OUT")
    assert "the price of api:q 3 is not known; --prices 'api:q 3'=IN/OUT gives it" in unwrapped(plan)
    assert "cost $0.0009" in unwrapped(known)  # 1000 x 0.5 and 200 x 2 per million


def test_a_band_is_found_by_its_name(suite: Suite, serve: Serve):
    serve(lambda body, turn: submits(43))
    suite.write(
        test_sum="from tasks import *\n"
        '@pytest.mark.rltask(task=Sum(), band={"api:qwen/*": (0.6, 1), "api:*": (0, 0.3)})\n'
        "def test_sum(trial):\n    assert trial.score >= 1.0\n"
    )

    suite.run("--runs", "1", "--model", "api:other", model="api:qwen/qwen3:free@reply_tokens=99")

    assert [row["band"]["low"] for row in suite.report()["rows"]] == [0, 0.6]
