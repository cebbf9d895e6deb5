"""Options whose names others have as well: theirs stay theirs, ours are reached by their true names."""

from __future__ import annotations

import pytest

from tests.conftest import next_words
from tests.plugin.test_human import SUITE

THEIRS = """
def pytest_addoption(parser):
    for flag in ("--seed", "--model", "--runs", "--band"):
        parser.addoption(flag, default="none")
    parser.addoption("--plan", action="store_true")
"""
ORDINARY = """
def test_own(pytestconfig):
    values = [pytestconfig.getoption(flag) for flag in ("--seed", "--model", "--runs", "--band", "--plan")]
    assert values == ["7", "tiny", "fast", "4-6 GHz", True]
"""
GIVEN = ("--seed", "7", "--model", "tiny", "--runs=fast", "--band", "4-6 GHz", "--plan")
SOLVABLE = SUITE.replace(
    "class FindNumber(Task):",
    "class FindNumber(Task):\n    policies = {'solver': lambda view: (yield call('guess', number=view.seed % 100))}",
).replace("import Episode", "import call, Episode")


@pytest.fixture
def theirs(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeconftest(THEIRS)
    return pytester


@pytest.mark.parametrize("without_us", [False, True])
def test_a_suite_with_such_options_runs_as_without_us(theirs: pytest.Pytester, without_us: bool) -> None:
    theirs.makepyfile(ORDINARY)
    out = ("-p", "no:pytest_rltask.plugin") if without_us else ()
    result = theirs.runpytest_subprocess(*GIVEN, *out, "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
    assert "rltask" not in result.stdout.str().replace("rltask-0.1.0", "").replace("pytest_rltask.plugin", "")


def test_a_plugin_with_such_options_may_be_loaded_after_us(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(their_plugin=THEIRS, test_own=ORDINARY)
    result = pytester.runpytest_subprocess("-p", "pytest_rltask.plugin", "-p", "their_plugin", *GIVEN)
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_suite_with_tasks_reaches_both(theirs: pytest.Pytester, workers: tuple[str, ...]) -> None:
    theirs.makepyfile(test_find=SOLVABLE)
    ours = ("--rltask-model", "policy:solver", "--rltask-runs=3", "--rltask-seed", "5", "--rltask-band", "50,100")
    result = theirs.runpytest_subprocess("--seed", "7", "--model", "tiny", *ours, *workers)
    assert result.ret == pytest.ExitCode.OK
    command = "rltask: pytest * --seed 7 --model tiny --rltask-model policy:solver --rltask-runs=3 *"
    claimed = "rltask: --runs --model --seed --band --plan belong to another plugin or conftest.py; for trials write "
    claimed += "--rltask-runs --rltask-model --rltask-seed --rltask-band --rltask-plan"
    result.stdout.fnmatch_lines([command, claimed, "find_number by policy:solver: *"])


def test_errors_and_the_next_command_name_what_can_be_written_here(theirs: pytest.Pytester) -> None:
    theirs.makepyfile(test_find=SOLVABLE)
    result = theirs.runpytest_subprocess("--rltask-model", "gpt-7", "--seed", "7")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --rltask-model: unknown model 'gpt-7'*"])
    ours = ("--rltask-model", "policy:solver", "--rltask-runs", "1", "--rltask-band", "9,100")
    result = theirs.runpytest_subprocess(*ours)
    words = [word for word in next_words(result) if not word.startswith("--basetemp")]
    assert words[1:5] == ["--rltask-model", "policy:solver", "--rltask-band", "9,100"]
    assert words[-3] == "--rltask-runs"
    assert words[-1].startswith("--resume=logs/run_")


def test_where_nobody_claims_them_short_and_true_names_are_one_option(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_find=SOLVABLE)
    result = pytester.runpytest_subprocess("--rltask-model", "policy:solver", "--runs", "2", "--rltask-band=50,100")
    assert result.ret == pytest.ExitCode.OK
    given = "--rltask-model policy:solver --runs 2 --rltask-band=50,100"
    result.stdout.fnmatch_lines([f"rltask: pytest * {given} --seed 42 --gate point --sandbox auto"])
    assert "belong" not in result.stdout.str()


def test_a_value_of_a_short_name_is_not_taken_for_a_path(pytester: pytest.Pytester) -> None:
    """Else conftest files of the folders to be tested would not be loaded at the start, nor their options known."""
    folder = pytester.mkpydir("suite")
    (folder / "conftest.py").write_text("def pytest_addoption(parser):\n    parser.addoption('--mine')\n")
    (folder / "test_own.py").write_text(
        "def test_own(pytestconfig):\n    assert pytestconfig.getoption('mine') == 'x'\n"
    )
    pytester.makeini("[pytest]\ntestpaths = suite\n")
    pytester.mkdir("elsewhere")
    result = pytester.runpytest_subprocess("--model", "policy:null", "--log-dir", "elsewhere", "--mine=x")
    result.assert_outcomes(passed=1)


def test_a_conftest_may_load_the_plugin(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeconftest("pytest_plugins = ['pytest_rltask.plugin']")
    pytester.makepyfile(test_find=SOLVABLE)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = pytester.runpytest_subprocess("--model", "policy:solver", "--runs", "1", "--band", "50,100")
    assert result.ret == pytest.ExitCode.OK


def test_the_help_shows_each_option_once_by_its_true_name(pytester: pytest.Pytester) -> None:
    said = pytester.runpytest_subprocess("--help").stdout.str()
    assert said.count("--rltask-runs=") == 1
    assert "  --runs" not in said
