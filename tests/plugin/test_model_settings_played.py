"""Settings of a model in a run: rows and ids, what is sent, what a changed one says, and who takes none."""

from __future__ import annotations

import shlex
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.claude.desk import MODEL
from tests.conftest import Suite, next_words, unwrapped
from tests.plugin.test_usage_errors import assert_usage_error
from tests.support.messages_api import Step, reply, status, text, thinking, tool_use
from tests.support.serving import Serve, submits

HIGH, LOW = f"{MODEL}@effort=high", f"{MODEL}@effort=low"
BANDS = f'{{"claude-*": (0.1, 0.4), "claude-*@effort=high": (0.5, 0.9), "{LOW}": (0.2, 0.3)}}'
TEST = """
from tasks import *

@pytest.mark.rltask(task=Sum(), band={band})
def test_sum(trial):
    assert trial.score >= 1.0
"""


def by_effort(body: dict[str, Any], turn: int) -> Step:
    """Answer well at high effort, and seldom at low."""
    seed = int(body["messages"][0]["content"][0]["text"].split()[3])
    is_right = seed % 3 != 0 if body["output_config"]["effort"] == "high" else seed % 4 == 0
    return submits(seed + 1 if is_right else 0)


def test_two_settings_of_one_model_are_two_rows_each_with_its_band(any_suite: Suite, serve: Serve):
    any_suite.write(test_sum=TEST.format(band=BANDS))
    api = serve(by_effort)

    result = any_suite.run("--runs", "20", "--model", LOW, "--junitxml", "junit.xml", model=HIGH)

    rows = {row["model"]: row for row in any_suite.report()["rows"]}
    assert {model: (row["judged"], row["passed"]) for model, row in rows.items()} == {HIGH: (20, 13), LOW: (20, 5)}
    assert [rows[model]["band"] for model in (HIGH, LOW)] == [{"low": 0.5, "high": 0.9}, {"low": 0.2, "high": 0.3}]
    assert result.ret == 0
    sent = [(seen.body["output_config"]["effort"], seen.body["model"]) for seen in api.requests]
    assert sorted(set(sent)) == [("high", MODEL), ("low", MODEL)]
    records = any_suite.last_run().records
    assert records[f"test_sum.py::test_sum[{HIGH}-run-03]"].settings == {"effort": "high"}
    cases = ElementTree.parse(any_suite.pytester.path / "junit.xml").iter("testcase")
    told = {p.get("value") for case in cases for p in case.iter("property") if p.get("name") == "settings"}
    assert told == {"effort=high", "effort=low"}


def test_a_run_is_not_resumed_with_another_setting_and_takes_it_as_a_second_row(suite: Suite, serve: Serve):
    api = serve(by_effort)
    suite.run("--runs", "2", "--effort", "high", model=MODEL)

    refused = suite.run("--runs", "2", "--resume=last", model=LOW)

    add = f"write --model {HIGH} --model {LOW}"
    assert_usage_error(refused, f"effort was high, is low (to play {MODEL} with both, {add})")
    assert len(api.requests) == 2

    unset = suite.run("--runs", "2", "--resume=last", model=MODEL)
    assert_usage_error(unset, "effort was high, is not set")

    suite.run("--runs", "2", "--resume=last", "--model", LOW, model=HIGH)
    assert len(suite.last_run().records) == 4
    assert len(api.requests) == 4


def test_ids_without_settings_are_what_they_were(suite: Suite, serve: Serve):
    api = serve([submits(43)])

    suite.run("--runs", "1", model=MODEL)

    assert list(suite.last_run().records) == [f"test_sum.py::test_sum[{MODEL}-run-00]"]
    assert api.requests[0].body.keys() == {"model", "max_tokens", "messages", "tools", "cache_control"}


def test_what_is_set_of_all_is_sent_and_a_name_says_otherwise(suite: Suite, serve: Serve):
    fields = 'service_tier = standard_only\n  metadata = {"user_id": "u 1"}'
    suite.pytester.makeini(f"[pytest]\nrltask_effort = low\nrltask_request =\n  {fields}\n")
    api = serve([reply(thinking("I add."), tool_use("submit", {"number": 43}))])

    suite.run("--runs", "1", "--thinking", "2000", "--reply-tokens", "9000", model=f"{MODEL}@effort=max")

    (seen,) = api.requests
    assert seen.body["output_config"] == {"effort": "max"}
    assert seen.body["thinking"] == {"type": "enabled", "budget_tokens": 2000}
    assert (seen.body["service_tier"], seen.body["metadata"]) == ("standard_only", {"user_id": "u 1"})
    assert seen.body["max_tokens"] == 9000
    (record,) = suite.last_run().records.values()
    assert record.model == (
        f'{MODEL}@effort=max,thinking=2000,reply_tokens=9000,metadata={{"user_id":"u 1"}},service_tier=standard_only'
    )
    assert f"[{MODEL}@effort=max,thinking=2000,reply_tokens=9000,metadata=%7B%22us" in record.trial_id


def test_the_command_that_reproduces_a_run_has_its_settings(suite: Suite, serve: Serve):
    suite.pytester.makeini("[pytest]\nrltask_effort = low\nrltask_request = speed = fast\n")
    serve([submits(0)])

    suite.run("--runs", "1", model=MODEL)

    words = shlex.split(suite.last_run().header["command"])
    assert words[words.index("--effort") + 1] == "low"
    assert words[words.index("--request") + 1] == "speed = fast"


def test_thinking_goes_back_as_it_came_and_can_be_read(suite: Suite, serve: Serve):
    blocks = [thinking("Let me see.", "c2ln"), thinking("", "c2lnMg=="), text("I try.")]
    api = serve([reply(*blocks, tool_use("shout", {"text": "a"})), submits(43)])

    suite.run("--runs", "1", "--thinking", "adaptive", model=MODEL)

    back = api.requests[1].body["messages"][1]["content"]
    assert back[:3] == blocks
    (record,) = suite.last_run().records.values()
    assert record.messages[1]["content"][:3] == blocks
    (transcript,) = (suite.run_dirs[0] / "transcripts").iterdir()
    assert "Let me see." in transcript.read_text()


def test_a_setting_that_a_model_does_not_take_ends_the_run_with_the_servers_words(suite: Suite, serve: Serve):
    said = "output_config.effort: This model does not support effort level 'max'."
    api = serve([status(400, message=said)])

    result = suite.run("--effort", "max", model=MODEL)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert len(api.requests) == 1
    told = f"no trial can be played by {MODEL}@effort=max: HTTP 400: {said}; effort=max is set by --effort, or behind"
    assert told in unwrapped(result)


def test_a_server_that_takes_shorter_replies_alone_is_told_with_the_option(suite: Suite, serve: Serve):
    serve([status(400, message="max_tokens: 16000 > 8192, the maximum of this model")])

    result = suite.run("--runs", "1", model=MODEL)

    assert "8192, the maximum of this model; --reply-tokens N asks for shorter replies" in unwrapped(result)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--effort", "most"), "--effort most is not one of low, medium, high, xhigh, max; write --effort high"),
        (("--thinking", "16000"), "thinking=16000 is a budget within a reply, which has 16000 tokens"),
        (("--request", "effort=high"), "--request effort has an option of its own; write --effort high"),
        (("--request", "tools=[]"), "--request 'tools=[]': tools is filled in by the trial"),
        (("--prices", "qwen=1/2"), "--prices 'qwen=1/2' is no model with US dollars a million tokens in and out"),
        (("--model", f"{MODEL}@efort=high"), "efort is no setting; write effort=high"),
    ],
)
def test_what_cannot_be_set_is_a_usage_error(suite: Suite, serve: Serve, arguments: tuple[str, ...], said: str):
    api = serve([submits(43)])

    result = suite.run(*arguments, model=MODEL)

    assert_usage_error(result, said)
    assert not api.requests


def test_sampling_that_the_api_has_taken_back_is_told_before_anything(suite: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")

    result = suite.run("--temperature", "0.5", model=MODEL)

    assert_usage_error(result, "Anthropic's API takes no temperature any more: the installed SDK has no such field")


def test_who_is_no_model_of_an_api_takes_no_settings(suite: Suite):
    typed = suite.run("--effort", "high")
    named = suite.run(model="policy:baseline@effort=high")
    suite.pytester.makeini("[pytest]\nrltask_effort = high\n")
    written = suite.run("--runs", "1")

    assert_usage_error(typed, "--effort is for models of an API, and policy:baseline is none; leave it out")
    assert_usage_error(named, "policy:baseline takes no settings")
    assert list(suite.last_run().records) == ["test_sum.py::test_sum[policy:baseline-run-00]"]
    assert written.ret in (0, 1)


def test_a_plan_and_the_next_command_name_the_settings(suite: Suite, serve: Serve):
    serve(by_effort)
    suite.run("--runs", "2", model=HIGH)

    plan = suite.run("--runs", "4", "--plan", "--model", f"{MODEL}@speed=fast", model=HIGH)

    assert f"sum by {HIGH}: mean and range of 2 trials in logs" in plan.outlines
    assert f"sum by {MODEL}@speed=fast: no earlier trial in logs" in plan.outlines
    assert next_words(suite.run("--runs", "2", model=HIGH))[2] == HIGH
