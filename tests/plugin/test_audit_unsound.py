"""`--audit`: a task made unsound in one way turns the check of that way red."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from pytest_rltask.audit import leftovers
from tests.conftest import slow
from tests.plugin.vault import Vault, red


@pytest.fixture
def _little_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left is there to stay: there is nothing to wait for."""
    monkeypatch.setattr(leftovers, "GRACE_S", 0.05)


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
        slow("threading.Timer(9, print).start()", "thread 'Thread-"),
        pytest.param("os.dup(0)", "open file ", marks=(NEEDS_PROC, pytest.mark.slow)),
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
