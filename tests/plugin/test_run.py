"""A run as a person and a CI system see it: header, table, gate, exit status, files, replay, distribution."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_rltask.run.load import load_run
from tests.conftest import Suite, workers_at_once


def scores(run_dir: Path) -> dict[int, float | None]:
    """Return the score of each trial of a run, by its seed."""
    return {record.seed: record.score for record in load_run(run_dir).records.values()}


def test_the_header_reproduces_the_run(suite: Suite):
    result = suite.run("--conv-steps=3", "--band", "20,50")

    result.stdout.re_match_lines(
        [r"rltask: pytest --model policy:baseline --conv-steps=3 --band 20,50 .*--runs 10 --seed 42 --gate .* auto"]
    )


def test_an_unrelated_suite_sees_nothing(suite: Suite):
    suite.write(test_plain="def test_plain(): pass\n")

    result = suite.run("test_plain.py", model=None)

    assert "rltask:" not in result.stdout.str()
    assert "pass rates" not in result.stdout.str()
    assert suite.run_dirs == []


def test_the_summary_ends_with_paths_and_the_next_command(any_suite: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "160")

    result = any_suite.run()

    result.stdout.re_match_lines(
        [
            r"task +model +trials +passed +rate +interval +pass rate 0-100 % +verdict +score +turns +time",
            r"sum +policy:baseline +10 +3 +30 % +6-68 % +.*\[.*\].* in band, not proven +0.300 +1.0 .*",
            r"sum missed: 7 x score below threshold",
            r"run directory: logs/run_\d{8}_\d{6}, to be read as report.html",
            r"a trial to read: logs/run_\d{8}_\d{6}/transcripts/sum-policy_baseline-run-00.txt",
            r"next: pytest .*--runs \d+",
        ]
    )


def test_several_models_get_a_row_each_and_items_of_their_own(suite: Suite):
    result = suite.run("-v", "--model", "policy:null", "--runs", "4")

    result.stdout.fnmatch_lines(["*test_sum[[]policy:baseline-run-00] MISSED*", "*test_sum[[]policy:null-run-03]*"])
    models = [row["model"] for row in suite.report()["rows"]]
    assert models == ["policy:null", "policy:baseline"]  # worst first


@pytest.mark.parametrize(
    ("policy", "arguments", "status", "word"),
    [
        ("baseline", [], 0, "in band"),
        ("null", [], 1, "too hard"),
        ("solver", [], 1, "too easy"),
        ("solver", ["--band", "90,100"], 0, "in band"),
        ("null", ["--gate", "proven"], 0, "undecided"),
        ("baseline", ["--gate", "strict"], 1, "undecided"),
        ("solver", ["--gate", "proven"], 1, "too easy"),
        ("crash", [], 1, "incomplete"),
    ],
)
def test_the_exit_status_follows_the_gate(suite: Suite, policy: str, arguments: list[str], status: int, word: str):
    result = suite.run(*arguments, model=f"policy:{policy}")

    assert result.ret == status
    assert suite.report()["rows"][0]["verdict"]["word"] == word
    assert suite.report()["gate_holds"] == (status == 0)


@pytest.mark.parametrize(
    ("arguments", "marker", "ini", "runs", "band"),
    [
        ([], "", "", 10, [0.1, 0.4]),
        ([], "", "rltask_runs = 3\nrltask_band = 5,50", 3, [0.05, 0.5]),
        ([], ", runs=4, band=(0.2, 0.3)", "rltask_runs = 3\nrltask_band = 5,50", 4, [0.2, 0.3]),
        (["--runs", "2", "--band", "1,2"], ", runs=4, band=(0.2, 0.3)", "rltask_runs = 3", 2, [0.01, 0.02]),
    ],
)
def test_the_command_line_beats_the_marker_beats_the_ini_file(
    suite: Suite, arguments: list[str], marker: str, ini: str, runs: int, band: list[float]
):
    suite.pytester.makeini(f"[pytest]\n{ini}\n")
    test = f"@pytest.mark.rltask(task=Sum(){marker})\ndef test_sum(trial): assert trial.passed\n"
    suite.write(test_sum=f"from tasks import *\n{test}")

    suite.run(*arguments)

    (row,) = suite.report()["rows"]
    assert (row["planned"], [row["band"]["low"], row["band"]["high"]]) == (runs, band)


def test_the_marker_takes_a_function_of_the_configuration(suite: Suite):
    suite.write(
        test_sum="""
        from tasks import *
        @pytest.mark.rltask(task=lambda config: Sum(threshold=float(config.getini("rltask_runs") or 7)))
        def test_sum(trial):
            assert trial.task.threshold == 7.0
        """
    )

    suite.run("--runs", "1", "--gate", "proven")

    assert suite.report()["rows"][0]["passed"] == 1


def test_a_test_may_have_parameters_of_its_own(suite: Suite):
    suite.write(
        test_sum="""
        from tasks import *
        @pytest.mark.parametrize("slack", [0, 1])
        @pytest.mark.rltask(task=Sum())
        def test_sum(trial, slack):
            assert trial.score + slack >= 1.0
        """
    )

    suite.run("--runs", "4")

    rows = {row["test"]: row["passed"] for row in suite.report()["rows"]}
    assert rows == {"test_sum.py::test_sum[0]": 1, "test_sum.py::test_sum[1]": 4}


def test_one_run_can_be_selected(suite: Suite):
    result = suite.run("-k", "run-01")

    result.assert_outcomes(passed=1, failed=1)  # 1 of 1 is too easy
    assert suite.report()["rows"][0]["planned"] == 1


PAGES = """
import pathlib, threading
def pytest_runtest_teardown(item):
    if any(thread.name == "rltask-page" for thread in threading.enumerate()):
        (pathlib.Path(item.config.rootpath) / f"page-{hasattr(item.config, 'workerinput')}").touch()
"""


@workers_at_once("any_suite")
def test_the_run_directory_holds_what_is_needed_to_understand_the_run(any_suite: Suite):
    any_suite.write(conftest=PAGES).run("--runs", "2")

    assert not (any_suite.pytester.path / "page-True").exists(), "its page is the controller's alone"

    run = any_suite.last_run()
    assert run.header["command"].startswith("pytest --model policy:baseline")
    assert run.header["command"].endswith("--seed 42 --gate point --sandbox auto")
    assert run.header["packages"]["pytest"] == pytest.__version__
    assert [(trial.run, trial.seed) for trial in run.plan] == [(0, 42), (1, 43)]
    assert len({trial.task_digest for trial in run.plan}) == 1
    assert (run.path / "summary.md").read_text().startswith("# Pass rates")
    transcript = (run.path / "transcripts" / "sum-policy_baseline-run-01.txt").read_text()
    assert "How much is 43 and 1?" in transcript
    assert "number: 44" in transcript
    assert "score: 1 (threshold 1)" in transcript


def test_each_record_is_on_disk_before_its_item_reports(suite: Suite):
    suite.pytester.makeconftest(
        """
        import json, pathlib
        def pytest_runtest_logreport(report):
            if report.when == "call":
                lines = [f.read_text().splitlines() for f in pathlib.Path("logs").glob("*/trials.*.jsonl")]
                lines = [json.loads(line) for line in sum(lines, [])]
                ids = [line["trial_id"] for line in lines if line["type"] == "trial"]
                print(f"{report.nodeid} on disk: {ids.count(report.nodeid)}")
        """
    )

    result = suite.run("--runs", "3", "-s")

    result.stdout.fnmatch_lines([f"*run-{run:02d}[]] on disk: 1" for run in range(3)])


def test_a_failing_gate_is_named_in_the_short_summary_and_not_in_the_progress(any_suite: Suite):
    result = any_suite.run("--runs", "4", model="policy:null")

    result.stdout.fnmatch_lines(["*mmmm*[[]100%]", "*FAILURES*", "TOO HARD *::test_sum[[]policy:null-gate]*"])
    assert "[125%]" not in result.stdout.str()


def test_nothing_verbose_is_printed_unless_asked_for(suite: Suite):
    result = suite.run("--runs", "2")

    assert "How much is" not in result.stdout.str()


def test_a_replay_plays_recorded_messages_against_live_tools(any_suite: Suite):
    any_suite.run("--runs", "4")
    recorded = any_suite.run_dirs[0]

    any_suite.run("--runs", "4", model=f"replay:{recorded}")

    first, second = any_suite.run_dirs
    assert scores(first) == scores(second)
    said = [{record.seed: record.messages for record in load_run(run).records.values()} for run in (first, second)]
    assert said[0] == said[1]


def test_a_replay_meets_the_grader_of_today(suite: Suite):
    suite.run("--runs", "1", model="policy:null")
    suite.write(tasks=(suite.pytester.path / "tasks.py").read_text().replace("score = float(", "score = 1.0 or float("))

    suite.run("--runs", "1", model=f"replay:{suite.run_dirs[0]}")

    (record,) = suite.last_run().records.values()
    assert record.outcome == "passed"


def test_an_interrupted_run_keeps_its_trials_and_checks_no_gate(suite: Suite):
    suite.write(
        test_sum="""
        from tasks import *
        @pytest.mark.rltask(task=Sum())
        def test_sum(trial):
            if trial.record.run == 2:
                raise KeyboardInterrupt
        """
    )

    # One after the other: what starts ahead of its item may have ended when the interrupt comes.
    result = suite.pytester.runpytest_subprocess("--model", "policy:solver", "--sequential")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*7 of 10 planned trials were not played*", "interrupted: the gate was not checked"])
    assert len(suite.last_run().records) == 3


@pytest.mark.slow  # test_shares_deaths.py has it of a task of its own
def test_a_crashed_worker_loses_only_the_trial_in_flight(pytester: pytest.Pytester):
    suite = Suite(pytester, ("-n", "2", "--max-worker-restart=2"))
    suite.write(
        test_sum="""
        import os
        from tasks import *
        class Deadly(SumEpisode):
            def grade(self):
                if self.seed == 44:
                    os._exit(1)
                return super().grade()
        class DeadlyTask(Sum):
            def open(self, seed):
                return Deadly(self, seed)
        @pytest.mark.rltask(task=DeadlyTask(), name="deadly")
        def test_sum(trial):
            assert trial.passed
        """
    )

    result = suite.run("--runs", "8")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (row,) = suite.report()["rows"]
    assert (row["planned"], row["judged"], row["errored"], row["lost"]) == (8, 7, 1, 0)


@pytest.mark.slow  # and this
def test_a_trial_whose_test_kills_two_workers_is_not_judged(pytester: pytest.Pytester):
    suite = Suite(pytester, ("-n", "1", "--max-worker-restart=2"))
    suite.write(
        test_sum="""
        import os
        from tasks import *
        @pytest.mark.rltask(task=Sum())
        def test_sum(trial):
            if trial.record.run == 1:
                os._exit(1)
            assert trial.passed
        """
    )

    suite.run("--runs", "3")

    outcomes = {record.run: record.outcome for record in suite.last_run().records.values()}
    assert outcomes[1] == "errored"
    assert {outcomes[0], outcomes[2]} <= {"passed", "failed"}


def test_the_command_that_reproduces_names_the_log_dir_as_one_word(suite: Suite):
    result = suite.run("--runs", "2", "--log-dir", "elsewhere", model="policy:null")

    result.stdout.re_match_lines([r"rltask: pytest .*--log-dir=elsewhere .*"])
    assert "--log-dir elsewhere" not in result.stdout.str()


NO_REPORTS = """
import pathlib, pytest
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish():
    for run_dir in pathlib.Path("logs").glob("run_*"):
        (run_dir / "report.html").mkdir()
    return (yield)
"""


@pytest.mark.parametrize("filters", [(), ("-W", "error")])
def test_reports_that_cannot_be_written_are_told_and_change_nothing(suite: Suite, filters: tuple[str, ...]):
    suite.write(conftest=NO_REPORTS)

    # A process of its own: in this one, where the plugin is imported already, pytest itself warns of that.
    result = suite.pytester.runpytest_subprocess("--model", "policy:baseline", "--runs", "4", *filters)

    assert result.ret == pytest.ExitCode.OK
    result.stdout.fnmatch_lines(["*the report files could not be written: *report.html*"])
    result.assert_outcomes(passed=1, warnings=1)
