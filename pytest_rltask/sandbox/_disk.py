"""How much the folders of a sandbox hold, looked at while untrusted code works in them."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Collection, Set

from pytest_rltask.sandbox._proc import listdir

_DEPTH = 40
"""How deep folders may lie: much deeper they could not be named, and what cannot be counted is over the limit."""
_PAUSE = 10
"""A walk over the folders is followed by a pause this many times as long."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Disk:
    """What the folders of a sandbox hold."""

    def __init__(self, folder: str, *, max_bytes: int, max_files: int) -> None:
        self._folder, self._max_bytes, self._max_files = folder, max_bytes, max_files
        self._next = 0.0

    def poll(self, pids: Set[int]) -> str | None:
        """Say which limit is exceeded, if it is time to look again: looking must cost little, however much there is."""
        started = time.monotonic()
        if started < self._next:
            return None
        over = self.over(pids)
        now = time.monotonic()
        self._next = now + _PAUSE * (now - started)
        return over

    def over(self, pids: Collection[int]) -> str | None:
        """Say which limit is exceeded, counting deleted files that the processes still hold open as well."""
        size, files = usage(self._folder, max_bytes=self._max_bytes, max_files=self._max_files)
        if files > self._max_files:
            return "files"
        return "disk" if size + _deleted_bytes(pids) > self._max_bytes else None


def usage(folder: str, *, max_bytes: int, max_files: int) -> tuple[int, int]:
    """Return the bytes and the number of files and folders in the folders of a folder; stop past a maximum.

    What lies directly in the outer one does not count: it is ours.

    No link is followed, whatever is changed meanwhile. A folder that cannot be looked into, or lies too deep, makes
    the number exceed its maximum: anything could be in there.
    """
    size = files = 0
    try:
        stack = [os.open(folder, _FOLDER)]
    except FileNotFoundError:
        return 0, 0  # without isolation an agent may delete it
    walks = [os.scandir(stack[0])]
    try:
        while stack and size <= max_bytes and files <= max_files:
            entry = next(walks[-1], None)
            if entry is None:
                walks.pop().close()
                os.close(stack.pop())
                continue
            try:
                if len(stack) > 1:
                    files += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    below = os.open(entry.name, _FOLDER, dir_fd=stack[-1])
                    stack.append(below)
                    walks.append(os.scandir(below))
            except PermissionError:
                files = max_files + 1
            except OSError:
                continue  # it was deleted, or replaced
            if len(stack) > _DEPTH:
                files = max_files + 1
    finally:
        for walk in walks:
            walk.close()
        for fd in stack:
            os.close(fd)
    return size, files


def _deleted_bytes(pids: Collection[int]) -> int:
    """Return the bytes of files that have no name any more, but are open."""
    sizes = {}
    for pid in pids:
        for fd in listdir(f"/proc/{pid}/fd"):
            try:
                file = os.stat(f"/proc/{pid}/fd/{fd}")
            except OSError:
                continue  # it was closed
            if file.st_nlink == 0 and stat.S_ISREG(file.st_mode):
                sizes[file.st_dev, file.st_ino] = file.st_blocks * 512
    return sum(sizes.values())
