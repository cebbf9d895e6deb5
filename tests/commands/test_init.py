"""``rltask init``: what it writes is sound and in its band at once, and what was there stays as it was."""

from __future__ import annotations

import keyword
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.cli import main
from pytest_rltask.starter import wrong_name

ROOT = Path(__file__).parents[2]
SHARED = {"tasks/conftest.py", ".github/workflows/tasks.yml", "requirements-tasks.txt"}


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def play(folder: Path, *words: str) -> str:
    """Run a module in a folder, in a process of its own, and return what it wrote; it must end well."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_in_an_empty_folder_the_audit_is_green_and_the_baseline_in_its_band(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "find_number", "--into", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()

    next_words = [line.partition("pytest ")[2] for line in lines if "pytest " in line]
    assert next_words == ["tasks/find_number --audit", "tasks/find_number --model policy:baseline"]
    assert {line.removeprefix("created ") for line in lines if line.startswith("created")} == files(tmp_path).keys()
    quiet = ("-q", "-p", "no:cacheprovider")
    assert " passed in " in play(tmp_path, "pytest", *next_words[0].split(), *quiet)
    assert "find_number by policy:baseline: in band" in play(tmp_path, "pytest", *next_words[1].split(), *quiet)


@pytest.mark.slow
def test_the_options_of_its_conftest_reach_the_task(tmp_path: Path) -> None:
    main(["init", "find_number", "--into", str(tmp_path)])

    play(tmp_path, "pytest", "tasks", "--model=policy:baseline", "--guesses=10", "--runs=3", "--band=99,100", "-q")


@pytest.mark.slow
def test_in_a_project_of_its_own_kind_all_stays_as_it_was_and_the_task_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = {
        "conftest.py": "import pytest\n\n@pytest.fixture\ndef own():\n    return 1\n",
        "pyproject.toml": '[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\ntestpaths = ["tests"]\n',
        "tests/test_own.py": "def test_own(own):\n    assert own\n",
        "tasks/conftest.py": "# of the project\n",
        ".github/workflows/tasks.yml": "# of the project\n",
        "requirements-tasks.txt": "# of the project\n",
    }
    for name, text in there.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    assert main(["init", "another", "--into", str(tmp_path)]) == 0

    kept = {line.split()[1].rstrip(",") for line in capsys.readouterr().out.splitlines() if line.startswith("kept ")}
    assert kept == SHARED
    assert there.items() <= files(tmp_path).items()
    play(tmp_path, "pytest", "tasks/another", "--audit", "-q", "-n", "2")
    play(tmp_path, "pytest", "tasks/another", "--model", "policy:baseline", "-q")
    play(tmp_path, "pytest", "-q")


@pytest.mark.slow
def test_what_it_writes_passes_ruff_and_mypy(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")  # the project is here
    main(["init", "find_number", "--into", str(tmp_path)])
    main(["init", "b2", "--into", str(tmp_path)])
    rules = (ROOT / "pyproject.toml").read_text().partition("[tool.ruff]")[2].partition("[tool.ruff.lint.per-file")[0]
    convention = '[lint.pydocstyle]\nconvention = "google"\n'
    (tmp_path / "ruff.toml").write_text(rules.replace("[tool.ruff.", "[") + convention)

    play(tmp_path, "mypy", "--strict", "tasks/find_number", "tasks/conftest.py")
    for config in (("--isolated",), ("--config", "ruff.toml")):
        play(tmp_path, "ruff", "check", "--no-cache", *config, "tasks")
        play(tmp_path, "ruff", "format", "--no-cache", "--check", *config, "tasks")


def test_the_workflow_is_that_of_the_page_for_its_folder(tmp_path: Path) -> None:
    main(["init", "find_number", "--into", str(tmp_path)])

    page = (ROOT / "docs/ci.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    written = (tmp_path / ".github/workflows/tasks.yml").read_text()
    of_page = page.partition("\n")[2].replace("requirements.txt", "requirements-tasks.txt")
    assert written == of_page.replace("-m pytest --", "-m pytest tasks --")


@pytest.mark.parametrize("there", ["task.py", "policies.py", "test_find_number.py", "__init__.py"])
def test_nothing_is_written_where_a_file_of_its_own_is_there(
    tmp_path: Path, there: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "tasks/find_number" / there
    path.parent.mkdir(parents=True)
    path.write_text("mine")

    assert main(["init", "find_number", "--into", str(tmp_path)]) == 4

    assert files(tmp_path) == {f"tasks/find_number/{there}": "mine"}
    said = f"rltask: tasks/find_number/{there} exists, and nothing is written over; choose another NAME\n"
    assert capsys.readouterr().err == said


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tasks").write_text("mine")

    assert main(["init", "find_number", "--into", str(tmp_path)]) == 4
    assert main(["init", "find_number", "--into", str(tmp_path / "tasks")]) == 4

    assert files(tmp_path) == {"tasks": "mine"}
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "rltask: tasks exists, and nothing is written over; choose another NAME"
    assert told[1].endswith("cannot be written: Not a directory")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Find-It", "is no name of a Python module; write find_it"),
        ("../up", "is no name of a Python module; write up"),
        ("", "is no name of a Python module; write my_task"),
        ("2nd", "is no name of a Python module; write task_2nd"),
        ("ünder", "is no name of a Python module; write nder"),
        ("_own", "is no name of a Python module; write own"),
        ("class", "is taken by Python, pytest or an installed package; write class_task"),
        ("random", "is taken by Python, pytest or an installed package; write random_task"),
        ("pytest", "is taken by Python, pytest or an installed package; write pytest_task"),
        ("conftest", "is taken by Python, pytest or an installed package; write conftest_task"),
        ("limits", "would be the class Limits, which the task imports; write limits_task"),
        ("tool_error", "would be the class ToolError, which the task imports; write tool_error_task"),
        ("mapping", "would be the class Mapping, which the task imports; write mapping_task"),
        ("x" * 41, f"has more than 40 characters; write {'x' * 40}"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_with_one_that_can(
    tmp_path: Path, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", "--into", str(tmp_path), "--", name]) == 4

    assert capsys.readouterr().err == f"rltask: {name!r} {said}\n"
    assert files(tmp_path) == {}
    assert wrong_name(said.rpartition(" ")[2]) == ""


@given(st.text(max_size=60))
def test_any_name_is_either_good_or_has_a_better_one(name: str) -> None:
    wrong = wrong_name(name)

    assert bool(wrong) or (name.isidentifier() and not keyword.iskeyword(name))
    better = wrong.rpartition("; write ")[2]
    assert not wrong or wrong_name(better) == "", better
