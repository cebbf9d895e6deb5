"""What a judged task is to whoever runs it: keys, plans, switches, replays, resumed runs, audits, reports."""

from __future__ import annotations

import csv
import json
from collections import Counter

import pytest

from pytest_rltask.cli import main
from pytest_rltask.models.judges import parse_judges
from tests.conftest import Suite, slow, unwrapped
from tests.judges.letters import ASYNC_GRADE, JUDGE, JUDGE_EACH, PLAYER, PLAYER_EACH, answers, sends, suite_of, verdict
from tests.plugin.test_usage_errors import assert_usage_error
from tests.support.messages_api import Step, status
from tests.support.serving import Serve

EACH = PLAYER_EACH + JUDGE_EACH
STRICTER = ASYNC_GRADE.replace("threshold=0.75", "threshold=float(0.5 + 0.75)")


def test_the_money_ends_both_player_and_judge(judged: Suite, serve: Serve):
    api = serve(answers)

    judged.run("--runs", "50", "--max-cost", f"{10.5 * EACH}", model=PLAYER)

    (row,) = judged.report()["rows"]
    asked = Counter(seen.body["model"] for seen in api.wait_until_idle())
    assert asked == {PLAYER: 10, JUDGE: 10}
    assert (row["judged"], row["not_afforded"]) == (10, 40)
    assert row["cost_usd"] == pytest.approx(10 * EACH)


@pytest.mark.slow
def test_what_a_judge_costs_ends_a_run_that_a_policy_plays(judged: Suite, serve: Serve):
    api = serve(answers)

    judged.run("--judge", JUDGE, "--max-cost", f"{4.5 * JUDGE_EACH}", model="policy:solver")

    (row,) = judged.report()["rows"]
    assert (len(api.requests), row["not_afforded"], row["judge_cost_usd"]) == (4, 6, pytest.approx(4 * JUDGE_EACH))


@pytest.mark.parametrize(("policy", "passed"), [slow("solver", 3), ("rude", 0)])
def test_a_policy_is_judged_by_the_script_and_needs_no_key(judged: Suite, policy: str, passed: int):
    judged.run("--runs", "3", "--gate", "proven", model=f"policy:{policy}")

    (row,) = judged.report()["rows"]
    assert (row["passed"], row["judged"], row["cost_usd"], row["asked"]) == (passed, 3, 0.0, {})


def test_a_cheap_run_of_a_model_is_judged_by_the_script(judged: Suite, serve: Serve):
    api = serve(answers)
    judged.pytester.makeini("[pytest]\nrltask_judge = policy:scripted\n")

    judged.run("--runs", "2", model=PLAYER)

    assert {seen.body["model"] for seen in api.requests} == {PLAYER}
    assert judged.last_run().plan[0].judges["grader"] == "policy:scripted"


def test_a_judge_of_the_ini_file_is_not_asked_where_a_policy_plays(judged: Suite):
    judged.pytester.makeini(f"[pytest]\nrltask_judge = {PLAYER}\n")

    judged.run("--runs", "1", "--gate", "proven", model="policy:solver")

    run = judged.last_run()
    assert run.plan[0].judges == {"grader": "policy:scripted"}
    assert "--judge" not in run.header["command"], "typed, it would be asked"


def test_a_judge_without_a_key_is_told_before_the_first_trial(judged: Suite):
    result = judged.run("--judge", f"grader={JUDGE}", model="policy:solver")

    assert_usage_error(
        result,
        f"task letter: its judge grader ({JUDGE}) needs an API key: set ANTHROPIC_API_KEY",
        "--judge policy:scripted",
    )


def test_who_cannot_judge_is_refused(judged: Suite):
    assert_usage_error(judged.run("--judge", "grader=human", model="policy:solver"), "--judge: 'human' is no judge")


@pytest.mark.parametrize(
    "word", ["gpt", "policy:solver", "replay:logs", "grader=", "grader=gpt", "claude-a@effort=wild"]
)
def test_what_is_no_judge_says_what_is(word: str):
    with pytest.raises(ValueError, match=r"write|low, medium"):
        parse_judges([word])


def test_judges_are_named_with_their_settings():
    words = ["customer=claude-haiku-4-5@thinking=off,effort=low", "api:qwen@effort=low", "claude-a", "policy:scripted"]

    assert parse_judges(words[:2]) == {
        "customer": "claude-haiku-4-5@effort=low,thinking=off",
        "": "api:qwen@effort=low",
    }
    assert parse_judges(words[2:]) == {"": "policy:scripted"}, "the last word counts"


def test_a_policy_is_refused_where_the_judge_has_no_script(judged: Suite):
    judged.write(test_letter=suite_of().replace("scripted=RUBRIC", "scripted=None and RUBRIC"))

    said = "task letter: its judge 'grader' has no script", "scripted=...)", "--judge claude-sonnet-4-6"
    assert_usage_error(judged.run(model="policy:solver"), *said)


def test_the_plan_names_judges_their_keys_and_what_they_cost(judged: Suite, serve: Serve):
    serve(answers)
    judged.run("--runs", "2", model=PLAYER)

    text = unwrapped(judged.run("--runs", "4", "--plan", model=PLAYER))

    assert f"letter by {PLAYER}: judge grader is {JUDGE} (needs ANTHROPIC_API_KEY)" in text
    assert f"letter by {PLAYER}: $0.0075 a trial of it for judges" in text
    assert f"{JUDGE} costs" in text
    assert f"cost: ${4 * EACH:.4f} expected" in text
    assert "judge grader is its script (no key)" in unwrapped(judged.run("--plan", model="policy:solver"))


@pytest.mark.slow
def test_earlier_runs_with_other_judges_say_nothing_of_the_cost(judged: Suite, serve: Serve):
    serve(answers)
    judged.run("--runs", "2", "--judge", "policy:scripted", model=PLAYER)

    assert "cost: unknown" in unwrapped(judged.run("--runs", "4", "--plan", model=PLAYER))


def test_a_replay_is_judged_as_recorded_without_a_key(judged: Suite, serve: Serve, monkeypatch: pytest.MonkeyPatch):
    serve(lambda body, turn: verdict(polite=0) if body["model"] == JUDGE else answers(body, turn))
    judged.run("--runs", "3", model=PLAYER)
    monkeypatch.delenv("ANTHROPIC_API_KEY")

    judged.run("--runs", "3", model=f"replay:{judged.run_dirs[0]}")

    (row,) = judged.report()["rows"]
    assert (row["judged"], row["passed"], row["cost_usd"]) == (3, 0, 0.0), "the script would have let all pass"


@pytest.mark.slow
def test_faults_of_the_judge_are_no_failures(judged: Suite, serve: Serve):
    def no_judge(body: dict[str, object], turn: int) -> Step:
        return status(400) if body["model"] == JUDGE else sends()

    serve(no_judge)
    judged.run("--runs", "2", model=PLAYER)

    (row,) = judged.report()["rows"]
    assert (row["errored"], row["failed"], row["cost_usd"]) == (2, 0, pytest.approx(2 * PLAYER_EACH))
    assert f"judge grader ({JUDGE})" in str(row["faults"])


def test_a_run_is_not_gone_on_with_by_another_judge(judged: Suite, serve: Serve):
    serve(answers)
    judged.run("--runs", "2", model=PLAYER)

    result = judged.run("--runs", "4", "--resume", "last", "--judge", PLAYER, model=PLAYER)

    said = f"what grades task letter changed: judge grader was {JUDGE}, is {PLAYER}"
    assert said in " ".join(result.stderr.str().split())
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_a_changed_grader_grades_anew_by_the_recorded_verdicts(judged: Suite, serve: Serve):
    api = serve(answers)
    judged.run("--runs", "3", model=PLAYER)
    asked = len(api.requests)
    judged.write(test_letter=suite_of(STRICTER))

    judged.run("--runs", "3", "--resume", "last", "--changed", "regrade", model=PLAYER)

    (row,) = judged.report()["rows"]
    assert (len(api.requests), row["judged"], row["passed"], row["regraded"]) == (asked, 3, 0, 3)
    assert row["judge_cost_usd"] == pytest.approx(3 * JUDGE_EACH)


@pytest.mark.slow
def test_a_grader_that_asks_something_else_is_not_answered_by_old_verdicts(judged: Suite, serve: Serve):
    api = serve(answers)
    judged.run("--runs", "1", model=PLAYER)
    asked = len(api.requests)
    judged.write(test_letter=suite_of().replace("It is short.", "It is very short."))

    judged.run("--runs", "1", "--resume", "last", "--changed", "regrade", model=PLAYER)

    (row,) = judged.report()["rows"]
    assert len(api.requests) == asked, "nothing is paid to grade anew"
    assert (row["judged"], row["errored"]) == (0, 1)
    assert "judge 'grader' is asked what the recorded trial did not ask" in str(row["faults"])


def test_the_audit_is_judged_by_the_script(judged: Suite):
    result = judged.run("--audit", "-q", model=None)

    assert result.ret == pytest.ExitCode.OK, result.stdout.str()


@pytest.mark.slow
def test_the_audit_says_which_script_is_missing(judged: Suite):
    judged.write(test_letter=suite_of().replace("scripted=RUBRIC", "scripted=None and RUBRIC"))

    assert "nobody answers for the judge 'grader'" in unwrapped(judged.run("--audit", model=None))


def test_all_reports_tell_player_and_judge_apart(
    judged: Suite, serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    serve(answers)
    judged.run("--runs", "2", model=PLAYER)
    (run_dir,) = judged.run_dirs
    monkeypatch.chdir(judged.pytester.path)
    apart = "cost: $0.0040 of the player, $0.0150 of judges"

    transcript = next((run_dir / "transcripts").iterdir()).read_text()
    judge = f"--- judge grader ({JUDGE}) ·"
    question, answer = (transcript.index(f"{judge} {what} ") for what in ("is asked", "answers"))
    assert transcript.index("turn 1 · calls send") < question < answer < transcript.index("--- passed")
    assert "of it judges: $0.0075 (1 requests, 2,100 tokens)" in transcript
    assert apart in (run_dir / "summary.md").read_text()
    assert apart in (run_dir / "report.html").read_text()
    assert main(["stats", "last"]) == 0
    assert f"{apart} (2 requests, 4200 tokens)" in capsys.readouterr().out
    assert main(["show", "last", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert all(trial["judge_cost_usd"] == pytest.approx(JUDGE_EACH) for trial in told["trials"])
    assert main(["export", "last", "--to", "csv", "--out", "trials.csv"]) == 0
    row = next(csv.DictReader((judged.pytester.path / "trials.csv").open()))
    assert (row["input_tokens"], row["judge_tokens"]) == ("1000", "2100")
    assert float(row["cost_usd"]) == pytest.approx(EACH)
    assert (float(row["player_cost_usd"]), float(row["judge_cost_usd"])) == pytest.approx((PLAYER_EACH, JUDGE_EACH))


def test_player_and_judge_of_one_model_do_not_wait_for_each_other(judged: Suite, serve: Serve):
    serve(lambda body, turn: verdict() if body["tools"][0]["name"] == "verdict" else sends())

    judged.run("--runs", "3", "--concurrency", "1", "--judge", PLAYER, model=PLAYER)

    (row,) = judged.report()["rows"]
    assert (row["judged"], row["passed"]) == (3, 3)


def test_a_judge_that_no_task_has_is_told_before_the_first_trial(judged: Suite):
    result = judged.run("--judge", "gradr=policy:scripted", model="policy:solver")

    assert_usage_error(result, "--judge gradr=policy:scripted: no task that is played has a judge 'gradr'; they have")


def test_a_judge_that_is_a_name_says_what_to_write(judged: Suite):
    named = "from test_letter import *\nclass Named(Letter):\n    judges = {'grader': 'claude-haiku-4-5'}\n"
    judged.pytester.makepyfile(test_named=named)

    result = judged.run("test_named.py", model="policy:solver")

    assert_usage_error(
        result,
        "task Named: its judge 'grader' is 'claude-haiku-4-5'; "
        'write judges = {"grader": Judge("claude-haiku-4-5", scripted=...)}',
    )
