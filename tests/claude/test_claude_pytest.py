"""Claude through pytest, plain and under pytest-xdist: pass rate, cost, replay, fatal faults, secrets."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from pytest_rltask.models import limiter
from pytest_rltask.run.load import load_run
from pytest_rltask.run.record import Record
from tests.claude.desk import KEY, MODEL
from tests.conftest import Suite, unwrapped
from tests.support.messages_api import (
    Reply,
    Script,
    each_conversation,
    reply,
    spend_limit,
    status,
    text,
    tool_use,
)
from tests.support.serving import Serve


def plays(seed: int, *, right: bool) -> list[Reply]:
    """Return the script of a conversation that submits the sum for a seed, or a wrong one."""
    number = seed + 1 if right else 0
    return [
        reply(text("Let me shout first."), tool_use("shout", {"text": "a", "times": 2}), tool_use("refuse", {})),
        reply(tool_use("submit", {"number": number})),
    ]


def three_of_ten() -> Script:
    """Return scripts by prompt, so that any worker may play any trial."""
    return {f"How much is {seed} and 1?": plays(seed, right=seed in (43, 46, 49)) for seed in range(42, 52)}


def all_files(folder: Path) -> dict[Path, str]:
    """Return the text of every file below a folder."""
    return {path: path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()}


def test_a_run_shows_pass_rate_tokens_and_cost_and_replays_without_a_request(any_suite: Suite, serve: Serve):
    api = serve(three_of_ten())

    played = any_suite.run(model=MODEL)
    requests = len(api.requests)
    replayed = Suite(any_suite.pytester).run(model=f"replay:{any_suite.run_dirs[0]}")

    assert played.ret == 0
    assert f"sum by {MODEL}: in band, not proven 30 %" in unwrapped(played)
    played.stdout.fnmatch_lines(["  3 of 10 passed *", "  missed: 7 x score below threshold"])
    (row,) = json.loads((any_suite.run_dirs[0] / "report.json").read_text())["rows"]
    assert row["usage"] == {"input_tokens": 2000, "output_tokens": 400, "cache_read_tokens": 0, "cache_write_tokens": 0}
    assert row["cost_usd"] == pytest.approx((2000 * 1 + 400 * 5) / 1e6)
    assert "0.004" in played.stdout.str()
    assert len(api.conversations) == 10
    assert KEY not in played.stdout.str()
    assert [path for path, content in all_files(any_suite.run_dirs[0]).items() if KEY in content] == []

    assert replayed.ret == 0
    assert len(api.requests) == requests == 20
    assert grades(any_suite, 1) == grades(any_suite, 0)
    assert len(grades(any_suite, 0)) == 10


def test_what_the_api_cost_a_trial_is_told_in_its_transcript(suite: Suite, serve: Serve):
    serve([status(429, headers={"retry-after": "0.2"}), *plays(42, right=True)])

    suite.run("--runs", "1", model=MODEL)

    (transcript,) = (suite.run_dirs[0] / "transcripts").iterdir()
    assert re.search(
        r"^lost to the API: \d+\.\d s\n  turn 1: HTTP 429: scripted rate_limit_error$", transcript.read_text(), re.M
    )


def test_an_unknown_price_is_shown_as_unknown(suite: Suite, serve: Serve):
    serve(three_of_ten())

    result = suite.run("--runs", "2", model="claude-unknown-9")

    assert suite.report()["rows"][0]["cost_usd"] is None
    assert "unknown" in result.stdout.str()
    assert "$0" not in result.stdout.str()


def test_errored_trials_are_told_apart_from_missed_ones(suite: Suite, serve: Serve):
    serve(each_conversation(plays(42, right=False), [status(400, message="a fault of the API")], plays(44, right=True)))

    result = suite.run("--runs", "3", model=MODEL)

    result.assert_outcomes(passed=1, errors=1, failed=1)  # the failure is the gate's
    row = suite.report()["rows"][0]
    assert (row["passed"], row["failed"], row["errored"], row["judged"]) == (1, 1, 1, 2)
    result.stdout.fnmatch_lines(["  errored: 1 x api fault: HTTP 400: a fault of the API*"])
    result.stdout.fnmatch_lines(["*HTTP 400: a fault of the API [[]request req_*"])


def test_reports_say_what_broke_the_protocol_and_what_outgrew_the_context(
    suite: Suite, serve: Serve, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(limiter, "MAX_BACKOFF_S", 0.0)
    shout = reply(tool_use("shout", {"text": "a"}))
    serve(
        {
            "How much is 42": [shout, status(400, message="Input is too long for requested model.")],
            "How much is 43": [status(413)],
            "How much is 44": [reply(tool_use("submit", {"number": 45}), stop_reason="end_turn")],
        }
    )

    result = suite.run("--runs", "3", model=MODEL)

    (row,) = suite.report()["rows"]
    assert row["reasons"] == {"context window full": 1}
    too_long, broken = (
        "task fault: the task's prompt and tools are too long for the model, or for its server: HTTP 413: scripted",
        "api fault: a reply that calls a tool but did not stop for it (end_turn) (8 attempts)",
    )
    assert {told[: len(too_long)] for told in row["faults"]} == {too_long, broken}
    assert row["cost_usd"] == pytest.approx(9 * (100 * 1 + 20 * 5) / 1e6)  # the shout, and eight attempts
    assert "missed: 1 x context window full errored: 1 x" in unwrapped(result)
    assert broken in unwrapped(result)
    assert f"errored: 1 x {broken}" in (suite.run_dirs[0] / "summary.md").read_text()
    assert "did not stop for it (end_turn)" in (suite.run_dirs[0] / "report.html").read_text()


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (status(401), "HTTP 401: scripted authentication_error"),
        (spend_limit(), "HTTP 429, enforced_spend_limit_reached: scripted spend limit"),
    ],
)
def test_a_fatal_fault_stops_the_run_at_once(suite: Suite, serve: Serve, step: object, told: str):
    api = serve([step])

    result = suite.run(model=MODEL)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert len(api.requests) == 1
    assert len(suite.last_run().records) == 1
    result.stdout.fnmatch_lines([f"*no trial can be played*{told}*"])
    assert result.stdout.str().count("no trial can be played") == 1


def test_a_fatal_fault_stops_a_distributed_run(pytester: pytest.Pytester, serve: Serve):
    suite = Suite(pytester, ("-n", "2"))
    api = serve([spend_limit()])

    result = suite.run("--runs", "30", model=MODEL)

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert len(api.requests) <= 4  # each worker may have had one in flight, and started one more
    assert result.stdout.str().count("no trial can be played") == 1


def test_a_key_that_the_server_quotes_is_written_nowhere(suite: Suite, serve: Serve):
    serve(
        {
            "How much is 42": [status(500, message=f"at {KEY}"), *plays(42, right=True)],
            "How much is 43": [status(400, message=f"bad key {KEY}")],
            "How much is 44": [reply(tool_use("crash", {}))],
        }
    )

    result = suite.run("--runs", "3", "-rA", "-vv", "-s", "-o", "log_cli=true", "--log-level=DEBUG", model=MODEL)

    assert KEY not in result.stdout.str()
    assert KEY not in result.stderr.str()
    assert [request.faults for request in last_record(suite, seed=42).requests] == [("HTTP 500: at ***",), ()]
    assert [path for path, content in all_files(suite.pytester.path).items() if KEY in content] == []


def last_record(suite: Suite, *, seed: int) -> Record:
    """Return the newest run's trial of a seed."""
    (record,) = [record for record in suite.last_run().records.values() if record.seed == seed]
    return record


def grades(suite: Suite, index: int) -> dict[tuple[int, str], tuple[float | None, str]]:
    """Return score and outcome of each trial of one of the runs."""
    records = load_run(suite.run_dirs[index]).records.values()
    return {(record.seed, record.task): (record.score, record.outcome) for record in records}


def test_where_no_trial_has_a_chance_the_record_is_of_the_trial_that_the_terminal_names(suite: Suite, serve: Serve):
    asked = suite.pytester.path / "asked"

    def refuses(body: object, turn: int) -> object:
        asked.touch()
        return status(401)

    serve(refuses)
    suite.write(
        test_sum=f"""
        from tasks import *
        import pathlib, time

        class Slow(Sum):
            def open(self, seed):
                while seed == 42 and not pathlib.Path({str(asked)!r}).exists():
                    time.sleep(0.01)
                return Sum.open(self, seed)

        @pytest.mark.rltask(task=Slow())
        def test_sum(trial):
            assert trial.passed
        """
    )

    result = suite.run("--runs", "4", model=MODEL)

    assert f"ERROR at setup of test_sum[{MODEL}-run-00]" in result.stdout.str()
    assert list(suite.last_run().records) == [f"test_sum.py::test_sum[{MODEL}-run-00]"]
