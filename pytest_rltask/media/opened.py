"""Reads what a path names: the author's files as usual, and those of a sandbox without following any link.

An agent may put a link to a file of the machine where a task expects a picture, and would be shown that. A sandbox is
known by what lies in its folder (``sandbox/backends``, ``sandbox/watcher/removal``), which stand above this.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pytest_rltask.tools import ToolError

__all__ = ["read_path"]

WORK, OWNER = "work", "owner"
"""An agent's folder, and the file beside it that says whose it is."""
_HOW = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC


def read_path(path: Path, most: int) -> bytes:
    """Return the content of a file, or one byte more than the most.

    What is no file, as a pipe that an agent put there, holds nobody up.

    Raises:
        ToolError: it is no file; or it lies in a sandbox, and is not there, or leads elsewhere.
        OSError: it cannot be read, and is the author's.
    """
    parts = path.absolute().parts
    for depth, part in enumerate(parts[:-1]):
        if part == WORK and os.path.isfile(os.path.join(*parts[:depth], OWNER)):
            return _read(_opened_within(os.path.join(*parts[: depth + 1]), parts[depth + 1 :]), path.name, most)
    return _read(os.open(path, _HOW), path.name, most)


def _opened_within(folder: str, parts: tuple[str, ...]) -> int:
    """Open a file of a sandbox, folder by folder."""
    name = "/".join(parts)
    if ".." in parts:
        raise ToolError(f"{name!r} contains '..'; give a path inside the working directory")
    try:
        above = os.open(folder, _HOW | os.O_DIRECTORY | os.O_NOFOLLOW)
        for place, part in enumerate(parts):
            is_last = place == len(parts) - 1
            try:
                below = os.open(part, _HOW | os.O_NOFOLLOW | (0 if is_last else os.O_DIRECTORY), dir_fd=above)
            finally:
                os.close(above)
            above = below
    except FileNotFoundError:
        raise ToolError(f"there is no file {name!r}; make it first") from None
    except OSError as error:
        raise ToolError(f"{name!r} is a link, no file, or closed ({error.strerror})") from None
    if os.fstat(above).st_nlink != 1 and not stat.S_ISDIR(os.fstat(above).st_mode):
        os.close(above)
        raise ToolError(f"{name!r} has hard links; only files with a single name are read")
    return above


def _read(handle: int, name: str, most: int) -> bytes:
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ToolError(f"{name} is no file")
        with open(handle, "rb", closefd=False) as file:
            return file.read(most + 1)
    finally:
        os.close(handle)
