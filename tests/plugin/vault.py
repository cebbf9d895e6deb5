"""What the tests of `--audit` share: a task that passes every check, and what a check says that failed."""

from __future__ import annotations

import re

import pytest

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


def red(result: pytest.RunResult) -> set[str]:
    """Return the checks that failed."""
    found = re.findall(r"^(?:FAILED|ERROR) \S+?\[audit-(\S+?)\]", result.stdout.str(), re.MULTILINE)
    assert len(found) == sum(result.parseoutcomes().get(word, 0) for word in ("failed", "errors"))
    return set(found)
