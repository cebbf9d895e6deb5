"""What a test's parameters do to its task: which of them reach it, and what is told of those that do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_rltask.suite.items import TrialParam, param_of
from pytest_rltask.suite.parameters import shown
from tests.conftest import SUITE, Suite
from tests.plugin.test_usage_errors import assert_usage_error

BUGS = """
import functools
from tasks import *

@dataclass(frozen=True)
class Bugfix(Sum):
    bugs: object = 1
    size: object = "s"

class Needy(Bugfix):
    def __init__(self, bugs): object.__setattr__(self, "bugs", bugs)

@dataclass(frozen=True)
class Picky(Bugfix):
    def __post_init__(self):
        if self.bugs > 1: raise ValueError("one bug at most")

rltask, parametrize, param = pytest.mark.rltask, pytest.mark.parametrize, pytest.param

"""
Params = Callable[..., list[TrialParam]]
ANY = ("--band", "0,100")


@pytest.fixture
def params(pytester: pytest.Pytester) -> Params:
    """What the items of a test play."""
    pytester.makepyfile(tasks=SUITE)

    def params(test: str, *arguments: str) -> list[TrialParam]:
        path = pytester.makepyfile(test_bugs=BUGS + test)
        items, _ = pytester.inline_genitems(path, "--model", "policy:null", "--runs", "1", *arguments)
        return list(filter(None, map(param_of, items)))

    return params


@pytest.mark.parametrize(
    ("test", "bugs"),
    [
        ('@rltask(task=Bugfix)\n@parametrize("bugs", [1, 2])\ndef test_a(trial): pass', [1, 2]),
        ('@rltask(task=Bugfix)\n@parametrize("bugs", [1, 2])\ndef test_a(trial, bugs): pass', [1, 2]),
        ('@rltask(task=functools.partial(Bugfix, size=3))\n@parametrize("bugs", [2])\ndef test_a(trial): pass', [2]),
        ('@rltask(task=lambda c, bugs: Bugfix(bugs=bugs))\n@parametrize("bugs", [2])\ndef test_a(trial): pass', [2]),
        ('@rltask(task=lambda bugs: Bugfix(bugs=bugs))\n@parametrize("bugs", [2])\ndef test_a(trial): pass', [2]),
        ('@rltask(task=lambda *, bugs: Bugfix(bugs=bugs))\n@parametrize("bugs", [2])\ndef test_a(trial): pass', [2]),
        ('@rltask(task=lambda c, **k: Bugfix(**k))\n@parametrize("bugs", [2])\ndef test_a(trial): pass', [2]),
        ("@rltask(task=lambda c, bugs=7: Bugfix(bugs=bugs))\ndef test_a(trial): pass", [7]),
        ("@rltask(task=Bugfix)\ndef test_a(trial): pass", [1]),
        (
            '@parametrize("bugs,size", [(1, 2), param(3, 4)])\n@rltask(task=Bugfix)\ndef test_a(trial): pass',
            [1, 3],
        ),
        (
            '@rltask(task=Bugfix)\nclass TestBugs:\n  @parametrize("bugs", [4])\n  def test_a(self, trial): pass',
            [4],
        ),
        (
            '@parametrize("bugs", [5])\nclass TestBugs:\n  @rltask(task=Bugfix)\n  def test_a(self, trial): pass',
            [5],
        ),
        (
            (
                'def pytest_generate_tests(metafunc): metafunc.parametrize("bugs", [6])\n'
                "@rltask(task=Bugfix)\ndef test_a(trial, bugs): pass"
            ),
            [6],
        ),
    ],
)
def test_a_task_is_made_of_the_parameters_that_it_takes(params: Params, test: str, bugs: list[int]):
    assert [param.task.bugs for param in params(test)] == bugs  # type: ignore[attr-defined]


def test_stacked_parameters_make_a_task_each(params: Params):
    found = params(
        '@rltask(task=Bugfix)\n@parametrize("bugs", [1, 2])\n@parametrize("size", "sl")\ndef test_a(trial): 1'
    )

    assert [dict(param.parameters) for param in found] == [
        {"size": "s", "bugs": 1},
        {"size": "s", "bugs": 2},
        {"size": "l", "bugs": 1},
        {"size": "l", "bugs": 2},
    ]
    assert len({param.task.digest() for param in found}) == 4
    assert [param.variant for param in found] == ["s-1", "s-2", "l-1", "l-2"]


def test_the_configuration_is_given_beside_the_parameters(params: Params):
    make = "def make(bugs, config): return Bugfix(bugs=(bugs, config.getoption('maxfail')))\n"

    (found,) = params(make + '@rltask(task=make)\n@parametrize("bugs", [2])\ndef test_a(trial): pass', "--maxfail", "9")

    assert found.task.bugs == (2, 9)  # type: ignore[attr-defined]


def test_a_value_may_have_a_marker_of_its_own(params: Params):
    found = params(
        '@rltask(task=Bugfix, band=(0.5, 0.6))\n@parametrize("bugs", [1, param(2, marks=rltask(band=(0.05, 0.2))), '
        "param(3, marks=[rltask(name='hard')])])\ndef test_a(trial): pass"
    )

    assert [(str(param.band), param.task_name) for param in found] == [
        ("50-60 %", "bugfix"),
        ("5-20 %", "bugfix"),
        ("50-60 %", "hard"),
    ]


def test_a_value_may_have_more_runs_or_fewer(pytester: pytest.Pytester):
    pytester.makepyfile(tasks=SUITE)
    test = (
        '@rltask(task=Bugfix, runs=2)\n@parametrize("bugs", [1, param(2, marks=rltask(runs=3))])\ndef test_a(trial): 1'
    )
    items, _ = pytester.inline_genitems(pytester.makepyfile(test_bugs=BUGS + test), "--model", "policy:null")

    assert [item.name for item in items] == [
        "test_a[policy:null-run-00-1]",
        "test_a[policy:null-run-00-2]",
        "test_a[policy:null-run-01-1]",
        "test_a[policy:null-run-01-2]",
        "test_a[policy:null-run-02-2]",
    ]


def test_a_class_has_a_marker_that_its_methods_add_to(params: Params):
    found = params(
        "@rltask(task=Bugfix, band=(0.5, 0.6))\nclass TestBugs:\n  def test_a(self, trial): pass\n"
        "  @rltask(name='other')\n  def test_b(self, trial): pass\n"
    )

    assert [(param.task_name, str(param.band)) for param in found] == [("bugfix", "50-60 %"), ("other", "50-60 %")]


def test_a_value_that_a_mark_skips_is_not_played(suite: Suite):
    marks = "param(2, marks=pytest.mark.skip), param(3, marks=pytest.mark.xfail)"
    suite.write(
        test_bugs=f'{BUGS}@rltask(task=Bugfix)\n@parametrize("bugs", [1, {marks}])\ndef test_a(trial): pass',
        test_sum="",
    )

    result = suite.run(*ANY, "--runs", "2")

    result.assert_outcomes(passed=2, skipped=2, xpassed=2)
    assert {trial.parameters["bugs"] for trial in suite.last_run().plan} == {1, 3}  # who is skipped is not of the run
    suite.run(*ANY, "--runs", "2", model=f"replay:{suite.run_dirs[0]}").assert_outcomes(passed=2, skipped=2, xpassed=2)


VALUES = [0.1, None, "a[b]/c::d", "ü\u202e", "x" * 300, float("nan"), (1, 2), object()]


def test_odd_values_name_rows_and_are_kept(suite: Suite):
    suite.write(
        test_bugs=f"{BUGS}VALUES = [0.1, None, 'a[b]/c::d', 'ü\\u202e', 'x' * 300, float('nan'), (1, 2), object()]\n"
        '@rltask(task=Bugfix)\n@parametrize("bugs", VALUES)\ndef test_a(trial): pass',
        test_sum="",
    )

    result = suite.run(*ANY, "--runs", "2")

    result.assert_outcomes(passed=2 * len(VALUES))
    plan = suite.last_run().plan
    assert [trial.parameters["bugs"] for trial in plan[: len(VALUES) - 1]] == list(map(shown, VALUES[:-1]))
    assert len({trial.test for trial in plan}) == len(VALUES)
    assert len(list((suite.run_dirs[0] / "transcripts").iterdir())) == 2 * len(VALUES)
    assert "\u202e" not in result.stdout.str()
    suite.run(*ANY, "--runs", "2", f"--resume={suite.run_dirs[0]}").assert_outcomes(passed=2 * len(VALUES))
    assert len(suite.run_dirs) == 1


def test_a_value_that_cannot_show_itself_is_kept_as_what_it_is():
    class Silent:
        def __repr__(self) -> str:
            raise RuntimeError

    assert shown(Silent()) == "a Silent"
    assert len(shown("y" * 1000)) == 200


@pytest.mark.parametrize(
    ("test", "said"),
    [
        (
            '@rltask(task=Bugfix)\n@parametrize("bug", [1])\ndef test_a(trial): pass',
            ["its task takes no 'bug': Bugfix has the fields threshold, bugs, size", '@pytest.mark.parametrize("bugs"'],
        ),
        (
            '@rltask(task=Bugfix())\n@parametrize("bugs", [1])\ndef test_a(trial): pass',
            [
                "the task is made already, Bugfix(...), so that bugs cannot reach it; write task=Bugfix",
                "def test_a(trial, bugs)",
            ],
        ),
        ("@rltask(task=Needy)\ndef test_a(trial): pass", ["Needy has no value for bugs", "task=Needy(bugs=...)"]),
        (
            '@rltask(task=Picky)\n@parametrize("bugs", [1, 2])\ndef test_a(trial): pass',
            ["Picky(bugs=2) cannot be made: one bug at most"],
        ),
        (
            '@rltask(task=lambda config, bug: Bugfix(bugs=bug))\n@parametrize("bugs", [1])\ndef test_a(trial, bugs): 1',
            ["the task asks for bug, but the test is parametrised by bugs"],
        ),
        (
            '@rltask(task=lambda bug: Bugfix(bugs=bug))\n@parametrize("bugs", [1])\ndef test_a(trial, bugs): 1',
            ["the task's 'bug' names none of the test's parameters", "`task=lambda config, bugs: ...`"],
        ),
        (
            (
                "@pytest.fixture\ndef bugs(request): return request.param\n"
                '@rltask(task=Needy)\n@parametrize("bugs", [1], indirect=True)\ndef test_a(trial, bugs): 1'
            ),
            ["a fixture makes bugs in the test's turn, when Needy has long been made; leave out indirect"],
        ),
        (
            (
                "@pytest.fixture(params=[1, 2])\ndef bugs(request): return request.param\n"
                "@rltask(task=lambda config, bugs: Bugfix(bugs=bugs))\ndef test_a(trial, bugs): 1"
            ),
            ["a fixture makes bugs in the test's turn"],
        ),
        (
            '@rltask(task=Bugfix)\n@parametrize("bugs", [param(1, marks=rltask(turns=3))])\ndef test_a(trial): 1',
            ["the marker rltask knows no turns"],
        ),
        (
            (
                "def pytest_generate_tests(metafunc): metafunc.parametrize('bugs', [param(1, marks=rltask(runs=30))])\n"
                "@rltask(task=Bugfix)\ndef test_a(trial, bugs): 1"
            ),
            ["runs=30 of a parameter's value is more than the test's 10", "or the values as a list"],
        ),
    ],
)
def test_what_cannot_reach_a_task_is_told_with_the_line_to_write(suite: Suite, test: str, said: list[str]):
    suite.write(test_bugs=BUGS + test, test_sum="")

    assert_usage_error(suite.run(), "test_bugs.py::test_a: ", *said)


def test_parameters_of_a_class_of_the_same_name_as_a_field_that_do_not_reach_it_are_warned_of(suite: Suite):
    suite.write(
        test_bugs=f'{BUGS}@rltask(task=Bugfix())\n@parametrize("bugs", [1, 2])\ndef test_a(trial, bugs): pass',
        test_sum="",
    )

    result = suite.run(*ANY, "--runs", "2")

    said = "2 rows play the same trials: test_bugs.py::test_a: bugs does not reach the task"
    result.stdout.fnmatch_lines(
        [f"rltask: {said}*", "*TaskWarning: the parameter bugs does not reach the field of Bugfix*"]
    )
    planned = suite.run("--plan", "--runs", "2").stdout.str()
    assert said in planned


def test_a_replay_of_parameters_finds_each_its_own(any_suite: Suite, tmp_path: Path):
    test = '@rltask(task=Bugfix)\n@parametrize("bugs", {})\ndef test_a(trial): pass\n'
    any_suite.write(test_bugs=BUGS + test.format("[1, 2]"))
    any_suite.run(*ANY, "--runs", "2", "test_bugs.py")
    recorded = any_suite.run_dirs[0]

    one = any_suite.run(*ANY, "--runs", "2", "test_bugs.py::test_a", model=f"replay:{recorded}")
    any_suite.write(test_bugs=BUGS + test.format("[2, pytest.param(3, id='three')]"))
    other = any_suite.run(*ANY, "--runs", "2", "test_bugs.py", model=f"replay:{recorded}")

    one.assert_outcomes(passed=4)
    assert_usage_error(other, "no recorded trial of task bugfix[three] with seed 42; it has no trial of it")
    any_suite.run(
        "--band", "0,100", "--runs", "2", "-k", "not three", "test_bugs.py", model=f"replay:{recorded}"
    ).assert_outcomes(passed=2)


def test_a_replay_of_one_test_asks_for_no_trials_of_others(suite: Suite):
    suite.run(*ANY, "--runs", "2")
    both = "from tasks import *\n@pytest.mark.rltask(task=Sum())\ndef test_sum(trial): pass\n"
    suite.write(test_sum=f"{both}@pytest.mark.rltask(task=Sum(), name='other')\ndef test_other(trial): pass\n")

    suite.run(
        "--band", "0,100", "--runs", "2", "test_sum.py::test_sum", model=f"replay:{suite.run_dirs[0]}"
    ).assert_outcomes(passed=2)


def test_an_audit_plays_the_task_of_each_parameter(suite: Suite):
    suite.write(
        test_bugs=f"{BUGS}class Cheated(Bugfix):\n    policies = dict(Sum.policies, cheat_more=says(-1))\n"
        "@rltask(task=lambda config, bugs: (Bugfix if bugs == 1 else Cheated)(bugs=bugs), name='b')\n"
        '@parametrize("bugs", [1, 2])\ndef test_a(trial, bugs): assert bugs == trial.task.bugs',
        test_sum="",
    )

    result = suite.run("--audit", "-v", model=None)

    text = result.stdout.str()
    assert "test_a[audit-canary_floor-cheat_more-2] PASSED" in text
    assert "canary_floor-cheat_more-1" not in text
    assert "test_a[audit-oracle_max-solver-1] PASSED" in text


def test_a_sweep_goes_on_with_further_values(suite: Suite):
    test = '@rltask(task=Bugfix)\n@parametrize("tol", [{tol}])\n@parametrize("bugs", {bugs})\ndef test_a(trial, tol): 1'
    once = (*ANY, "--runs", "2")
    suite.write(test_bugs=BUGS + test.format(bugs="[1]", tol="param(1, id='t')"), test_sum="")
    suite.run(*once)
    run = f"--resume={suite.run_dirs[0]}"

    suite.write(test_bugs=BUGS + test.format(bugs="[2, param(1, marks=rltask(band=(0, 0.5)))]", tol="param(1, id='t')"))
    suite.run(*once, run).stdout.fnmatch_lines(["rltask: resuming *: 2 trials reused, 2 missing to be played"])
    suite.write(test_bugs=BUGS + test.format(bugs="[1]", tol="param(9, id='t')"))
    changed = suite.run(*once, run)

    assert_usage_error(changed, "what grades task bugfix changed: parameter tol was 1, is 9")
