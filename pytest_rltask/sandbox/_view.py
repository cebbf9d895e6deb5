"""What an agent may read: the system's programs and libraries, this interpreter and its packages. Never our sources.

Folders are listed one by one, since whatever is not listed cannot be read: of ``/usr`` not ``/usr/src``, where images
keep their project, of ``/etc`` hardly anything, of a prefix only where an interpreter keeps its own (a project may be
its own virtual environment). What lies inside all the same, such as an installed pytest-rltask, is hidden again.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_SYSTEM = (
    *("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr/bin", "/usr/sbin", "/usr/lib", "/usr/lib32", "/usr/lib64"),
    *("/usr/libexec", "/usr/include", "/usr/share", "/usr/local/bin", "/usr/local/lib", "/usr/local/lib64"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/alternatives"),
)
_OF_PREFIX = ("bin", "lib", "lib32", "lib64", "include", "share", "pyvenv.cfg")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


@dataclass(frozen=True)
class View:
    """Real paths that exist; none lies inside another of its own tuple."""

    readable: tuple[str, ...]
    """Files, and folders with all they hold."""
    hidden: tuple[str, ...]
    """Folders inside readable ones that may not be read."""
    aliases: tuple[tuple[str, str], ...]
    """Other paths, outside of these, by which they are known, each with the real one: a link leads there."""

    @functools.cached_property
    def is_public(self) -> bool:
        """Whether any user of the machine may read it, so that a user of their own is no hindrance."""
        return all(is_public(path) for path in self.readable)


@functools.cache
def view_of_python() -> View:
    """Return what the interpreter of this process needs to run, with its packages."""
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    wanted = {*_SYSTEM, *_links(sys.executable)}
    wanted |= {os.path.join(prefix, name) for prefix in prefixes for name in _OF_PREFIX}
    real = {path: os.path.realpath(path) for path in map(os.path.abspath, wanted) if os.path.exists(path)}
    readable = _outermost(real.values())
    aliases = [alias for alias in real.items() if not any(is_inside(alias[0], folder) for folder in readable)]
    packages = sysconfig.get_paths()
    hidden = [os.path.realpath(_PACKAGE)]
    if not any(is_inside(os.path.realpath(packages[kind]), os.getcwd()) for kind in ("stdlib", "purelib", "platlib")):
        hidden.append(os.getcwd())
    inside = _outermost(path for path in hidden if any(is_inside(path, folder) for folder in readable))
    return View(readable, inside, tuple(sorted(aliases)))


def is_inside(path: str, folder: str) -> bool:
    """Return whether an absolute path is the folder or lies below it."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


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
