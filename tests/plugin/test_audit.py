"""`--audit`: a sound task is green; what decides is the test; what a check shows, and what is refused."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from tests.plugin.vault import CHECKS, Vault, red


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_a_sound_task_passes_every_check(vault: Vault, workers: tuple[str, ...]):
    result = vault.audit("-v", *workers)

    result.assert_outcomes(passed=len(CHECKS))
    assert set(re.findall(r"\[audit-(\S+)\]", result.stdout.str())) == CHECKS
    assert result.ret == pytest.ExitCode.OK
    assert not (vault.pytester.path / "logs").exists()
    assert "pass rates" not in result.stdout.str()


def test_what_a_red_check_shows(vault: Vault):
    vault.change('yield call("submit", code="".join(digits))', 'yield call("submit", code="00000000")')

    result = vault.audit("-k", "solver")

    result.stdout.fnmatch_lines(
        [
            "vault is not shown to be sound: semantic.oracle_max",
            "The policy solver missed 2 of 2 trials:",
            "  seed 42: missed, score 0* (threshold 0.875): * of it is right",
            "  seed 43: missed, *",
            "Either the task cannot be passed, *",
            "* Captured transcript call *",
            "--- prompt ---*",
            "Open the vault: *",
            "--- turn 1 ? calls digit ---*",
        ]
    )


@pytest.mark.parametrize(("wins", "expected"), [("(43, 44)", set()), ("(44,)", {"oracle_max-solver"})])
def test_a_solver_may_miss_one_seed_of_three(vault: Vault, wins: str, expected: set[str]):
    vault.change("    digits = []\n", f"    digits = [] if view.seed in {wins} else ['wrong']\n")

    assert red(vault.audit("-k", "solver")) == expected


@pytest.mark.parametrize(("wins", "expected"), [("(43,)", set()), ("(43, 44)", {"naive_floor"})])
def test_a_naive_policy_may_pass_one_seed_of_three(vault: Vault, wins: str, expected: set[str]):
    vault.change("def naive(view):", f"def naive(view):\n    if view.seed in {wins}: yield from solver(view)")

    assert red(vault.audit("-k", "naive")) == expected


def test_doing_nothing_may_not_pass_a_single_seed(vault: Vault):
    vault.change('self.given or "")', 'self.code if self.seed == 44 else self.given or "")')

    result = vault.audit("-k", "null")

    assert red(result) == {"floor_gap-null"}
    assert "seed 44: passed" in result.stdout.str()


def test_the_seeds_begin_at_the_one_given(vault: Vault):
    vault.change('self.given or "")', 'self.code if self.seed == 44 else self.given or "")')

    assert red(vault.audit("-k", "null", "--seed", "45")) == set()


def test_the_tests_own_assertion_decides(vault: Vault):
    vault.change(
        "assert trial.score >= 0.875, trial.reason",
        "assert trial.score < 0.875 and trial.task == Vault(), 'must not be opened'",
    )

    result = vault.audit()

    policies = {check for check in CHECKS if check.startswith(("oracle", "floor", "naive", "canary"))}
    assert red(result) == policies
    assert "seed 42: missed, score 1 (threshold 0.875): must not be opened" in result.stdout.str()


def test_a_cheat_that_the_grader_proves_has_not_passed(vault: Vault):
    vault.change('self.given or "")', 'self.code if self.given == "all of them" else self.given or "")')
    vault.change("threshold=0.875, label", "threshold=0.875, cheated=self.given == 'all of them', label")
    vault.change("assert trial.score >= 0.875, trial.reason", "pass")

    assert "canary_floor-cheat_ask" not in red(vault.audit("-k", "cheat"))


def test_a_fault_fails_the_check_that_met_it(vault: Vault):
    vault.change('yield call("submit", code="all of them")', 'raise RuntimeError("a bug of the policy")\n    yield')

    result = vault.audit()

    assert red(result) == {"canary_floor-cheat_ask"}
    result.stdout.fnmatch_lines(
        ["policy:cheat_ask, seed 42: errored, task fault: policy 'cheat_ask' raised RuntimeError: a bug of the policy"]
    )


def test_a_task_without_policies_is_told_that_it_lacks_a_solver(vault: Vault):
    vault.source = re.sub(r"    policies = .*\n", "", vault.source)

    result = vault.audit()

    assert red(result) == {"oracle_max-solver"}
    result.assert_outcomes(failed=1, passed=9)
    result.stdout.fnmatch_lines(
        ["The task ships no solver, *", "Write one, `def solver(view): *policies: ClassVar = {*"]
    )


def test_a_test_that_skips_skips_the_checks_that_it_judges(vault: Vault):
    vault.change("    assert trial.score", "    pytest.skip('not today')\n    assert trial.score")

    result = vault.audit()

    result.assert_outcomes(passed=8, skipped=5)


def test_other_parameters_and_fixtures_reach_the_test(vault: Vault):
    vault.source = vault.source.replace("def test_vault(trial)", "def test_vault(trial, least, tmp_path)")
    vault.change("@pytest.mark.rltask", '@pytest.mark.parametrize("least", [0.5, 0.9])\n@pytest.mark.rltask')
    vault.change("assert trial.score >= 0.875", "assert trial.score >= least and tmp_path")

    vault.audit("-k", "solver and 0.5").assert_outcomes(passed=1, deselected=2 * len(CHECKS) - 1)
    vault.audit().assert_outcomes(passed=2 * len(CHECKS))


def test_an_ordinary_test_beside_it_stays_what_it_is(vault: Vault):
    vault.source += "\ndef test_ordinary(tmp_path):\n    assert tmp_path\n"

    vault.audit().assert_outcomes(passed=len(CHECKS) + 1)


def test_listing_repeating_and_junit(vault: Vault):
    vault.change("self.luck = 0.0", "self.luck = next(CLOCK) / 10**6")

    listed = vault.audit("--collect-only", "-q")
    first = vault.audit("--junitxml=junit.xml")
    again = vault.audit("--lf")

    listed.stdout.fnmatch_lines(["test_vault.py::test_vault[[]audit-oracle_max-solver[]]", f"{len(CHECKS)} tests *"])
    first.assert_outcomes(passed=len(CHECKS) - 1, failed=1)
    again.assert_outcomes(failed=1)
    cases = ElementTree.parse(vault.pytester.path / "junit.xml").getroot().iter("testcase")
    said = {case.get("name"): {one.get("name"): one.get("value") for one in case.iter("property")} for case in cases}
    assert said["test_vault[audit-floor_gap-null]"] == {"task": "vault", "check": "semantic.floor_gap"}


@pytest.mark.parametrize(
    "given", [("--runs", "5"), ("--model", "policy:solver"), ("--resume", "last"), ("--sequential",)]
)
def test_an_option_of_trials_is_refused(vault: Vault, given: tuple[str, ...]):
    result = vault.audit(*given)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --audit plays the policies *leave out {given[0]}, or leave out --audit"])


def test_a_fixture_that_uses_trial_is_refused(vault: Vault):
    vault.change("@pytest.mark.rltask", "@pytest.fixture\ndef score(trial): return trial.score\n\n@pytest.mark.rltask")
    vault.change("def test_vault(trial)", "def test_vault(trial, score)")

    result = vault.audit()

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *its fixture 'score' uses trial, but with --audit*"])
