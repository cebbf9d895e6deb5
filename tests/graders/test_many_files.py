"""A grader that imports by a name made at run time, in a folder of many files: all count, and none is parsed."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_rltask.graders import project, sources, unread
from pytest_rltask.graders.project import MOST_READ, Project

GRADER = (
    "import importlib\nfrom named import SCALE\ndef load(name):\n    return importlib.import_module('rules.' + name)\n"
)


@pytest.fixture
def grader(tmp_path: Path) -> Path:
    """Write a grader beside more files than are read."""
    (tmp_path / "rules").mkdir()
    for n in range(MOST_READ):
        (tmp_path / f"rules/rule_{n}.py").write_text(f"def apply(x):\n    return x + {n}\nload = __import__('named')\n")
    (tmp_path / "named.py").write_text("SCALE = 2\n")
    (tmp_path / "grader.py").write_text(GRADER)
    return tmp_path / "grader.py"


def test_of_many_files_beside_those_alone_are_parsed_that_are_named(grader: Path, monkeypatch: pytest.MonkeyPatch):
    parsed: list[str] = []
    walked: list[Path] = []
    below = project._below
    monkeypatch.setattr(project, "read_source", lambda path: parsed.append(path.name) or sources.read_source(path))
    monkeypatch.setattr(project, "_below", lambda folder: walked.append(folder) or below(folder))
    files = Project(grader.parent)

    found = files.closure([grader])

    assert len(found) == MOST_READ + 2
    assert sorted(parsed) == ["grader.py", "named.py"]
    assert len(walked) == len(set(walked)) <= 2, "each folder once, though every file in it imports so"
    assert files.closure([grader]) == found
    assert len(parsed) == 2


def test_few_files_beside_are_read_as_any_other(grader: Path):
    (grader.parent / "rules/rule_0.py").unlink()
    (grader.parent / "rules/rule_1.py").unlink()

    found = Project(grader.parent).closure([grader])

    assert {name for source in found.values() for name in source.parts} >= {"apply", "load", "SCALE"}
    assert len(found) == MOST_READ


@pytest.mark.parametrize(
    "line",
    [
        "import far",
        "import os, far as near",
        "x = 1; import far",
        "try: import far\nexcept ImportError: pass",
        "from far import (\n    one,\n    two,\n)",
        "    from far.away import one  # late",
    ],
)
def test_what_an_unread_file_imports_from_elsewhere_counts_too(
    grader: Path, line: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "far").mkdir()
    (elsewhere / "far/__init__.py").write_text("FAR = 1\n")
    monkeypatch.syspath_prepend(str(elsewhere))
    (grader.parent / "rules/rule_7.py").write_text(f"import sys\n{line}\n")

    assert elsewhere / "far/__init__.py" in Project(grader.parent).closure([grader])


@pytest.mark.parametrize("reach", ["vars(x)", "getattr(x, name)", "getattr( x.y , f'{z}')", "eval('x')"])
def test_an_unread_file_that_makes_names_reaches_all(tmp_path: Path, reach: str):
    (tmp_path / "a.py").write_text(f"{reach}\n")
    (tmp_path / "b.py").write_text("getattr(x, 'name')\ngetattr(x.y, \"name\", None)\n")

    assert unread.read_whole(tmp_path / "a.py").reaches_any_name
    assert not unread.read_whole(tmp_path / "b.py").reaches_any_name
