"""What processes hold through descriptors and mappings, and no folder and no process's memory shows.

Files that were deleted take disk space until the last holder is gone: whoever has them open, has mapped them, or has
sent them through a socket from which nobody has received them yet. What lies in sockets takes the kernel's memory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator

from pytest_rltask.sandbox.watcher.proc import lives, read

_IN_FLIGHT = 16
"""So many descriptors may be on their way at once: processes that work together pass some."""
_ROUNDS = 5
"""How often to ask for processes that are new: one that hands all it holds to a child and ends is met on its way."""


class Held:
    """What some processes hold."""

    def __init__(self) -> None:
        self.deleted_bytes = 0
        """Of files without a name that are open."""
        self.unknown_files = 0
        """How many more there may be whose sizes nobody tells."""
        self.socket_bytes = 0
        """What their sockets may hold at most."""
        self.opaque: frozenset[str] = frozenset()
        """The processes that do not show what they hold."""


def held_by(places: Callable[[], Collection[str]], folder: str) -> Held:
    """Look at all descriptors of processes, and their mappings of files in the folder.

    Args:
        places: Tells where ``/proc`` tells what each process holds.
        folder: The sandbox's.
    """
    held = Held()
    deleted: dict[int, int] = {}  # by inode alone: of the device, btrfs and overlayfs say one thing here, another there
    mapped: set[int] = set()
    sockets: dict[int, int] = {}
    opaque = set()
    folders = tuple(os.fsencode(path) + b"/" for path in {folder, os.path.realpath(folder)})
    for place in _each(places):
        try:
            fds = os.listdir(f"{place}/fd")
        except PermissionError:
            if lives(place):  # the descriptors of one that is ending are closed to us as well
                opaque.add(place)
            continue
        except OSError:
            continue  # it ended
        for fd in fds:
            try:
                file = os.stat(f"{place}/fd/{fd}")
            except OSError:
                continue  # it was closed
            if file.st_nlink == 0 and stat.S_ISREG(file.st_mode):
                deleted[file.st_ino] = file.st_blocks * 512
            elif stat.S_ISSOCK(file.st_mode) and file.st_ino not in sockets:
                sockets[file.st_ino] = _on_their_way(f"{place}/fdinfo/{fd}")
        mapped |= _mapped(place, folders)
    held.deleted_bytes = sum(deleted.values())
    held.unknown_files = len(mapped - deleted.keys()) + max(0, sum(sockets.values()) - _IN_FLIGHT)
    held.socket_bytes = len(sockets) * _socket_bytes() if sockets else 0
    held.opaque = frozenset(opaque)
    return held


def _each(places: Callable[[], Collection[str]]) -> Iterator[str]:
    """Yield the processes, and those that have begun meanwhile."""
    seen: set[str] = set()
    for _ in range(_ROUNDS):
        new = set(places()) - seen
        if not new:
            return
        seen |= new
        yield from new


def _on_their_way(path: str) -> int:
    """Return how many descriptors were sent to a socket and not received yet; Linux tells it since 5.11."""
    for line in read(path).splitlines():
        if line.startswith(b"scm_fds:"):
            return int(line.split()[1])
    return 0


def _mapped(place: str, folders: tuple[bytes, ...]) -> set[int]:
    """Return the inodes of the files that a process has mapped and that were deleted from the folders.

    Elsewhere it can be a library that the machine has just replaced.
    """
    found = set()
    for line in read(f"{place}/maps").splitlines():
        if line.endswith(b" (deleted)"):
            *_, inode, name = line.split(None, 5)
            if name.startswith(folders):
                found.add(int(inode))
    return found


def _socket_bytes() -> int:
    """Return what one socket may hold: the largest buffer to be had, which the kernel doubles for its own needs."""
    return 2 * int(read("/proc/sys/net/core/wmem_max") or 212992)
