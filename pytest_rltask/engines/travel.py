"""What of a project travels to other machines, and how its modules are found there under the names that they have here.

A task travels by the name of its class, and its module by its file: pytest imports test modules and ``conftest.py``
under names that no import path need lead to, and an agent's sandbox hides the project by the files of the task's
modules. So a machine elsewhere, which has a copy of the project in some folder, imports the same names from there.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

__all__ = ["Project", "code_digest", "described", "installed"]

_OURS = __name__.partition(".")[0]


@dataclass(frozen=True)
class Project:
    """Where a process finds its modules; all paths are relative to the project's root."""

    modules: tuple[tuple[str, str, bool], ...]
    """Each module that was imported from the project: its name, its file, and whether it is a package."""
    paths: tuple[str, ...]
    """The entries of the import path that lie in the project, in their order."""
    folder: str
    """The working directory."""
    inside: str = ""
    """Where the root lies in what travels."""


def described(root: Path, folder: str, *, inside: str = "") -> Project:
    """Describe the project of this process.

    Args:
        root: of the project.
        folder: the working directory of trials.
        inside: where the root lies in what travels.
    """
    top = os.path.realpath(root)
    found = []
    for name, module in sorted(sys.modules.copy().items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or name.partition(".")[0] == _OURS or not isinstance(file, str):
            continue
        path = _relative(file, top)
        if path.endswith(".py"):
            found.append((name, path, hasattr(module, "__path__")))
    paths = [_relative(entry or os.getcwd(), top) for entry in sys.path]
    return Project(tuple(found), tuple(path for path in paths if path), _relative(folder, top) or ".", inside)


def _relative(path: str, top: str) -> str:
    """Return a path relative to the project; empty if it lies elsewhere, or belongs to an environment in there."""
    real = os.path.realpath(path)
    if real != top and not real.startswith(top.rstrip("/") + "/"):
        return ""
    prefixes = {os.path.realpath(prefix) for prefix in (sys.prefix, sys.base_prefix)} - {top}
    if any(real == prefix or real.startswith(prefix + "/") for prefix in prefixes) or "site-packages" in real:
        return ""
    return os.path.relpath(real, top)


@functools.cache
def installed(project: Project) -> str:
    """Have this process import the project's modules from its working directory, where a copy lies; return its root."""
    base = os.path.normpath(os.path.join(os.getcwd(), project.inside))
    mapped = [os.path.normpath(os.path.join(base, path)) for path in project.paths]
    sys.path[:] = [*dict.fromkeys(mapped), *(entry for entry in sys.path if entry not in mapped)]
    names = {name: (os.path.join(base, path), is_package) for name, path, is_package in project.modules}
    for name in names:  # whatever a worker imported before under such a name was another project's
        if (own := sys.modules.get(name)) is not None and _file(own) != names[name][0]:
            del sys.modules[name]
    sys.meta_path.insert(0, _Named(names))
    sys.meta_path.append(_Parents(names))
    folder = os.path.join(base, project.folder)
    if os.path.isdir(folder):
        os.chdir(folder)
    return base


def _file(module: ModuleType) -> str:
    return os.path.realpath(getattr(module, "__file__", None) or "")


class _Named(importlib.abc.MetaPathFinder):
    """Finds modules by their names alone."""

    def __init__(self, names: Mapping[str, tuple[str, bool]]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return where a module is, if it is the project's and its file is there."""
        file, is_package = self._names.get(fullname, ("", False))
        if not file or not os.path.exists(file):
            return None
        inside = [os.path.dirname(file)] if is_package else None
        return importlib.util.spec_from_file_location(fullname, file, submodule_search_locations=inside)


class _Parents(importlib.abc.MetaPathFinder):
    """Stands in for folders above such modules that no import path leads to; asked last."""

    def __init__(self, names: Mapping[str, tuple[str, bool]]) -> None:
        self._parents = {name.rpartition(".")[0] for name in names}
        self._parents |= {parent for name in self._parents for parent in _above(name)}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return an empty package, if a module's name begins with this one."""
        if fullname not in self._parents:
            return None
        return importlib.machinery.ModuleSpec(fullname, None, is_package=True)


def _above(name: str) -> Iterator[str]:
    while name := name.rpartition(".")[0]:
        yield name


@functools.cache
def code_digest() -> str:
    """Return 16 hex digits of this package's code: what plays on another machine must be the same."""
    digest = hashlib.sha256()
    root = Path(__file__).parents[1]
    for path in sorted(root.rglob("*.py")):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
