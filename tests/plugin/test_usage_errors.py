"""Bad input gets one or two lines that name the fix, exit status 4, and no traceback."""

from __future__ import annotations

import pytest

from tests.conftest import Suite

HEAD = "from tasks import *\n"
MARKED = HEAD + "@pytest.mark.rltask({marker})\ndef test_sum({argument}): pass\n"


def assert_usage_error(result: pytest.RunResult, *said: str) -> None:
    """Assert exit status 4 and a short message that holds each phrase."""
    text = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    lines = [line for line in text.splitlines() if line.startswith("ERROR: ")]
    assert len(lines) == 1, text
    for phrase in said:
        assert phrase in lines[0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--runs", "0"], ["--runs 0 is not a whole number of at least 1", "write --runs 10"]),
        (["--runs", "many"], ["--runs many is not a whole number", "write --runs 10"]),
        (["--band", "40,10"], ["--band 40,10 is not a band", "write --band 10,40"]),
        (["--band", "10"], ["--band 10 is not a band", "write --band 10,40"]),
        (["--band", "0.1,0.4"], ["--band 0.1,0.4 is not a band LOW,HIGH in percent", "write --band 10,40"]),
        (["--runs", ""], ["--runs '' is not a whole number", "write --runs 10"]),
        (["--log-dir", "/dev/null/logs"], ["--log-dir /dev/null/logs: no run directory can be created in it"]),
        (["--band", "10,nan"], ["--band 10,nan is not a band"]),
        (["--seed", "-1"], ["--seed -1 is not a whole number of at least 0"]),
        (["--conv-steps", "0"], ["--conv-steps 0 is not a whole number of at least 1"]),
        (["--trial-timeout", "nan"], ["--trial-timeout nan is not a positive number of seconds"]),
        (["--gate", "loose"], ["--gate loose is not one of point, proven, strict"]),
        (
            ["--model", "gpt-7"],
            ["unknown model 'gpt-7'", "write claude-..., api:NAME, policy:NAME, replay:RUN_DIR or human"],
        ),
        (["--model", "policy:"], ["unknown model 'policy:'"]),
    ],
)
def test_an_option_that_cannot_be_used(pytester: pytest.Pytester, arguments: list[str], said: list[str]):
    with pytest.raises(pytest.UsageError) as error:
        pytester.parseconfigure(*arguments)

    assert all(phrase in str(error.value) for phrase in said)
    assert len(str(error.value).splitlines()) <= 2


@pytest.mark.parametrize("arguments", [("--runs", "0"), ("--band", "40,10"), ("--model", "gpt-7")])
def test_an_option_that_cannot_be_used_ends_the_run_before_anything_else(suite: Suite, arguments: tuple[str, ...]):
    assert_usage_error(suite.run(*arguments), arguments[0])
    assert suite.run_dirs == []


def test_an_ini_setting_that_cannot_be_used(suite: Suite):
    suite.pytester.makeini("[pytest]\nrltask_runs = none\n")

    result = suite.run()

    assert_usage_error(result, "ini setting rltask_runs: none is not a whole number", "write rltask_runs = 10")


def test_a_claude_model_without_a_key_names_both_ways_out(any_suite: Suite):
    result = any_suite.run(model=None)

    assert_usage_error(result, "claude-haiku-4-5-20251001 needs an API key", "ANTHROPIC_API_KEY", "policy:baseline")


def test_listing_the_trials_needs_no_key(suite: Suite):
    result = suite.run("--collect-only", "-q", model=None)

    assert result.ret == pytest.ExitCode.OK
    assert suite.run_dirs == []


def test_a_claude_model_without_a_key_names_a_policy_that_there_is(suite: Suite):
    tasks = (suite.pytester.path / "tasks.py").read_text()
    suite.write(tasks=tasks.replace('"baseline": knows(43, 46, 49),', ""))

    assert_usage_error(suite.run(model=None), "--model policy:solver")


def test_a_policy_that_the_task_does_not_ship(any_suite: Suite):
    result = any_suite.run(model="policy:clever")

    assert_usage_error(result, "task sum ships no such policy", "policy:solver, policy:null, policy:baseline")


@pytest.mark.parametrize(
    ("marker", "argument", "said"),
    [
        ("task=Sum()", "", "does not use its trial; write `def test_sum(trial):`"),
        ("", "trial", "needs a task; write @pytest.mark.rltask(task=MyTask())"),
        ("Sum(), None", "trial", "takes keywords"),
        ("task=int", "trial", "task is <class 'int'>, which is no Task"),
        ("task=3", "trial", "task is 3, which is no Task"),
        ("task=lambda: Sum()", "trial", "task must take the configuration; write `task=lambda config: ...`"),
        ("task=Sum(), turns=3", "trial", "knows no turns; it takes task, runs, band and name"),
        ("task=Sum(), runs=0", "trial", "runs=0 in the marker is not a whole number"),
        ("task=Sum(), band=(0.4, 0.1)", "trial", "band=(0.4, 0.1) in the marker is not a pair of shares"),
    ],
)
def test_a_marker_that_cannot_be_used(suite: Suite, marker: str, argument: str, said: str):
    suite.write(test_sum=MARKED.format(marker=marker, argument=argument))

    assert_usage_error(suite.run(), said)


def test_the_marker_on_a_method_of_a_test_case(any_suite: Suite):
    any_suite.write(
        test_sum=HEAD
        + """
import unittest
@pytest.mark.rltask(task=Sum())
class TestSum(unittest.TestCase):
    def test_sum(self): pass
"""
    )

    assert_usage_error(
        any_suite.run(),
        "test_sum.py::TestSum::test_sum has the marker rltask, but",
        "pytest gives methods of a unittest.TestCase no fixtures",
        "write a function, `def test_sum(trial):`",
    )


def test_a_marker_that_comes_too_late(suite: Suite):
    suite.write(
        test_sum="def test_sum(): pass\n",
        conftest="def pytest_collection_modifyitems(items): items[0].add_marker('rltask')\n",
    )

    assert_usage_error(
        suite.run(), "test_sum.py::test_sum got the marker rltask after it was collected", "write it above the function"
    )


def test_two_tests_whose_tasks_share_a_name(any_suite: Suite):
    any_suite.write(test_twice=MARKED.format(marker="task=Sum()", argument="trial"))

    assert_usage_error(any_suite.run(), "task name 'sum' is used by test_sum.py::test_sum and test_twice.py", 'name="')


def test_a_name_in_the_marker_tells_two_tests_of_one_task_apart(suite: Suite):
    suite.write(test_twice=MARKED.format(marker='task=Sum(), name="twice"', argument="trial"))

    suite.run("--runs", "1")

    assert {row["task"] for row in suite.report()["rows"]} == {"sum", "twice"}


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ("class A(Episode):\n    prompt = 'x'", "episode A has no grader; add `def grade(self) -> Grade: ...`"),
        ("class A(SumEpisode):\n    @tool\n    def t(self, x):\n        'T.'", "parameter 'x' has no type hint"),
        ("class A(SumEpisode):\n    def done(self): ...", "A.done is a property; write @property above"),
        (
            """class A(SumEpisode):\n    @tool\n    def t(self, x: 'Nowhere'):\n        'T.'
class B(Sum):\n    def open(self, seed) -> A: ...\nSum = B""",
            "type hints must name importable types",
        ),
    ],
)
def test_a_task_that_is_written_wrongly(suite: Suite, definition: str, said: str):
    suite.write(test_sum=HEAD + definition + "\n\n" + TEST_BODY)

    assert_usage_error(suite.run(), said)


TEST_BODY = "@pytest.mark.rltask(task=Sum())\ndef test_sum(trial): pass\n"


def test_a_task_that_is_written_wrongly_ends_a_distributed_run_alike(pytester: pytest.Pytester):
    suite = Suite(pytester, ("-n", "2"))
    suite.write(test_sum=HEAD + "class A(Episode):\n    prompt = 'x'\n\n" + TEST_BODY)

    assert_usage_error(suite.run(), "episode A has no grader")


def test_the_fixture_without_a_marker(suite: Suite):
    suite.write(test_sum="def test_sum(trial): pass\n")

    result = suite.run()

    result.stdout.fnmatch_lines(["*the fixture trial needs a task: @pytest.mark.rltask(task=MyTask())*"])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "is not a directory"),
        (lambda path: path.mkdir(), "is not a run directory of pytest-rltask: it has no run.json"),
        (lambda path: (path.mkdir(), (path / "run.json").write_text("{")), "run.json cannot be read"),
        (
            lambda path: (path.mkdir(), (path / "run.json").write_text("[]"), (path / "plan.json").write_text("[]")),
            "is not a run directory",
        ),
        (
            lambda path: (
                path.mkdir(),
                (path / "run.json").write_text('{"schema": 99}'),
                (path / "plan.json").write_text("[]"),
            ),
            "was written by a later version",
        ),
    ],
)
def test_a_directory_that_cannot_be_replayed(suite: Suite, make, said: str):
    make(suite.pytester.path / "other")

    assert_usage_error(suite.run(model="replay:other"), "--model replay:other", said)


def test_a_replay_of_more_runs_than_were_recorded(suite: Suite):
    suite.run("--runs", "2")

    result = suite.run("--runs", "3", model=f"replay:{suite.run_dirs[0]}")

    assert_usage_error(result, "no recorded trial of task sum with seed 44", "it has seeds 42 to 43")
