"""`--changed`: two graders never share a rate; what was graded by another is graded anew, played again, or marked."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.run.load import load_run
from tests.claude.desk import MODEL
from tests.conftest import WAYS_IDS, Suite, unwrapped, workers_at_once
from tests.plugin.resumed import NOTED, headline, refused, rows
from tests.support.serving import Serve, every_third

SCORING = """
def rated(answer, seed):
    # near misses get something
    return 1.0 if answer == seed + 1 else 0.4 if seed % 2 else 0.2

def unused():
    return 0
"""
TASKS = NOTED.replace("score = float(self.answer == self.seed + 1)", "score = rated(self.answer, self.seed)").replace(
    "import pytest\n", "import pytest\nfrom scoring import rated\n", 1
)


class Graded(Suite):
    """A suite whose grader is changed between two invocations of one run."""

    def __init__(self, pytester: pytest.Pytester, workers: tuple[str, ...] = ()) -> None:
        super().__init__(pytester, workers)
        test = (pytester.path / "test_sum.py").read_text().replace("trial.score >= 1.0", "trial.passed")
        self.write(tasks=TASKS, scoring=SCORING, test_sum=test)

    def play(self, *arguments: str, model: str | None = "policy:noted") -> pytest.RunResult:
        return self.run(*arguments, model=model)

    def begin(self, *arguments: str, model: str = "policy:noted") -> None:
        workers, self.workers = self.workers, ()
        self.play(*arguments, model=model)
        self.workers = workers

    def change(self, old: str, new: str, name: str = "scoring") -> None:
        path = self.pytester.path / f"{name}.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new) + "#" * (len(old) == len(new)))

    def resume(self, *arguments: str, model: str | None = "policy:noted") -> pytest.RunResult:
        return self.play("--resume=last", *arguments, model=model)

    def plays(self) -> Counter[int]:
        return Counter(map(int, (self.pytester.path / "plays.txt").read_text().split()))

    def lines(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.run_dirs[0].glob("trials.*.jsonl")}

    def afresh(self, *arguments: str) -> list[dict[str, Any]]:
        """Return the report of a run made anew with today's grader."""
        self.begin(*arguments)
        return essence(self.run_dirs[-1])


def essence(run_dir: Path) -> list[dict[str, Any]]:
    told = ("reused", "reused_despite", "regraded", "usage", "cost_usd", "reasons")
    return [{name: value for name, value in row.items() if name not in told} for row in rows(run_dir)]


@pytest.fixture(params=[(), ("-n", "2")], ids=WAYS_IDS)
def any_graded(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Graded:
    return Graded(pytester, request.param)


@pytest.fixture
def graded(pytester: pytest.Pytester) -> Graded:
    return Graded(pytester)


# A change of logic that turns four of ten misses into passes: seeds 43 and 46 passed, odd ones do now.
LOGIC = ("0.4 if seed % 2", "1.0 if seed % 2")


def test_a_comment_and_what_grades_nothing_are_no_change(graded: Graded):
    graded.begin("--runs", "2")
    graded.change("# near misses get something", "# another word")
    graded.change("return 0", "return -1")
    graded.change("@pytest", "\n\n@pytest", "test_sum")
    graded.write(test_more='def test_more():\n    """Another test."""\n')

    result = graded.resume("--runs", "3")

    assert headline(result).endswith("2 trials reused, 1 missing to be played")


@workers_at_once("any_graded")
def test_a_changed_helper_is_refused_by_name_and_nothing_is_written(any_graded: Graded):
    any_graded.begin("--runs", "4")
    before = any_graded.lines()
    any_graded.change(*LOGIC)

    said = refused(any_graded.resume("--runs", "12"))

    assert said == (
        "ERROR: --resume logs/RUN: what grades task sum changed: scoring.py: rated; write "
        "--resume=logs/RUN --changed=regrade (grade the recorded trials anew, without a model), "
        "--resume=logs/RUN --changed=rerun (play them again), "
        "--resume=logs/RUN --changed=reuse (count them as they are, which every report will say); "
        "--plan lists what each does"
    )
    assert any_graded.lines() == before
    assert sum(any_graded.plays().values()) == 4


def test_graded_anew_by_replay_the_rate_is_that_of_a_new_run(any_graded: Graded):
    any_graded.begin("--runs", "6")
    any_graded.change(*LOGIC)

    result = any_graded.resume("--runs", "8", "--changed", "regrade")

    resumed = any_graded.run_dirs[0]
    assert headline(result).endswith("6 trials reused, 2 missing to be played")
    assert any_graded.plays() == dict.fromkeys(range(42, 50), 1)
    records = load_run(resumed).records
    record = records["test_sum.py::test_sum[policy:noted-run-03]"]
    assert [(step.how, step.changes) for step in record.history] == [("replay", "scoring.py: rated")]
    assert (record.history[0].before["outcome"], record.history[0].before["score"]) == ("failed", 0.4)
    assert (record.outcome, record.score) == ("passed", 1.0)
    assert len({record.grader for record in records.values()}) == 1
    assert "6 of 8 trials were graded anew (--changed=regrade)" in unwrapped(result)
    assert "graded before: missed, score 0.4 of 1" in next(resumed.glob("transcripts/*run-03.txt")).read_text()
    assert essence(resumed) == any_graded.afresh("--runs", "8")


def test_a_threshold_is_applied_to_recorded_scores_at_once(graded: Graded):
    graded.begin("--runs", "4")
    graded.change("task=Sum()", "task=Sum(threshold=0.4)", "test_sum")
    graded.change("def open(self, seed):", "def open(self, seed):\n        assert seed in (42, 46), 'opened'", "tasks")
    graded.change("\n        assert seed in (42, 46), 'opened'", "", "tasks")

    result = graded.resume("--runs", "4", "--changed", "regrade")

    assert result.ret == 1
    assert {record.history[0].how for record in graded.last_run().records.values()} == {"threshold"}
    (row,) = graded.report()["rows"]
    assert (row["passed"], row["regraded"]) == (2, 4)
    assert essence(graded.run_dirs[0]) == graded.afresh("--runs", "4")


def test_an_assertion_judges_recorded_scores_anew(graded: Graded):
    graded.begin("--runs", "4")
    graded.change("trial.passed", "trial.score > 0.3", "test_sum")
    said = refused(graded.resume("--runs", "4"))

    graded.resume("--runs", "2", "--changed", "regrade")

    assert "what grades task sum changed: test_sum.py: test_sum; write" in said
    outcomes = [record.outcome for _, record in sorted(graded.last_run().records.items())]
    assert outcomes == ["failed", "passed", "failed", "failed"]  # two of them as their grader says: no test judged them
    graded.resume("--runs", "4")
    assert essence(graded.run_dirs[0]) == graded.afresh("--runs", "4")


def test_played_again_old_trials_stay_and_are_paid(any_graded: Graded):
    any_graded.begin("--runs", "3")
    any_graded.change(*LOGIC)

    result = any_graded.resume("--runs", "4", "--changed", "rerun")

    run = load_run(any_graded.run_dirs[0])
    assert headline(result).endswith("0 trials reused, 4 missing to be played")
    assert any_graded.plays() == {42: 2, 43: 2, 44: 2, 45: 1}
    assert (len(run.records), len(run.superseded)) == (4, 3)
    assert essence(run.path) == any_graded.afresh("--runs", "4")


def test_reused_at_the_users_word_every_report_says_so(graded: Graded):
    graded.begin("--runs", "3")
    graded.change(*LOGIC)

    result = graded.resume("--runs", "4", "--changed", "reuse")
    again = graded.resume("--runs", "4")

    mark = "3 of 4 grades are by an earlier grader (--changed=reuse), despite: scoring.py: rated"
    assert headline(result).endswith("3 trials reused, 1 missing to be played")
    for played in (result, again):
        assert mark in unwrapped(played)
    here = graded.run_dirs[0]
    assert mark in (here / "summary.md").read_text()
    assert mark in (here / "report.html").read_text()
    (row,) = graded.report()["rows"]
    assert (row["reused"], row["reused_despite"], row["passed"]) == (3, ["scoring.py: rated"], 2)
    graded.resume("--runs", "4", "--changed", "regrade")
    assert graded.report()["rows"][0]["reused"] == 0
    assert essence(here) == graded.afresh("--runs", "4")


def test_the_plan_lists_what_each_way_does_to_each_trial(graded: Graded):
    graded.begin("--runs", "2")
    before = graded.lines()
    graded.change("task=Sum()", "task=Sum(threshold=0.1)", "test_sum")

    threshold = graded.resume("--runs", "3", "--plan")
    graded.change(*LOGIC)
    logic = graded.resume("--runs", "3", "--plan")
    rerun = graded.resume("--runs", "3", "--plan", "--changed", "rerun")

    threshold.stdout.fnmatch_lines(
        [
            "what grades task sum by policy:noted changed: threshold was 1.0, is 0.1",
            "trial * recorded * regrade * rerun * reuse",
            "test_sum?*run-00? * missed, 0.2 of 1 * by its score: passed, 0.2 of 0.1 * played again * counts as missed",
            "test_sum?*run-01? * passed, 1 of 1 * by its score: passed, 1 of 0.1 * played again * counts as passed",
            "1 trial to be played, 2 await --changed=regrade|rerun|reuse; cost: none",
        ]
    )
    logic.stdout.fnmatch_lines(
        [
            "what grades task sum by policy:noted changed: threshold was 1.0, is 0.1; scoring.py: rated",
            "test_sum?*run-00? * missed, 0.2 of 1 * by replay of its calls * played again * counts as missed",
        ]
    )
    rerun.stdout.fnmatch_lines(["trial * recorded * rerun", "3 trials to be played; cost: none"])
    assert graded.lines() == before


def test_a_replay_that_takes_another_course_is_errored_and_spends_nothing(graded: Graded):
    graded.begin("--runs", "2")
    graded.change('return "submitted"', 'return "submitted, thanks"', "tasks")

    result = graded.resume("--runs", "2", "--changed", "regrade")
    again = graded.resume("--runs", "2")

    assert result.ret == 1
    assert headline(result).endswith("0 trials reused, none to be played, 2 could not be graded anew")
    result.stdout.fnmatch_lines(["*the replay took another course: a result of submit says 'submitted, thanks', said*"])
    assert headline(again).endswith("0 trials reused, 2 errored ones to be played")
    assert graded.plays() == {42: 2, 43: 2}
    assert essence(graded.run_dirs[0]) == graded.afresh("--runs", "2")


def test_results_that_vary_by_themselves_are_no_other_course(graded: Graded):
    graded.change("import pytest", "import time, uuid, pytest", "tasks")
    graded.change('return "submitted"', 'return f"submitted to {uuid.uuid4()} in {time.time()} s"', "tasks")
    graded.begin("--runs", "2")
    graded.change(*LOGIC)

    graded.resume("--runs", "2", "--changed", "regrade")

    records = graded.last_run().records.values()
    assert [record.history[0].how for record in records] == ["replay", "replay"]
    assert {record.outcome for record in records} == {"failed", "passed"}


def test_where_the_prompt_changed_nothing_can_be_regraded(graded: Graded):
    graded.begin("--runs", "2")
    graded.change("How much is", "What is", "tasks")

    said = refused(graded.resume("--runs", "2", "--changed", "regrade"))
    graded.resume("--runs", "2", "--changed", "rerun")

    assert said.startswith(
        "ERROR: --resume logs/RUN --changed=regrade: the prompt of task sum changed (seed 42); "
        "no recorded call answers what a model would see now; write --resume=logs/RUN --changed=rerun ("
    )
    assert graded.plays() == {42: 2, 43: 2}


def test_a_run_of_an_earlier_version_asks_too(graded: Graded):
    graded.begin("--runs", "2")
    for file in graded.run_dirs[0].glob("trials.*.jsonl"):
        file.write_text(re.sub(r'"grader": "\w+"', '"grader": ""', file.read_text()))

    said = refused(graded.resume("--runs", "2"))
    graded.resume("--runs", "2", "--changed", "regrade")

    assert "what grades task sum changed: an earlier version did not record what graded it; write" in said
    assert {record.history[0].how for record in graded.last_run().records.values()} == {"replay"}


def test_what_was_paid_is_paid_once_and_a_replay_costs_nothing(suite: Suite, serve: Serve):
    api = serve(every_third)
    suite.run("--runs", "3", model=MODEL)
    (before,) = suite.report()["rows"]
    tasks = suite.pytester.path / "tasks.py"
    tasks.write_text(tasks.read_text().replace("float(self.answer == self.seed + 1)", "1.0 if self.answer else 0.5"))

    suite.run("--runs", "3", "--resume=last", "--changed=regrade", model=MODEL)

    assert len(api.conversations) == 3
    (after,) = suite.report()["rows"]
    assert after["cost_usd"] == before["cost_usd"] > 0


def test_a_file_that_changes_while_the_run_goes_on_is_noticed(graded: Graded):
    late = "\n    def grade(self):\n        from scoring import rated\n        import pathlib\n"
    late += "        if self.seed == 42: pathlib.Path('scoring.py').write_text('rated = lambda answer, seed: 0.0')\n"
    graded.change("\n    def grade(self):\n", late, "tasks")
    graded.change("pytest\nfrom scoring import rated\n", "pytest\n", "tasks")

    result = graded.play("--runs", "2", "--concurrency", "1")

    assert result.ret == 1
    (row,) = graded.report()["rows"]
    assert (row["left_out"], row["verdict"]["word"]) == (2, "incomplete")
    assert "2 trials are not counted, since other code graded them" in unwrapped(result)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--changed", "regrade"], "--changed regrade goes with --resume, * write --resume=last --changed=regrade"),
        (["--changed", "ask"], "--changed ask is not one of regrade, rerun, reuse; write --changed regrade"),
    ],
)
def test_what_it_takes_is_told(graded: Graded, arguments: list[str], said: str):
    graded.play("--runs", "1", *arguments).stderr.fnmatch_lines([f"ERROR: {said}"])


def test_a_grade_and_its_history_survive_a_second_reading(graded: Graded):
    graded.begin("--runs", "1")
    graded.change("0.2", "0.3")
    graded.resume("--runs", "1", "--changed", "regrade")
    graded.change("0.3", "0.5")
    graded.resume("--runs", "1", "--changed", "regrade")

    (record,) = graded.last_run().records.values()
    assert [step.before["score"] for step in record.history] == [0.2, 0.3]
    assert record.score == 0.5
    assert type(record).from_json(json.loads(json.dumps(record.to_json()))) == record


SECRET = """
from tasks import *

class Judge:
    def __init__(self):
        self.client = {"api_key": "sk-canary-in-an-object"}

@dataclass(frozen=True)
class Judged(Sum):
    token: str = "canary-in-a-field"
    judge: object = dataclasses.field(default_factory=Judge, hash=False, compare=False)

@pytest.mark.rltask(task=Judged(), band=(0.0, 1.0))
def test_sum(trial):
    assert trial.passed
"""


def test_no_text_that_a_task_holds_is_written_down_or_told(suite: Suite):
    suite.write(test_sum="import dataclasses\n" + SECRET)
    suite.run("--runs=2")
    suite.write(test_sum="import dataclasses\n" + SECRET.replace("canary-in", "canary-elsewhere-in"))

    result = suite.run("--runs=2", "--resume=last")

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = "".join([*result.outlines, *result.errlines])
    assert "token was content" in said
    written = "".join(path.read_text() for path in suite.run_dirs[-1].rglob("*") if path.is_file())
    assert "canary" not in said + written
