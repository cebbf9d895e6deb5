"""What becomes of a trial: passed, missed, cheated, errored, or an ordinary failure of the test."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from tests.conftest import Suite, workers_at_once
from tests.plugin.test_usage_errors import assert_usage_error


def test_a_missed_trial_is_neither_a_failure_nor_a_pass(suite: Suite):
    result = suite.run()

    result.stdout.re_match_lines([r".*3 passed,.* 7 missed, 1 in band.*"])
    assert result.ret == pytest.ExitCode.OK


def test_a_missed_trial_has_its_own_word(suite: Suite):
    result = suite.run("-v")

    result.stdout.re_match_lines([r".*test_sum\[.*-run-00\] MISSED.*", r".*test_sum\[.*-run-01\] PASSED.*"])


@workers_at_once("any_suite")
def test_a_missed_trial_does_not_stop_a_run_that_stops_at_the_first_failure(any_suite: Suite):
    result = any_suite.run("-x")

    result.stdout.re_match_lines([r".*3 passed,.* 7 missed.*"])


def test_neither_a_missed_trial_nor_a_gate_is_played_again_by_last_failed(suite: Suite):
    suite.run(model="policy:null")

    result = suite.run("--lf", model="policy:null")

    result.stdout.fnmatch_lines(["collected 10 items", "*no previously failed tests*"])


def test_a_cheated_trial_is_reported_apart_and_no_assertion_makes_it_a_pass(any_suite: Suite):
    result = any_suite.run(model="policy:cheat")

    result.stdout.re_match_lines([r"  cheated: 10 x negative sum", r".*1 failed,.* 10 cheated.*"])
    (row,) = any_suite.report()["rows"]
    assert (row["passed"], row["mean_score"], row["reasons"]) == (0, None, {})
    assert row["cheats"] == {"negative sum": 10}
    assert {record.outcome for record in any_suite.last_run().records.values()} == {"cheated"}


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("crash", "tool crash: KeyError: 'a bug of the task'"),
        ("broken", "policy 'broken' raised RuntimeError: a bug of the policy"),
        ("nan", "the grader's score is nan; it must be finite"),
    ],
)
def test_a_fault_of_the_task_errors_its_trial(suite: Suite, policy: str, said: str):
    result = suite.run("--runs", "2", model=f"policy:{policy}")

    result.assert_outcomes(errors=2, failed=1)  # the gate fails too: nothing was judged
    result.stdout.fnmatch_lines([f"*errored trial, task fault:*{said}*"])
    assert {record.outcome for record in suite.last_run().records.values()} == {"errored"}
    assert suite.report()["rows"][0]["verdict"]["word"] == "incomplete"
    assert "internal" not in result.stdout.str().lower()


def test_an_errored_trial_does_not_count_in_the_pass_rate(suite: Suite):
    suite.run("--runs", "8", model="policy:sometimes_crash")

    (row,) = suite.report()["rows"]
    assert (row["planned"], row["judged"], row["errored"]) == (8, 7, 1)
    assert row["verdict"]["rate"] == 0


def test_the_assertion_overrules_the_grader_and_the_record_says_so(any_suite: Suite):
    any_suite.write(test_sum="from tasks import *\n@pytest.mark.rltask(task=Sum())\ndef test_sum(trial): pass\n")

    result = any_suite.run("--runs", "4", model="policy:null")

    result.stdout.re_match_lines([r".*1 failed,.* 4 passed.*"])  # the gate: too easy
    records = any_suite.last_run().records.values()
    assert {record.outcome for record in records} == {"passed"}
    assert all("overruled the grader, which said missed" in record.reason for record in records)


def test_the_assertion_decides_where_the_grader_names_no_threshold(suite: Suite):
    suite.write(
        test_sum="""
        from tasks import *
        @pytest.mark.rltask(task=Sum(threshold=None))
        def test_sum(trial):
            assert trial.score >= 1.0
        """
    )

    suite.run()

    assert suite.report()["rows"][0]["passed"] == 3
    transcripts = suite.run_dirs[-1] / "transcripts"
    assert "--- passed -" in (transcripts / "sum-policy_baseline-run-01.txt").read_text()
    assert "--- missed -" in (transcripts / "sum-policy_baseline-run-00.txt").read_text()


def test_an_assertion_before_there_is_a_grade_keeps_its_ordinary_meaning(any_suite: Suite):
    any_suite.write(
        test_sum="""
        from tasks import *
        @pytest.fixture
        def ready():
            assert 1 == 2, "not ready"
        @pytest.mark.rltask(task=Sum())
        def test_sum(ready, trial): pass
        """
    )

    result = any_suite.run("--runs", "2")

    result.assert_outcomes(errors=2, failed=1)
    assert any_suite.last_run().records == {}
    assert any_suite.report()["rows"][0]["verdict"]["word"] == "incomplete"


def test_another_exception_in_the_test_is_an_ordinary_failure(suite: Suite):
    suite.write(test_sum="from tasks import *\n@pytest.mark.rltask(task=Sum())\ndef test_sum(trial): trial.nothing\n")

    result = suite.run("--runs", "1", "--gate", "proven", model="policy:solver")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*AttributeError: 'Trial' object has no attribute 'nothing'*"])
    (row,) = suite.report()["rows"]
    assert (row["judged"], row["errored"]) == (0, 1)  # nobody has judged the trial
    assert "did not judge the trial: AttributeError" in next(iter(row["faults"]))


@pytest.mark.parametrize(
    "ends", ["pytest.skip('no database')", "raise OSError('no database')", "assert 0, 'no database'"]
)
def test_a_fixture_that_ends_behind_the_trial_leaves_it_unjudged(any_suite: Suite, ends: str):
    any_suite.write(
        test_sum=f"""
        from tasks import *
        @pytest.fixture
        def db(): {ends}
        @pytest.mark.rltask(task=Sum())
        def test_sum(trial, db): assert False
        """
    )

    result = any_suite.run("--runs", "2")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    (row,) = any_suite.report()["rows"]
    assert (row["judged"], row["errored"], row["verdict"]["word"]) == (0, 2, "incomplete")
    assert "did not judge the trial" in next(iter(row["faults"]))


@pytest.mark.parametrize("arguments", ["trial, tmp_pth", "trial, other"])
def test_a_fixture_that_is_not_there_is_told_before_anything_is_played(any_suite: Suite, arguments: str):
    any_suite.write(
        test_sum=f"""
        from tasks import *
        @pytest.fixture
        def other(tmp_pth): pass
        @pytest.mark.rltask(task=Sum())
        def test_sum({arguments}): pass
        """
    )

    result = any_suite.run("--runs", "2")

    assert_usage_error(result, "test_sum.py::test_sum: there is no fixture 'tmp_pth'")
    assert not any_suite.run_dirs


def test_a_skip_in_the_test_is_no_pass(suite: Suite):
    suite.write(
        test_sum="from tasks import *\n@pytest.mark.rltask(task=Sum())\ndef test_sum(trial): pytest.skip('x')\n"
    )

    suite.run("--runs", "2", model="policy:solver")

    assert suite.report()["rows"][0]["judged"] == 0


def test_a_task_that_is_skipped_is_not_gated(any_suite: Suite):
    any_suite.write(
        test_sum="""
        from tasks import *
        @pytest.mark.skip(reason="not now")
        @pytest.mark.rltask(task=Sum())
        def test_sum(trial): pass
        """
    )

    result = any_suite.run("--runs", "2")

    assert result.ret == pytest.ExitCode.OK
    result.assert_outcomes(skipped=2)


def test_a_failed_subtest_makes_the_trial_missed(any_suite: Suite):
    any_suite.write(
        test_sum="""
        from tasks import *
        @pytest.mark.rltask(task=Sum())
        def test_sum(trial, subtests):
            with subtests.test("score"):
                assert trial.score >= 1.0
        """
    )

    result = any_suite.run("--runs", "2", model="policy:null")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert any_suite.report()["rows"][0]["passed"] == 0


def test_an_error_that_cannot_be_shown_loses_nothing(any_suite: Suite):
    any_suite.write(
        test_sum="""
        from tasks import *
        class Unspeakable:
            def __repr__(self):
                raise ValueError
        @pytest.mark.rltask(task=Sum())
        def test_sum(trial):
            raise AssertionError(Unspeakable())
        """
    )

    any_suite.run("--runs", "2", "--gate", "proven")

    assert any_suite.report()["rows"][0]["failed"] == 2


def test_skipping_inside_a_task_is_no_way_out_of_a_trial(suite: Suite):
    suite.write(
        test_sum="""
        from tasks import *
        class Skipping(SumEpisode):
            def grade(self):
                pytest.skip("too hard for me")
                return Grade(1.0)
        class SkippingTask(Sum):
            def open(self, seed):
                return Skipping(self, seed)
        @pytest.mark.rltask(task=SkippingTask())
        def test_sum(trial): pass
        """
    )

    result = suite.run("--runs", "1")

    result.assert_outcomes(errors=1, failed=1)


def test_junit_shows_missed_trials_as_passed_and_the_gate_as_a_test_case(any_suite: Suite):
    any_suite.run("--junitxml=junit.xml", model="policy:null")

    cases = {
        case.attrib["name"]: case for case in ElementTree.parse(any_suite.pytester.path / "junit.xml").iter("testcase")
    }
    assert [child.tag for child in cases["test_sum[policy:null-run-00]"]] == ["properties"]
    gate = cases["test_sum[policy:null-gate]"]
    properties = {entry.attrib["name"]: entry.attrib["value"] for entry in gate.iter("property")}
    assert gate.find("failure") is not None
    assert properties == {
        "trials": "10",
        "passed": "0",
        "pass_rate": "0.0",
        "band": "0.1-0.4",
        "verdict": "too hard",
        "proven": "False",
    }
    told = cases["test_sum[policy:null-run-00]"].iter("property")
    trial = {entry.attrib["name"]: entry.attrib["value"] for entry in told}
    assert trial["outcome"] == "missed"
    assert trial["task"] == "sum"


BROKEN_FIXTURE = """
from tasks import *

@pytest.fixture
def broken(request):
    if "run-01" in request.node.name:
        raise RuntimeError("broken")

@pytest.mark.rltask(task=Sum())
def test_sum(trial, broken):
    assert trial.passed
"""


def test_an_error_in_another_fixture_loses_no_trial(any_suite: Suite):
    any_suite.write(test_sum=BROKEN_FIXTURE)

    result = any_suite.run("--runs=4")

    records = any_suite.last_run().records
    outcomes = result.parseoutcomes()
    assert (outcomes["errors" if "errors" in outcomes else "error"], outcomes.get("missed")) == (1, 3)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    assert len(records) == 4
    assert all(record.graded for record in records.values()), "it is judged by --resume, and not played again"
    (row,) = any_suite.report()["rows"]
    assert (row["planned"], row["judged"], row["errored"]) == (4, 3, 1)


def test_a_warning_that_is_made_an_error_ends_its_item_and_no_run(suite: Suite):
    suite.write(
        test_sum="""
        from tasks import *

        class Mute(Episode):
            prompt, done = "Say something.", False
            def grade(self): return Grade(1.0, threshold=1.0)

        KNOWN_LATE = [Mute]

        @dataclass(frozen=True)
        class Saying(Task):
            policies = {"baseline": lambda view: (yield "something")}
            def open(self, seed): return KNOWN_LATE[seed * 0]()

        @pytest.mark.rltask(task=Saying())
        def test_saying(trial):
            assert trial.passed
        """
    )

    result = suite.run("--runs=2", "-W", "error::pytest_rltask.task.TaskWarning")

    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert "no tool" in result.stdout.str()
    assert len(suite.last_run().records) == 2


def test_a_replay_of_another_task_ends_its_item_and_no_run_where_warnings_are_errors(suite: Suite):
    suite.run("--runs=2")
    replayed = f"replay:{suite.run_dirs[-1]}"

    result = suite.run("--runs=2", "--conv-steps=7", "-W", "error::pytest_rltask.task.TaskWarning", model=replayed)

    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert "replays what was said of another task" in result.stdout.str()
    assert "limit turns was 10, is 7" in result.stdout.str()
    assert len(suite.last_run().records) == 2
