"""`--audit`: a sound task is green, and a task made unsound in one way turns the check of that way red."""

from __future__ import annotations

import os
import re
import signal
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from pytest_rltask.audit import leftovers

# A task that passes every check. Each test below replaces one part of it.
SOUND = '''
import itertools, os, random, subprocess, tempfile, threading
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Task, ToolError, call, tool

CLOCK = itertools.count()

class VaultEpisode(Episode):
    def __init__(self, task, seed):
        self.task, self.seed, self.given, self.graded = task, seed, None, 0
        self.code = f"{random.Random(seed).randrange(10**8):08d}"
        self.luck = 0.0  # at opening

    @property
    def prompt(self):
        return "Open the vault: submit its code of eight digits. 0.875 of them must be right, in 12 questions."

    @property
    def done(self):
        return self.given is not None

    @property
    def hidden(self):
        return {"the code": self.code}

    @tool
    def digit(self, place: int) -> str:
        """Tell one digit of the code.

        Args:
            place: Its place, from 0.
        """
        return self.code[place]

    @tool
    def submit(self, code: str) -> str:
        """Submit the code."""
        self.given = code
        return "submitted"

    def grade(self):
        self.graded += 1
        score = sum(map(str.__eq__, self.code, self.given or "")) / 8
        return Grade(score - self.luck, threshold=0.875, label="wrong code", reason=f"{score:g} of it is right")

    def close(self):
        pass

def solver(view):
    digits = []
    for place in range(8):
        digits.append((yield call("digit", place=place)).text)
    yield call("submit", code="".join(digits))

def naive(view):
    yield call("submit", code="12345678")

def cheat_ask(view):
    yield call("submit", code="all of them")

def cheat_places(view):
    yield [call("digit", place=place) for place in range(-8, 0)]

@dataclass(frozen=True)
class Vault(Task):
    policies = {"solver": solver, "naive": naive, "cheat_ask": cheat_ask, "cheat_places": cheat_places}

    @property
    def thresholds(self):
        return {"questions": 12}

    def open(self, seed):
        return VaultEpisode(self, seed)

@pytest.mark.rltask(task=Vault())
def test_vault(trial):
    assert trial.score >= 0.875, trial.reason
'''
CHECKS = {
    "oracle_max-solver",
    "episode_determinism",
    "episode_isolation",
    "verifier_determinism",
    "no_solution_leakage",
    "thresholds_stated",
    "seed_control",
    "seed_variation",
    "tools_offered",
    "floor_gap-null",
    "naive_floor",
    "canary_floor-cheat_ask",
    "canary_floor-cheat_places",
}


class Vault:
    """A folder with the task, and what an inner pytest makes of its audit."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        self.source = SOUND

    def change(self, old: str, new: str) -> Vault:
        """Replace a part of the source."""
        assert old in self.source
        self.source = self.source.replace(old, new)
        return self

    def audit(self, *arguments: str) -> pytest.RunResult:
        self.pytester.makepyfile(test_vault=self.source)
        return self.pytester.runpytest("--audit", *arguments)


@pytest.fixture
def vault(pytester: pytest.Pytester) -> Vault:
    return Vault(pytester)


@pytest.fixture
def _little_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is there to stay: there is nothing to wait for."""
    monkeypatch.setattr(leftovers, "GRACE_S", 0.05)


def red(result: pytest.RunResult) -> set[str]:
    """Return the checks that failed."""
    found = re.findall(r"^(?:FAILED|ERROR) \S+?\[audit-(\S+?)\]", result.stdout.str(), re.MULTILINE)
    assert len(found) == sum(result.parseoutcomes().get(word, 0) for word in ("failed", "errors"))
    return set(found)


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_a_sound_task_passes_every_check(vault: Vault, workers: tuple[str, ...]):
    result = vault.audit("-v", *workers)

    result.assert_outcomes(passed=len(CHECKS))
    assert set(re.findall(r"\[audit-(\S+)\]", result.stdout.str())) == CHECKS
    assert result.ret == pytest.ExitCode.OK
    assert not (vault.pytester.path / "logs").exists()
    assert "pass rates" not in result.stdout.str()


UNSOUND = {
    "a solver that misses": (
        'yield call("submit", code="".join(digits))',
        'yield call("submit", code="".join(reversed(digits)))',
        {"oracle_max-solver"},
        ["The policy solver missed 2 of 2 trials:", "seed 42: missed, score 0", "of it is right"],
    ),
    "doing nothing passes": (
        'self.given or "")',
        "self.code if self.given is None else self.given)",
        {"floor_gap-null", "canary_floor-cheat_places"},
        ["semantic.floor_gap", "Doing nothing passed:", "seed 42: passed, score 1 (threshold 0.875)"],
    ),
    "the naive policy passes": (
        "def naive(view):",
        "def naive(view):\n    yield from solver(view)",
        {"naive_floor"},
        ["The policy naive passed 2 of 2 trials:"],
    ),
    "a cheat passes": (
        'self.given or "")',
        'self.code if self.given == "all of them" else self.given or "")',
        {"canary_floor-cheat_ask"},
        ["semantic.canary_floor", "The policy cheat_ask passed by cheating:", "Grade(cheated=True)"],
    ),
    "a prompt from a clock": (
        "Open the vault: submit",
        'Open vault {next(CLOCK)}: submit".replace("{next(CLOCK)}", str(next(CLOCK))) + "',
        {"seed_control"},
        ["Seed 42, opened twice, gave another prompt:", "- Open vault "],
    ),
    "luck at opening": (
        "self.luck = 0.0",
        "self.luck = next(CLOCK) / 10**6",
        {"episode_determinism"},
        ["runtime.episode_determinism", "played seed 42 twice and got another grade:", "score: 0.99999"],
    ),
    "luck in the grader": (
        "Grade(score - self.luck",
        "Grade(score - self.graded / 10**6",
        {"verifier_determinism"},
        ["played by null, was graded twice, and got another grade:", "- score: -1e-06", "+ score: -2e-06"],
    ),
    "a metric from a clock": (
        "threshold=0.875, label",
        "threshold=0.875, metrics={'ticks': next(CLOCK)}, label",
        {"verifier_determinism"},
        ["+ ticks: "],
    ),
    "a grader that can be asked once": (
        "self.graded += 1",
        "self.graded = 1 / (1 - self.graded)",
        {"verifier_determinism"},
        ["could not be graded a second time: ZeroDivisionError"],
    ),
    "the prompt omits the threshold": (
        "0.875 of them must be right",
        "enough of them must be right",
        {"thresholds_stated"},
        ["The prompt does not state Grade.threshold = 0.875, which the grader enforces."],
    ),
    "the prompt omits another threshold": (
        ", in 12 questions",
        "",
        {"thresholds_stated"},
        ["The prompt does not state questions = 12, which"],
    ),
    "the prompt shows the seed": (
        "0.875 of",
        'This is vault_" + str(self.seed) + ". 0.875 of',
        {"no_solution_leakage"},
        ["The agent can read the seed 42: it stands in what the episode opens with."],
    ),
    "a tool shows the answer": (
        'return "submitted"',
        'return f"{code} for {self.code}"',
        {"no_solution_leakage"},
        ["The agent can read the code: it stands in message 19 of the conversation of policy:solver."],
    ),
    "a tool's description shows a hidden value": (
        '"the code": self.code',
        '"the code": self.code, "the trick": "from 0."',
        {"no_solution_leakage"},
        ["The agent can read the trick: it stands in the description of the tool digit."],
    ),
    "the prompt shows where the grader is": (
        '"Open the vault:',
        '__file__ + " opens the vault:',
        {"no_solution_leakage"},
        ["The agent can read the path of the module test_vault: it stands in the prompt."],
    ),
    "a tool shows a secret of the environment": (
        'return "submitted"',
        "return str(dict(os.environ))",
        {"no_solution_leakage"},
        ["The agent can read the environment variable BANK_API_KEY"],
    ),
}


@pytest.mark.parametrize(("old", "new", "expected", "said"), UNSOUND.values(), ids=UNSOUND)
def test_a_task_made_unsound_turns_the_check_of_that_red(
    vault: Vault, monkeypatch: pytest.MonkeyPatch, old: str, new: str, expected: set[str], said: list[str]
):
    monkeypatch.setenv("BANK_API_KEY", "0a1b2c3d4e5f")

    result = vault.change(old, new).audit()

    assert red(result) == expected
    assert all(phrase in result.stdout.str() for phrase in said), result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    assert result.ret == pytest.ExitCode.TESTS_FAILED


NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="it is looked up in /proc")


@pytest.mark.usefixtures("_little_grace")
@pytest.mark.parametrize(
    ("taken", "said"),
    [
        ("tempfile.mkdtemp(prefix='vault-')", "temporary file vault-"),
        ("threading.Timer(9, print).start()", "thread 'Thread-"),
        pytest.param("os.dup(0)", "open file ", marks=NEEDS_PROC),
    ],
    ids=["folder", "thread", "open file"],
)
def test_an_episode_that_leaves_something_behind(vault: Vault, taken: str, said: str):
    result = vault.change("self.luck = 0.0", f"self.luck = 0.0; {taken}").audit()

    assert red(result) == {"episode_isolation"}
    assert said in result.stdout.str()
    result.stdout.fnmatch_lines(["*runtime.episode_isolation", "Give it back in Episode.close(), *"])


@NEEDS_PROC
@pytest.mark.usefixtures("_little_grace")
@pytest.mark.parametrize(
    "start",
    [
        "subprocess.Popen(['sleep', '300']).pid",
        "subprocess.check_output('(sleep 300 >/dev/null & echo $!)', shell=True).decode().strip()",
    ],
    ids=["child", "daemon"],
)
def test_an_episode_that_leaves_a_process(vault: Vault, start: str):
    vault.change("self.luck = 0.0", f"self.luck = 0.0; print({start}, file=open({str(pids(vault))!r}, 'a'))")

    try:
        result = vault.audit("-k", "isolation or seed")
    finally:
        for pid in pids(vault).read_text().split():
            os.kill(int(pid), signal.SIGKILL)

    assert red(result) == {"episode_isolation"}
    assert re.search(r"process \d+ \(sleep 300\)", result.stdout.str())


def pids(vault: Vault) -> Path:
    return vault.pytester.path / "pids"


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
            "--- harness ---*",
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
