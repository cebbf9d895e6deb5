"""Where this interpreter imports from, and which of that are packages, which somebody's sources.

Packages are what an agent may read, wherever they lie: in the interpreter's prefix, in the environment that ``uv run
--with`` lays over another, in a user's own folder, in one that PYTHONPATH names, in a cache that links lead to. Sources
are not: those of the suite could hold its graders. What is left out is told with the reason.
"""

from __future__ import annotations

import filecmp
import importlib.metadata
import importlib.util
import json
import os
import shlex
import site
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

_STORES = ("site-packages", "dist-packages")
_MARKS = (".git", ".hg", "pyproject.toml", "setup.py", "setup.cfg")
"""What lies at the top of somebody's sources."""
_ASK = "import json, sys; print(); print(json.dumps(sys.path))"


@dataclass(frozen=True)
class Packages:
    """What there is to import besides the interpreter's own prefix. All paths are real."""

    folders: tuple[str, ...]
    """Folders on the import path, or files, that hold packages."""
    linked: tuple[str, ...]
    """Where links among the packages lead."""
    first: tuple[str, ...]
    """Those of ``folders`` that come from PYTHONPATH, in its order."""
    left_out: tuple[tuple[str, str], ...]
    """Folders of the import path that an agent may not read, each with the reason."""


def packages(sources: Collection[str], own: Collection[str], import_path: Sequence[str] | None = None) -> Packages:
    """Return what an agent may import.

    Args:
        sources: Folders that are not for it to see.
        own: The interpreter's own folders of modules and packages, which are.
        import_path: Where it imports from; None for where a fresh interpreter like this one does.
    """
    folders, first, left_out = [], [], []
    variable = os.environ.get("PYTHONPATH", "") if import_path is None else ""
    named = {os.path.realpath(path) for path in variable.split(os.pathsep) if path}
    for path in _import_path() if import_path is None else import_path:
        real = os.path.realpath(path)
        if not os.path.exists(real):
            continue
        if not is_inside_any(real, own) and (why := _why_not(real, sources)):
            left_out.append((real, why))
            continue
        folders.append(real)
        if real in named:
            first.append(real)
    linked = [target for folder in folders for target in _targets(folder) if not _why_not(target, sources)]
    return Packages(tuple(folders), tuple(dict.fromkeys(linked)), tuple(first), tuple(left_out))


def options_of_pytest(shown: Sequence[str], hidden: Sequence[str]) -> str:
    """Return what pytest must be told to start where some of its installed plugins cannot be read, as ours cannot.

    Args:
        shown: What an agent may read.
        hidden: What it may not, inside of that.
    """
    unseen = []
    for entry in importlib.metadata.entry_points(group="pytest11"):
        origins = list(_origins(entry.module.partition(".")[0]))
        if not any(is_inside_any(path, shown) and not is_inside_any(path, hidden) for path in origins):
            unseen.append(f"-p no:{shlex.quote(entry.name)}")
    return " ".join(sorted(set(unseen)))


def projects_of(file: str) -> set[str]:
    """Return the folders of the project that a source file belongs to; of an installed one, its package.

    An installer may have linked it from its cache, file by file: then there are two.
    """
    return {_project_of(os.path.abspath(file)), _project_of(os.path.realpath(file))}


def copies_of(files: Collection[str], folders: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield what may be installed of source files in folders of packages, where none of them is imported from.

    Args:
        files: The source files.
        folders: Those of packages.

    Yields:
        A file, and the package in which its like lies; of a module that is no part of a package, the module itself.
    """
    for file in files:
        parts = os.path.abspath(file).strip(os.sep).split(os.sep)  # where its packages begin cannot be told
        for folder in folders:
            for start in range(len(parts)):
                like = os.path.join(folder, *parts[start:])
                if os.path.isfile(like) and (start < len(parts) - 1 or _are_equal(file, like)):
                    yield file, os.path.realpath(os.path.join(folder, parts[start]))


def _are_equal(one: str, other: str) -> bool:
    try:
        return filecmp.cmp(one, other, shallow=False)
    except OSError:
        return False


def _project_of(file: str) -> str:
    folder = os.path.dirname(file)
    inside = folder.split(os.sep)
    if store := next((name for name in reversed(inside) if name in _STORES), ""):
        place = len(inside) - inside[::-1].index(store)
        return os.sep.join(inside[: place + 1])
    if top := _marked(folder):
        return top
    while os.path.exists(os.path.join(os.path.dirname(folder), "__init__.py")):
        folder = os.path.dirname(folder)
    return folder


def is_inside(path: str, folder: str) -> bool:
    """Return whether an absolute path is the folder or lies below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def is_inside_any(path: str, folders: Collection[str]) -> bool:
    """Return whether an absolute path is one of the folders or lies below one."""
    return any(is_inside(path, folder) for folder in folders)


def origin_of(module: str) -> str:
    """Return where a top-level module lies; empty if that cannot be told."""
    return next(_origins(module), "")


def user_site() -> str:
    """Return the user's own folder of packages, if this interpreter imports from it."""
    return site.getusersitepackages() if site.ENABLE_USER_SITE else ""


def _import_path() -> list[str]:
    """Return the import path of a fresh interpreter like this one: pytest has put the suite's folders on ours."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    try:
        said = subprocess.run(
            [sys.executable, *flags, "-c", _ASK], capture_output=True, text=True, check=True, timeout=60
        ).stdout
        path = json.loads(said.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        path = sys.path
    return [os.path.abspath(entry) for entry in path if entry]  # "-c" puts the working directory first


def _why_not(path: str, sources: Collection[str]) -> str:
    """Say why an agent may not read a path; empty if it may."""
    if any(name in _STORES for name in path.split(os.sep)):
        return ""  # of sources that lie in there, the view hides each
    for kept in (os.path.expanduser("~"), tempfile.gettempdir(), *sources):
        if is_inside(os.path.realpath(kept), path):
            return f"it holds {kept}"
    for source in sources:
        if is_inside(path, source):
            return f"it lies in {source}, which holds the suite"
    top = _marked(path)
    return f"it lies in {top}, which holds the sources of a project" if top else ""


def _marked(path: str) -> str:
    """Return the folder at or above a path that looks like the top of somebody's sources; empty if none does."""
    home = os.path.realpath(os.path.expanduser("~"))
    folder = path
    while folder not in ("/", home):
        if any(os.path.exists(os.path.join(folder, mark)) for mark in _MARKS):
            return folder
        folder = os.path.dirname(folder)
    return ""


def _targets(folder: str) -> Iterator[str]:
    """Yield where the links among packages lead; of one that an installer linked file by file, the copy's top."""
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        if entry.is_symlink() and os.path.exists(entry.path):
            yield os.path.realpath(entry.path)
        elif entry.name.endswith(".dist-info"):
            told = os.path.join(entry.path, "METADATA")
            if os.path.islink(told) and os.path.exists(told):
                yield os.path.dirname(os.path.dirname(os.path.realpath(told)))


def _origins(module: str) -> Iterator[str]:
    """Yield where a top-level module lies."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return
    if spec is not None:
        yield from (os.path.realpath(path) for path in (spec.origin, *(spec.submodule_search_locations or ())) if path)
