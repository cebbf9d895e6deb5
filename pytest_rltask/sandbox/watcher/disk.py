"""How much the folders of a sandbox hold, looked at while untrusted code works in them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection

from pytest_rltask.sandbox.watcher.descriptors import Held, held_by
from pytest_rltask.sandbox.watcher.removal import FOLDER

TYPE_CHECKING = False  # as type checkers know it; to import the module typing would cost 5 ms
if TYPE_CHECKING:
    from pytest_rltask.sandbox.watcher.limits import Limits

FOLDERS = ("work", "tmp")
"""The folders of a sandbox that its agent may write to; what else lies beside them is ours, and does not count."""
DEPTH = 40
"""Below how many folders a file may lie: much deeper it could not be named, and what cannot be counted is over the
limit."""
_LOOKS = 3
"""What /proc may show for a moment of processes that harm nobody must be so as often in a row to count: they are looked
at one after the other. A preloaded interpreter's fork is closed to us before it begins; and a file that one opens,
maps, deletes and hands to its child meanwhile seems to be mapped by the child alone, and of any size. In which process
it is so may change from look to look: nobody need stay in one."""
_PAUSE = 10
"""A walk over the folders is followed by a pause this many times as long."""


class Disk:
    """What the folders of a sandbox hold."""

    def __init__(self, folder: str, limits: Limits) -> None:
        self._folder, self._limits = folder, limits
        self._looks = [Held()] * _LOOKS
        self._next = 0.0

    def poll(self, places: Callable[[], Collection[str]]) -> str | None:
        """Say which limit is exceeded, if it is time to look again: looking must cost little, however much there is.

        Args:
            places: Tells where ``/proc`` tells what each process holds now, which may change while we look.
        """
        started = time.monotonic()
        if started < self._next:
            return None
        over = self.over(places)
        now = time.monotonic()
        self._next = now + _PAUSE * (now - started)
        return over

    def over(self, places: Callable[[], Collection[str]] = tuple) -> str | None:
        """Say which limit is exceeded, counting what the processes hold that has no name as well."""
        limits = self._limits
        size, files = usage(self._folder, max_bytes=limits.disk_bytes, max_files=limits.disk_files)
        held = held_by(places, self._folder)
        self._looks = [*self._looks[1:], held]
        full = [look.unknown_files for look in self._looks if not look.opaque]
        if not full or files > limits.disk_files or _in_private_memory(places()) > limits.disk_files:
            return "files"
        unknown_files = min(full)  # who was closed to us in the others may have been as little to be counted then
        if size + held.deleted_bytes + unknown_files * limits.file_bytes > limits.disk_bytes:
            return "disk"
        return "memory" if held.socket_bytes > limits.memory_bytes else None


def _in_private_memory(places: Collection[str]) -> int:
    """Return how many files lie in the run's own ``/tmp`` and ``/dev/shm``: each takes memory that is no process's."""
    for place in places:
        try:
            return sum(_files_of(f"{place}/root", name) for name in ("/tmp", "/dev/shm"))
        except OSError:
            continue  # it ended, or is closed to us
    return 0


def _files_of(root: str, name: str) -> int:
    if os.path.exists(name) and os.stat(root + name).st_dev == os.stat(name).st_dev:
        return 0  # the machine's
    system = os.statvfs(root + name)
    return system.f_files - system.f_ffree


def usage(folder: str, *, max_bytes: int, max_files: int) -> tuple[int, int]:
    """Return the bytes and the number of files and folders in the FOLDERS of a folder; stop past a maximum.

    No link is followed, whatever is changed meanwhile. A folder that cannot be looked into, or lies too deep, makes
    the number exceed its maximum: anything could be in there.
    """
    size = files = 0
    try:
        stack = [os.open(folder, FOLDER)]
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
            if len(stack) == 1 and entry.name not in FOLDERS:
                continue
            try:
                if len(stack) > 1:
                    files += 1
                    size += entry.stat(follow_symlinks=False).st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    below = os.open(entry.name, FOLDER, dir_fd=stack[-1])
                    stack.append(below)
                    walks.append(os.scandir(below))
            except PermissionError:
                files = max_files + 1
            except OSError:
                continue  # it was deleted, or replaced
            if len(stack) > DEPTH + 2:  # the outer one, and one of FOLDERS
                files = max_files + 1
    finally:
        for walk in walks:
            walk.close()
        for fd in stack:
            os.close(fd)
    return size, files
