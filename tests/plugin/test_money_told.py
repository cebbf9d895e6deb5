"""Money of which a part is not known, or guessed: what reports say, what `--max-cost` makes of it, what is paid."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_rltask.report.table import cells
from pytest_rltask.run.planned import NotStarted
from pytest_rltask.run.record import Record
from pytest_rltask.suite.stopping import Funds
from tests.claude.desk import MODEL
from tests.conftest import Suite, next_words, unwrapped
from tests.plugin.test_progress import BEGIN, HAIKU, RunUnderWay
from tests.plugin.test_usage_errors import assert_usage_error
from tests.report.test_table import a_run, row_of
from tests.support.messages_api import Reply, Step, cut_body, drip, hang, reply, slow, tool_use
from tests.support.serving import EACH, Serve

USAGE = {"input_tokens": 1000, "output_tokens": 200}


def submits(number: int, **fields: Any) -> Reply:
    return reply(tool_use("submit", {"number": number}), usage=USAGE, **fields)


def arguments(result: pytest.RunResult) -> list[str]:
    """Return the arguments of the command that the run names as the next."""
    return [word for word in next_words(result)[1:] if not word.startswith("--basetemp")]


def the_record(suite: Suite) -> Record:
    (record,) = suite.last_run().records.values()
    return record


def test_a_model_that_answers_by_an_unknown_name_costs_what_the_one_does_that_was_asked_for(
    any_suite: Suite, serve: Serve
):
    api = serve(lambda body, turn: submits(0, model="my-own-name-7"))

    result = any_suite.run("--max-cost", "1", model=MODEL)

    (row,) = any_suite.report()["rows"]
    assert len(api.conversations) == 10
    assert row["cost_usd"] == pytest.approx(10 * EACH)
    assert row["not_afforded"] == 0
    said = f"cost by the price of {MODEL}, as the server answers as my-own-name-7, whose price is not known"
    assert said in unwrapped(result)
    assert said in (any_suite.run_dirs[0] / "summary.md").read_text()


def test_the_limit_holds_for_a_model_that_answers_by_an_unknown_name(suite: Suite, serve: Serve):
    api = serve(lambda body, turn: submits(0, model="my-own-name-7"))

    result = suite.run("--max-cost", f"{2.5 * EACH}", model=MODEL)

    assert len(api.conversations) == 2
    assert "--max-cost 0.028" in result.stdout.str()  # 0.004 + 1.5 x 8 x 0.002


def test_a_run_of_unknown_cost_is_gone_on_with_below_a_limit(suite: Suite, serve: Serve, monkeypatch: Any):
    serve(lambda body, turn: submits(0))
    with monkeypatch.context() as earlier:  # as versions did that knew no price for what a server called itself
        earlier.setattr("pytest_rltask.models.prices.Prices.pricer", lambda self, name: lambda message: None)
        suite.run("--runs", "2", model=MODEL)
    assert suite.report()["rows"][0]["cost_usd"] is None

    suite.run("--runs", "4", "--max-cost", f"{3.5 * EACH}", "--resume", "last", model=MODEL)

    (row,) = suite.report()["rows"]
    assert (row["judged"], row["not_afforded"]) == (3, 1)
    assert row["known_cost_usd"] == pytest.approx(EACH)


def test_the_next_command_is_one_that_pytest_takes_where_the_limit_is_below_one_trial(suite: Suite, serve: Serve):
    serve(lambda body, turn: submits(0))
    suite.run("--runs", "1", model=MODEL)

    result = suite.run("--runs", "2", "--max-cost", f"{0.5 * EACH}", model=MODEL)
    words = arguments(result)

    assert words[words.index("--max-cost") + 1] == "0.006"  # 1.5 x 2 x 0.002
    assert suite.run(*words, model=None).ret != pytest.ExitCode.USAGE_ERROR
    assert suite.report()["rows"][0]["judged"] == 2


def test_without_any_price_the_next_command_has_no_limit(suite: Suite, serve: Serve, monkeypatch: pytest.MonkeyPatch):
    serve(lambda body, turn: submits(0))
    monkeypatch.setattr(Funds, "answer", lambda self, dearest: NotStarted("cost", "--max-cost 1: for a test"))

    words = arguments(suite.run("--runs", "2", "--max-cost", "1", model=MODEL))

    assert "--max-cost" not in words


def test_the_progress_line_tells_what_is_known_of_the_cost(tmp_path: Any):
    run = RunUnderWay(tmp_path / "run", ("sum", HAIKU, 6))
    run.begin(("sum", HAIKU, 0))
    assert run.line().endswith("cost unknown")

    run.end(("sum", HAIKU, 0), cost=0.0041, at=BEGIN)
    assert "$0.0041" in run.line()

    run.end(("sum", HAIKU, 1), cost=None)
    assert "cost unknown (>= $0.0041)" in run.line()
    run.end(("sum", HAIKU, 2), cost=1.5)
    assert "cost unknown (>= $1.50)" in run.line()


def test_the_table_tells_what_is_known_of_the_cost():
    run = a_run("passed", "failed", cost=None)
    assert cells(row_of(run))[11] == "unknown"
    record = next(iter(run.records.values()))
    object.__setattr__(record.requests[0], "cost_usd", 0.25)

    assert cells(row_of(run))[11] == ">= $0.2500"
    assert row_of(run).cost_usd is None


@pytest.mark.parametrize("runaway", [hang(), slow(submits(43)), drip(submits(43), interval_s=0.1)])
def test_a_late_reply_is_asked_for_once_more_and_counts(suite: Suite, serve: Serve, runaway: Step):
    shouts = reply(tool_use("shout", {"text": "a"}), usage=USAGE)
    api = serve(lambda body, turn: runaway if turn else shouts)

    result = suite.run("--runs", "1", "--reply-timeout", "0.6", model=MODEL)

    record = the_record(suite)
    assert len(api.requests) == 3
    assert record.fault is not None
    told = "no reply within 0.6 s (--reply-timeout) (2 attempts, each of which may be paid; --reply-timeout S gives"
    assert (record.fault.kind, record.fault.fatal) == ("api", False)
    assert record.fault.message.startswith(told)
    lost = record.requests[-1]
    assert (lost.stop_reason, lost.cost_usd) == ("unanswered", lost.guessed_usd)
    assert 2 * 30 <= lost.usage.output_tokens <= 2 * 60  # 50 a second are taken to be written
    assert 0.0005 < lost.guessed_usd < 0.002
    guessed = f"${lost.guessed_usd:.4f} of the cost is an estimate, of replies that did not arrive and may be billed"
    assert guessed in unwrapped(result)


def test_a_late_reply_that_comes_the_second_time_is_paid_twice(suite: Suite, serve: Serve):
    left = [hang()]
    serve(lambda body, turn: left.pop() if left and turn else submits(43) if turn else shout())

    suite.run("--runs", "1", "--reply-timeout", "0.6", "--band", "50,100", model=MODEL)

    record = the_record(suite)
    assert record.outcome == "passed"
    assert record.requests[-1].faults == ("no reply within 0.6 s (--reply-timeout)",)
    assert record.cost_usd == pytest.approx(2 * EACH + record.requests[-1].guessed_usd)
    assert record.requests[-1].guessed_usd > 0


def shout() -> Reply:
    return reply(tool_use("shout", {"text": "a"}), usage=USAGE)


def test_a_reply_that_was_cut_off_counts(suite: Suite, serve: Serve):
    left = [cut_body(shout())]
    serve(lambda body, turn: left.pop() if left and turn else submits(43) if turn else shout())

    suite.run("--runs", "1", "--band", "50,100", model=MODEL)

    assert the_record(suite).requests[-1].guessed_usd > 0


def test_no_reply_takes_longer_than_its_trial_may(suite: Suite, serve: Serve):
    serve(lambda body, turn: hang() if turn else shout())

    suite.run("--runs", "1", "--reply-timeout", "60", "--trial-timeout", "0.5", model=MODEL)

    record = the_record(suite)
    assert record.fault is not None
    assert record.fault.message.startswith("no reply in time; no time is left in the trial")
    assert record.seconds["total"] < 10


def test_how_long_a_reply_may_take_can_stand_in_the_ini_file(suite: Suite, serve: Serve):
    serve(lambda body, turn: hang() if turn else shout())
    suite.pytester.makeini("[pytest]\nrltask_reply_timeout = 0.6\n")

    suite.run("--runs", "1", model=MODEL)

    assert "no reply within 0.6 s" in the_record(suite).reason


def test_a_time_for_replies_that_is_none(suite: Suite):
    assert_usage_error(suite.run("--reply-timeout", "0"), "--reply-timeout 0 is not a positive number of seconds")


KILLED = """
import os, signal
from tasks import *

class Dying(SumEpisode):
    @tool
    def die(self) -> str:
        \"\"\"Die.\"\"\"
        os.kill(os.getpid(), signal.SIGKILL)

@dataclass(frozen=True)
class Deadly(Sum):
    def open(self, seed):
        return Dying(self, seed)

@pytest.mark.rltask(task=Deadly(), runs=1)
def test_sum(trial):
    assert trial.passed
"""


def test_what_a_trial_paid_before_its_process_was_killed_is_counted(suite: Suite, serve: Serve):
    serve(lambda body, turn: reply(tool_use("die", {}), usage=USAGE) if turn == 2 else shout())
    suite.write(test_sum="import pytest\nfrom dataclasses import dataclass\n" + KILLED)
    killed = suite.pytester.runpytest_subprocess("--model", MODEL, "-p", "no:cacheprovider")
    assert killed.ret == -9

    run = suite.last_run()

    assert run.records == {}
    assert sum(record.known_cost_usd for record in run.paid) == pytest.approx(3 * EACH)
    assert [record.label for record in run.unrecorded] == ["process fault"]
