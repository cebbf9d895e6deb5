"""A task without tools, or that ignores its seed: warned of before it is paid for, found by the audit, or meant."""

from __future__ import annotations

import pytest

from tests.conftest import Suite
from tests.plugin.vault import SOUND, red

# A task with its test; each test below replaces a part of it.
PARROT = """
from dataclasses import dataclass
from typing import ClassVar
import random
import pytest
from pytest_rltask import Episode, Grade, Task, call, tool

class ParrotEpisode(Episode):
    def __init__(self, seed):
        self.word, self.said = random.Random(seed).choice(["crackers", "nuts", "seeds"]) + str(seed % 97), None
    @property
    def prompt(self):
        return f"Say {self.word}."
    @tool
    def say(self, word: str) -> str:
        \"\"\"Say a word.\"\"\"
        self.said = word
        return "said"
    def grade(self):
        return Grade(float(self.said == self.word), threshold=1.0)

def solver(view):
    yield call("say", word=view.prompt.split()[1].rstrip("."))

@dataclass(frozen=True)
class Parrot(Task):
    policies: ClassVar = {"solver": solver, "null": lambda view: (yield "no")}
    def open(self, seed):
        return ParrotEpisode(seed)

@pytest.mark.rltask(task=Parrot())
def test_parrot(trial):
    assert trial.passed
"""
NO_TOOL = ("    @tool\n", "")
NO_SEED = ("random.Random(seed)", "random.Random(7)"), ("str(seed % 97)", '"!"')
SHELVED = ("def __init__(self, seed):\n", "def __init__(self, seed):\n        self.seed, self.turn = seed, 0\n")
NOT_HANDED_ON = ("return ParrotEpisode(seed)", "return ParrotEpisode(7)")
MEANT = (
    "    policies: ClassVar",
    "    needs_tools: ClassVar = False\n    needs_seed: ClassVar = False\n    policies: ClassVar",
)
TOOLS = "*TaskWarning: the episodes of task Parrot have no tool, so that a model can only talk; write `@tool` above*"
SEED = "*TaskWarning: {} makes nothing of its seed, so all runs of task Parrot may play the same instance; draw*"


def parrot(suite: Suite, *changes: tuple[str, str]) -> Suite:
    """Write the task with parts of it replaced."""
    source = PARROT
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    (suite.pytester.path / "test_sum.py").unlink()
    return suite.write(test_parrot=source)


@pytest.mark.parametrize("command", [("--collect-only",), ("--plan",)])
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([NO_TOOL], TOOLS),
        (NO_SEED, SEED.format("ParrotEpisode")),
        ((*NO_SEED, SHELVED), SEED.format("ParrotEpisode")),
        ([NOT_HANDED_ON], SEED.format("Parrot.open")),
    ],
    ids=["no tool", "a seed that the episode ignores", "a seed that it but keeps", "a seed that is not handed on"],
)
def test_it_is_a_warning_of_our_own_before_anything_is_played(
    suite: Suite, command: tuple[str, ...], changes: list[tuple[str, str]], told: str
):
    result = parrot(suite, *changes).run(*command, model="policy:null")

    result.stdout.fnmatch_lines([told])
    assert result.stdout.str().count("TaskWarning") == 1
    assert suite.run_dirs == []


@pytest.mark.parametrize(
    "use",
    [
        ('return f"Say {self.word}."', 'return f"Say {self.word}. It is {self.seed}."'),
        ("self.said = word\n", "self.said = word\n        shuffled(self)\n"),
        ("return ParrotEpisode(seed)", "return shuffled(ParrotEpisode(seed))"),
        ("return ParrotEpisode(seed)", "episode = ParrotEpisode(seed); shuffled(episode); return episode"),
    ],
    ids=["it is read", "something else may read it", "of what is returned", "or of what was made"],
)
def test_a_seed_that_is_kept_for_use_is_not_warned_of(suite: Suite, use: tuple[str, str]):
    result = parrot(suite, *NO_SEED, SHELVED, use).run("--collect-only", model="policy:null")

    assert "TaskWarning" not in result.stdout.str()


def test_a_task_that_means_it_is_not_warned_of(suite: Suite):
    result = parrot(suite, NO_TOOL, *NO_SEED, MEANT).run("--runs", "2", model="policy:null")

    assert "TaskWarning" not in result.stdout.str()


@pytest.mark.parametrize(("setting", "errors", "shown"), [("ignore", 0, 0), ("error", 1, 1)])
def test_its_category_can_be_silenced_or_be_an_error(suite: Suite, setting: str, errors: int, shown: int):
    how = f"{setting}::pytest_rltask.TaskWarning"

    result = parrot(suite, NO_TOOL).run("--runs", "1", "-W", how, model="policy:null")

    assert result.parseoutcomes().get("errors", 0) + result.parseoutcomes().get("error", 0) == errors
    assert ("TaskWarning: the episodes" in result.stdout.str()) == bool(shown)
    assert "INTERNALERROR" not in result.stdout.str()


def test_tools_that_code_alone_does_not_show_are_missed_once_trials_are_played(any_suite: Suite):
    hidden = ("return ParrotEpisode(seed)", "return globals()['Parrot' + 'Episode'](seed)")

    result = parrot(any_suite, NO_TOOL, hidden).run("--runs", "4", model="policy:null")

    result.stdout.fnmatch_lines([TOOLS])
    assert result.stdout.str().count("TaskWarning") == 1


@pytest.mark.parametrize(
    ("changes", "expected", "told"),
    [
        ([], set(), []),
        ([NO_TOOL], {"tools_offered", "oracle_max-solver"}, ["A trial would be nothing but talk."]),
        (
            NO_SEED,
            {"seed_variation"},
            ["The seeds 42, 43, 44 open the same episode: *", "*needs_seed: ClassVar = False*"],
        ),
        ([*NO_SEED, MEANT], set(), []),
    ],
    ids=["sound", "no tool", "no seed", "meant"],
)
def test_it_is_a_finding_of_the_audit(
    suite: Suite, changes: list[tuple[str, str]], expected: set[str], told: list[str]
):
    result = parrot(suite, *changes).run("--audit", "-k", "seed or tools or oracle", model=None)

    assert red(result) == expected
    result.stdout.fnmatch_lines(told)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("random.Random(seed)", "random.Random(7)", {"seed_variation"}),
        # What is hidden is not declared: the answers of the tool, to the same calls, tell the seeds apart.
        ('return {"the code": self.code}', "return {}", set()),
    ],
    ids=["one code for all seeds", "nothing declared"],
)
def test_seeds_are_told_apart_by_what_a_policy_meets(suite: Suite, old: str, new: str, expected: set[str]):
    assert old in SOUND
    (suite.pytester.path / "test_sum.py").unlink()

    result = suite.write(test_vault=SOUND.replace(old, new)).run("--audit", "-k", "seed_variation", model=None)

    assert red(result) == expected


def test_a_seed_that_is_merely_quoted_tells_nothing_apart(suite: Suite):
    source = SOUND.replace("random.Random(seed)", "random.Random(7)")
    source = source.replace("0.875 of them must", 'This is number " + str(self.seed) + ". 0.875 of them must')
    source = source.replace('return "submitted"', 'return f"submitted in {self.seed}"')
    source = source.replace('yield call("submit", code="".join(digits))', 'yield call("submit", code=f"{view.seed}")')
    (suite.pytester.path / "test_sum.py").unlink()

    result = suite.write(test_vault=source).run("--audit", "-k", "seed_variation", model=None)

    assert red(result) == {"seed_variation"}
