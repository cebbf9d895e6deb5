"""`--plan`: what would be played and what it may cost, without a call, a key, an episode or a run directory."""

from __future__ import annotations

import pytest

from tests.claude.desk import MODEL
from tests.conftest import Suite
from tests.plugin.test_usage_errors import assert_usage_error
from tests.support.serving import EACH, Serve, every_third


def test_it_plays_nothing_and_writes_nothing(any_suite: Suite):
    tasks = (any_suite.pytester.path / "tasks.py").read_text()
    any_suite.write(tasks=tasks.replace("return SumEpisode(self, seed)", "raise AssertionError('opened')"))

    result = any_suite.run("--plan", "--runs", "7", "--model", "policy:solver", model=MODEL)

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(
        [
            "task * model * trials * tokens a trial * cost a trial * cost",
            f"sum * {MODEL} * 7 * unknown * unknown * unknown",
            "sum * policy:solver * 7 * - * - * -",
            f"sum by {MODEL}: no earlier trial in logs",
            f"{MODEL} costs $1/input MTok, $5/output MTok",
            "14 trials to be played; cost: unknown",
            "next: pytest * --runs 7 *",
        ]
    )
    assert "--plan" not in result.stdout.str()
    assert not (any_suite.pytester.path / "logs").exists()


def test_earlier_runs_say_what_it_may_cost(suite: Suite, serve: Serve):
    api = serve(every_third)
    suite.run("--runs", "3", model=MODEL)

    result = suite.run("--plan", "--max-cost", f"{7.5 * EACH}", model=MODEL)

    assert len(api.conversations) == 3
    assert len(suite.run_dirs) == 1
    result.stdout.fnmatch_lines(
        [
            f"sum by {MODEL}",
            "  trials: 10; tokens a trial: 1200 (1200-1200); cost a trial: $0.0020",
            "  ($0.0020-$0.0020); cost: $0.0200",
            f"sum by {MODEL}: mean and range of 3 trials in logs",
            "10 trials to be played; cost: $0.0200 expected",
            "--max-cost 0.015: would end the run after about 7 of 10 trials",
        ]
    )


def test_a_changed_task_is_priced_by_its_name_and_it_says_so(suite: Suite, serve: Serve):
    serve(every_third)
    suite.run("--runs", "3", model=MODEL)
    suite.write(test_sum=(suite.pytester.path / "test_sum.py").read_text().replace("Sum()", "Sum(threshold=0.5)"))

    result = suite.run("--plan", model=MODEL)

    result.stdout.fnmatch_lines(["*3 trials in logs, of the task as it was then or with other parameters"])


def test_of_a_run_that_is_resumed_only_what_is_left_is_planned(suite: Suite, serve: Serve):
    serve(every_third)
    suite.run("--runs", "3", model=MODEL)

    result = suite.run("--plan", "--resume", "last", "--runs", "5", "--max-cost", "1", model=MODEL)

    result.stdout.fnmatch_lines(
        [
            f"sum by {MODEL}",
            "  trials: 2; tokens a trial: *",
            "2 trials to be played, 3 more are reused; cost: $0.0040 expected",
            "--max-cost 1: $0.0060 was paid before; enough at the mean cost",
        ]
    )
    assert len(suite.last_run().records) == 3


def test_only_what_is_selected_is_planned(suite: Suite):
    result = suite.run("--plan", "-k", "run-03 or run-04", model=MODEL)

    result.stdout.fnmatch_lines(["2 trials to be played; cost: unknown"])


def test_a_mistake_is_told_all_the_same(any_suite: Suite):
    assert_usage_error(any_suite.run("--plan", model="policy:nobody"), "ships no such policy")


@pytest.mark.parametrize(("columns", "is_table"), [("80", False), ("300", True)])
def test_long_names_make_no_line_of_it_wider_than_the_terminal(
    suite: Suite, monkeypatch: pytest.MonkeyPatch, columns: str, is_table: bool
):
    monkeypatch.setenv("COLUMNS", columns)
    name = "a_task_of_" + "long_" * 10 + "name"
    suite.write(
        test_sum=(suite.pytester.path / "test_sum.py").read_text().replace("task=Sum()", f"task=Sum(), name={name!r}")
    )

    result = suite.run("--plan", "--model", "policy:solver", model=f"{MODEL}@effort=high")

    plan = result.stdout.str().partition("= plan =")[2].splitlines()
    assert any(line.split()[:2] == ["task", "model"] for line in plan) == is_table
    if not is_table:
        shown = plan[1 : plan.index("  trials: 10") + 1]
        assert shown[0] == name
        assert shown[1].startswith("  by claude-")
        assert max(map(len, shown)) <= 80
