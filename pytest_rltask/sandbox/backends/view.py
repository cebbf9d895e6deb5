"""What an agent may read: the system's programs and libraries, this interpreter and its packages. Never our sources.

Folders are listed one by one, since whatever is not listed cannot be read: of ``/usr`` not ``/usr/src``, where images
keep their project, of ``/etc`` hardly anything, of a prefix only where an interpreter keeps its own (a project may be
its own virtual environment), of the import path what holds packages (``imports``). What lies inside all the same, such
as an installed pytest-rltask or an installed suite, is hidden again.
"""

from __future__ import annotations

import contextlib
import functools
import os
import site
import stat
import sys
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from pytest_rltask.sandbox.backends.images import OLDEST, Image, image_of
from pytest_rltask.sandbox.backends.imports import (
    copies_of,
    is_inside,
    is_inside_any,
    options_of_pytest,
    packages,
    projects_of,
    user_site,
)
from pytest_rltask.sandbox.backends.interpreters import Interpreter, facts_of, ours
from pytest_rltask.tools import DefinitionError

_SYSTEM = (
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64"),
    *("/usr/libexec", "/usr/include", "/usr/share", "/usr/local/bin", "/usr/local/lib", "/usr/local/lib64"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives", "/etc/fonts"),
    *("/etc/mime.types", "/etc/debian_version", "/etc/lsb-release"),  # mimetypes and pip stop where these are closed
)
_OF_PREFIX = ("bin", "lib", "lib32", "lib64", "include", "share", "pyvenv.cfg")
_SOURCES: ContextVar[tuple[str, ...]] = ContextVar("rltask_sources", default=())
_PACKAGE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


@dataclass(frozen=True)
class View:
    """Real paths that exist; none lies inside another of its own tuple."""

    python: str
    """The interpreter that runs there, by the path by which it can be found."""
    readable: tuple[str, ...]
    """Files, and folders with all they hold."""
    hidden: tuple[str, ...]
    """Folders inside readable ones that may not be read."""
    aliases: tuple[tuple[str, str], ...]
    """Other paths, outside of these, by which they are known, each with the real one: a link leads there."""
    first: tuple[str, ...] = ()
    """What the agent's PYTHONPATH must name."""
    pytest_options: str = ""
    """What the agent's pytest must be told, since it finds plugins installed that it may not read."""
    left_out: tuple[tuple[str, str], ...] = ()
    """What this interpreter imports from and the agent's does not, each with the reason."""
    is_ours: bool = True
    """Whether the interpreter is this process's."""
    image: Image | None = None
    """Whose files it sees instead of this machine's: then the interpreter is the image's, or empty if it has none."""

    @functools.cached_property
    def environment(self) -> dict[str, str]:
        """Variables by which the agent's interpreter imports from the same folders as ours, but for PYTHONPATH."""
        folder = os.path.realpath(user_site()) if self.is_ours and user_site() else ""
        base = site.getuserbase() if folder and self.shows(folder) else ""
        users = {"PYTHONUSERBASE": base} if base else {"PYTHONNOUSERSITE": "1"}  # else a folder of the agent's own home
        return users | ({"PYTEST_ADDOPTS": self.pytest_options} if self.pytest_options else {})

    @property
    def starts(self) -> list[str]:
        """The words that find a program on PATH and become it."""
        env = self.image.program("env") if self.image else "/usr/bin/env"
        return [env] if env or not self.image else [self.image.program("sh"), "-c", 'exec "$@"', "sh"]

    def shows(self, path: str) -> bool:
        """Whether a real path may be read."""
        return is_inside_any(path, self.readable) and not is_inside_any(path, self.hidden)

    @functools.cached_property
    def is_public(self) -> bool:
        """Whether any user of the machine may read it, so that a user of their own is no hindrance."""
        return all(is_public(path) for path in self.readable)


def interpreter() -> str:
    """Return the path of this interpreter by which it can be found inside: without what it was called through."""
    return os.path.abspath(sys.executable)


@contextlib.contextmanager
def hiding(files: Iterable[str]) -> Iterator[None]:
    """Hide the projects that source files belong to from the agents whose sandboxes are made in this context."""
    token = _SOURCES.set(tuple(sorted({os.path.abspath(file) for file in files})))
    try:
        yield
    finally:
        _SOURCES.reset(token)


def view_of_python(python: str | os.PathLike[str] | None = None) -> View:
    """Return what an interpreter needs to run, with its packages, without the suite's sources.

    Args:
        python: It, or its virtual environment; None for the interpreter of this process.

    Raises:
        DefinitionError: it is neither; or what it imports from has the task's module, which cannot be hidden there.
    """
    other = facts_of(python) if python is not None else None
    try:
        cwd = os.getcwd()
    except FileNotFoundError:  # somebody has removed it
        cwd = os.sep
    return _view(_SOURCES.get(), cwd, other or ours())


def view_of_image(name: str) -> View:
    """Return what an image has, and nothing of this machine.

    Raises:
        DefinitionError: that is no name of an image.
        SandboxError: there is no Docker; or no such image here; or it can be no agent's.
    """
    image = image_of(name)
    return View(image.program("python3"), (), (), (), is_ours=False, image=image)


def python_of(view: View, asked: str, *, for_ours: bool = False) -> str:
    """Return the path of the interpreter that an agent sees.

    Args:
        view: What it sees.
        asked: What needs it, for the refusal.
        for_ours: Whether it is to run a program of ours.

    Raises:
        DefinitionError: its image has none, or one that is too old for that or has not all of it.
    """
    image = view.image
    if image is None:
        return view.python
    version, oldest = (".".join(map(str, one)) for one in (image.version, OLDEST))
    lack = "no python3 on its PATH" if not view.python else ""
    if view.python and for_ours and image.version < OLDEST:
        lack = f"Python {version}, where {oldest} is the oldest that works"
    elif view.python and for_ours and image.lacks:
        lack = f"a Python without the module {image.lacks}"
    if lack:
        raise DefinitionError(
            f"{asked} needs a Python, and the image {image.name} has {lack}; take an image that has it, or run the "
            'programs that it has: sandbox.run(["./main"])'
        )
    return view.python


@functools.lru_cache(maxsize=32)
def _view(files: tuple[str, ...], cwd: str, python: Interpreter) -> View:
    hidden = {os.path.realpath(folder) for file in files for folder in projects_of(file)}
    # Links may lead to our package as a whole, or to each of its files.
    ours = {os.path.realpath(_PACKAGE), os.path.dirname(os.path.realpath(os.path.join(_PACKAGE, "__init__.py")))}
    sources = {*ours, *hidden, os.path.realpath(cwd)}
    own = {os.path.realpath(path) for path in python.paths}
    found = packages(sources, own, None if python.is_ours else python.import_path)
    copies = _copies(files, {*own, *found.folders})
    sources |= copies
    wanted = {*_SYSTEM, *_links(python.executable), *found.folders, *found.linked}
    wanted |= {os.path.join(prefix, name) for prefix in python.prefixes for name in _OF_PREFIX}
    real = {path: os.path.realpath(path) for path in map(os.path.abspath, wanted) if os.path.exists(path)}
    readable = _outermost(real.values())
    aliases = [alias for alias in real.items() if not is_inside_any(alias[0], readable)]
    needed = own | {*found.folders}
    inside = _outermost(
        # A project may hold its own environment: that is listed by itself.
        path
        for path in sources
        if is_inside_any(path, readable) and not any(is_inside(other, path) for other in needed)
    )
    pytest_options = options_of_pytest(readable, inside) if python.is_ours else ""
    return View(
        python.executable,
        readable,
        inside,
        tuple(sorted(aliases)),
        found.first,
        pytest_options,
        found.left_out,
        python.is_ours,
    )


def _copies(files: tuple[str, ...], folders: set[str]) -> set[str]:
    """Return the packages that hold the suite once more.

    Raises:
        DefinitionError: it is a module without a package: only folders can be hidden among others.
    """
    found = set()
    for file, copy in copies_of(files, folders):
        if not os.path.isdir(copy):
            raise DefinitionError(
                f"{copy} is the task's module {file}, installed where agents read packages, with its grader; "
                "uninstall it there, or make it part of a package, which is hidden from them"
            )
        found.add(copy)
    return found


def is_public(path: str) -> bool:
    """Return whether any user of the machine may reach and read a path."""
    mode = os.stat(path).st_mode
    wanted = 0o005 if stat.S_ISDIR(mode) else 0o004
    return mode & wanted == wanted and all(os.stat(parent).st_mode & 0o001 for parent in parents(path))


def parents(path: str) -> Iterator[str]:
    """Yield the folders above an absolute path, the root first."""
    parts = path.strip("/").split("/")
    for depth in range(len(parts)):
        yield "/" + "/".join(parts[:depth])


def _outermost(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that lie in none of the others."""
    kept: list[str] = []
    for path in sorted(set(paths)):
        if not kept or not any(is_inside(path, other) for other in kept):
            kept.append(path)
    return tuple(kept)


def _links(path: str) -> Iterator[str]:
    """Yield a path, and what it points to, link by link."""
    for _ in range(40):  # as far as the kernel follows them
        yield path
        if not os.path.islink(path):
            return
        path = os.path.join(os.path.dirname(path), os.readlink(path))
