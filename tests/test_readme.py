"""Everything README shows runs as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from pytest_rltask.suite.options import OPTIONS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.removeprefix("$ ").partition("#")[0].strip()
    for page in (README, *(path.read_text() for path in sorted(ROOT.glob("benchmarks/*/README.md"))))
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    for line in block.splitlines()
]
PYTEST_COMMANDS = [command for command in COMMANDS if "pytest " in command and "pip" not in command]


def python_block() -> str:
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return str(block)


def test_the_shown_task_fits_in_a_hundred_lines_and_runs(pytester: pytest.Pytester):
    pytester.makepyfile(test_number=python_block())

    result = pytester.runpytest("test_number.py", "--model", "policy:baseline", "--runs", "20", "--gate", "proven")

    assert len(python_block().splitlines()) < 100
    assert result.ret == pytest.ExitCode.OK
    result.stdout.re_match_lines(
        [r"find_number by policy:baseline: .*", r"  \d+ of 20 passed .*", r".* passed, .* missed.*"]
    )


def test_the_shown_task_is_sound(pytester: pytest.Pytester):
    pytester.makepyfile(test_number=python_block())

    result = pytester.runpytest("test_number.py", "--audit")

    result.assert_outcomes(passed=11)


def test_the_shown_task_is_not_solved_by_doing_nothing(pytester: pytest.Pytester):
    pytester.makepyfile(test_number=python_block())

    result = pytester.runpytest("test_number.py", "--model", "policy:null")

    result.stdout.re_match_lines([r".*10 x not found", r".*1 failed,.* 10 missed.*"])


@pytest.mark.parametrize("command", PYTEST_COMMANDS)
def test_the_options_of_each_shown_command_exist(pytester: pytest.Pytester, command: str):
    pytester.makeconftest("from benchmarks.imbalance.options import add_options as pytest_addoption")
    words = shlex.split(command)

    config = pytester.parseconfig(*words[1:])

    assert config.getoption("rltask_runs") in (None, "20", "10", "5", "3")


def test_the_table_of_options_is_complete():
    shown = set(re.findall(r"^\| `(--[a-z-]+)", README.partition("## Options")[2], re.MULTILINE))

    assert shown == {option.flag for option in OPTIONS} | {"--model"}


def test_each_shown_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()

    for target in set(re.findall(r"(?:`|\$ )make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_code_block_ends_on_a_line_of_its_own():
    for page in (ROOT / "README.md", *ROOT.glob("benchmarks/*/README.md")):
        fences = [line for line in page.read_text().splitlines() if "```" in line]
        assert len(fences) % 2 == 0, page
        assert all(line.startswith("```") for line in fences), page
