"""The files of a new task, in an empty folder or beside what a project has: nothing that is there is written over."""

from __future__ import annotations

import importlib.util
import keyword
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import pytest_rltask

__all__ = ["Project", "wrong_name"]

FOLDER = "tasks"
LONGEST = 40
OWN = {"task.py": "task.py", "policies.py": "policies.py", "test_{}.py": "test.py"}
"""Files of the task's own, each by its name and its text."""
SHARED = {
    f"{FOLDER}/conftest.py": "conftest.py",
    ".github/workflows/tasks.yml": "workflow.yml",
    "requirements-tasks.txt": "requirements.txt",
}
"""Files for all tasks of a project: one that is there stays as it is."""
_IMPORTED = {"Any", "ClassVar", "Generator", "Mapping", "MappingProxyType", "Sequence"}
"""What the files import besides from this package; the task's class must not have the name of any."""


def wrong_name(name: str) -> str:
    """Say what keeps a name from being that of a task's folder, module and test; empty if nothing does.

    Example:
        >>> wrong_name("Find-It")
        'is no name of a Python module; write find_it'
    """
    better = "".join(c if c.isalnum() and c.isascii() else "_" for c in name).strip("_").lower()[:LONGEST]
    if better[:1].isdigit() or not better:
        better = f"task_{better}".rstrip("_")
    if keyword.iskeyword(better) or better in sys.stdlib_module_names or _is_imported(better):
        better = f"{better}_task" if better != "task" else "my_task"
    if not name.isidentifier() or not name.isascii() or name != name.lower() or name.startswith("_"):
        return f"is no name of a Python module; write {better}"
    if len(name) > LONGEST:
        return f"has more than {LONGEST} characters; write {better}"
    if _is_imported(name):
        return f"would be the class {_class_of(name)}, which the task imports; write {better}"
    if name in (FOLDER, "test", "tests", "conftest") or keyword.iskeyword(name) or _is_taken(name):
        return f"is taken by Python, pytest or an installed package; write {name}_task"
    return ""


def _class_of(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _is_imported(name: str) -> bool:
    return _class_of(name) in {*pytest_rltask.__all__, *_IMPORTED}


def _is_taken(name: str) -> bool:
    if name in sys.stdlib_module_names or name in sys.builtin_module_names:
        return True
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return True
    return found is not None and found.origin is not None


@dataclass(frozen=True)
class Project:
    """A folder that is to get a task.

    Args:
        root: the folder, which may hold a project already.
        name: of the task, as :func:`wrong_name` takes it.
    """

    root: Path
    name: str

    @property
    def folder(self) -> Path:
        """The task's own folder, from the root."""
        return Path(FOLDER, self.name)

    def own(self) -> dict[Path, str]:
        """Return the task's own files, from the root, and what they hold."""
        title = _class_of(self.name)
        texts = {self.folder / "__init__.py": f'"""The task {self.name}."""\n'}
        for path, text in OWN.items():
            named = _text(text).replace("new_task", self.name).replace("NewTask", title)
            texts[self.folder / path.format(self.name)] = named
        return texts

    def shared(self) -> Iterator[tuple[Path, str]]:
        """Yield the files that all tasks share, from the root, and what they hold."""
        for path, text in SHARED.items():
            yield Path(path), _text(text)

    def taken(self) -> list[Path]:
        """Return what stands in the way, from the root."""
        there = [path for path in self.own() if _is_there(self.root / path)]
        return there or [path for path in (self.folder, Path(FOLDER)) if _is_there(self.root / path, no_folder=True)]

    def write(self) -> tuple[list[Path], list[Path]]:
        """Write the files.

        Returns:
            Those that were written, and those of all tasks that were there and stay as they are.

        Raises:
            FileExistsError: one of the task's own has come to be there.
            OSError: one cannot be written.
        """
        written, kept = [], []
        for path, text in self.own().items():
            self._create(path, text)
            written.append(path)
        for path, text in self.shared():
            try:
                self._create(path, text)
                written.append(path)
            except FileExistsError:
                kept.append(path)
        return written, kept

    def _create(self, path: Path, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        with (self.root / path).open("x", encoding="utf-8") as file:
            file.write(text)


def _text(name: str) -> str:
    return (files("pytest_rltask.starter") / f"{name}.txt").read_text(encoding="utf-8")


def _is_there(path: Path, *, no_folder: bool = False) -> bool:
    return (path.exists() or path.is_symlink()) and not (no_folder and path.is_dir())
