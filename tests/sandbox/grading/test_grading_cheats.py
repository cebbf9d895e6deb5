"""Cheats against tests: none passes apart, and those that pass together are the ones that docs/coding.md names."""

from __future__ import annotations

from textwrap import dedent

import pytest

from pytest_rltask import IsolatedGrade, Sandbox, SandboxLimits, isolated_grade
from tests.sandbox.grading.cheats import CHEATS, HONEST, TESTS

FILES = {"test_solution.py": dedent(TESTS)}
OFTEN = {"exits as it is called", "is equal to anything", "patches pytest", "brings a conftest", "forges a report"}
"""Those that are tried in each run of the tests."""


def graded(folder: dict[str, str], *, together: bool) -> IsolatedGrade:
    with Sandbox(SandboxLimits(wall_s=60, memory_bytes=2**30)) as sandbox:
        sandbox.write_files(folder)
        return isolated_grade(sandbox, FILES, together=together, wall_s=30, call_s=3)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.slow) for name in CHEATS]
)
def test_no_cheat_passes_apart(name: str) -> None:
    grade = graded(CHEATS[name].folder, together=False)

    assert not grade.ok
    assert grade.share == 0.0, grade


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "exits as it is called" else pytest.mark.slow)
        for name, cheat in CHEATS.items()
        if name != "kills what runs it"
    ],
)
def test_together_those_pass_that_are_known_to(name: str) -> None:
    grade = graded(CHEATS[name].folder, together=True)

    assert grade.ok == CHEATS[name].works_together, grade


@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
def test_honest_code_passes(together: bool) -> None:
    grade = graded({"solution.py": HONEST}, together=together)

    assert grade.ok, grade
    assert (grade.share, grade.passed, grade.reason) == (1.0, 2, "")
