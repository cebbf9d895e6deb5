"""The options of ``docker run`` that build a container's file system."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pytest_rltask.sandbox.backends.backend import SCRATCH, WORK
from pytest_rltask.sandbox.backends.client import mount
from pytest_rltask.sandbox.backends.imports import is_inside
from pytest_rltask.sandbox.backends.own_user import PASSWD
from pytest_rltask.sandbox.backends.view import View

_TEMPORARY = {"/tmp": ("exec", 64 * 2**20), "/dev/shm": ("noexec", 256 * 2**20)}
_INODES = 16384
"""Folders in memory, with their sizes in bytes; an inode takes memory too, which is no process's."""
TAKEN = (*_TEMPORARY, "/dev/mqueue", "/etc/passwd")
"""Where every container has a mount of ours."""


def of_sandbox(base: Path, door: str, meeting: str) -> Iterator[str]:
    """Yield the options of what every container has.

    Args:
        base: The sandbox's folder.
        door: What of it holds our socket.
        meeting: Where the container is to find that.
    """
    for path, (programs, size) in _TEMPORARY.items():
        yield from ("--tmpfs", f"{path}:rw,{programs},nosuid,nodev,mode=1777,size={size},nr_inodes={_INODES}")
    yield from empty("/dev/mqueue")
    yield from mount("bind", str(base / PASSWD), "/etc/passwd", "readonly")
    yield from mount("bind", str(base / door), meeting, "readonly")
    for name in (WORK, SCRATCH):
        yield from mount("bind", str(base / name), str(base / name))


def of_view(view: View) -> Iterator[str]:
    """Yield the options that show what the agent may read of this machine."""
    # Before Docker 25 what is mounted below a read-only mount can be written to, unless it is mounted by itself.
    for path in (*view.readable, *(point for point in _mount_points() if _shows(view, point))):
        yield from mount("bind", path, path, "readonly")
    for path in view.hidden:
        yield from empty(path)


def empty(path: str) -> Iterator[str]:
    """Yield the options that show a folder with nothing in it, which nobody can write to."""
    # Read-only, since runc gives it the mode of what it covers, and files without content take memory too.
    yield from mount("tmpfs", None, path, "readonly", "tmpfs-mode=0755", "tmpfs-size=4096")


def _mount_points() -> set[str]:
    """Return where something is mounted on this machine."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        fields = [line.split(" ")[4] for line in file]
    return {re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field) for field in fields}


def _shows(view: View, path: str) -> bool:
    """Say whether a path lies below one that the agent may read, and not in a hidden one."""
    return (
        path not in view.readable
        and any(is_inside(path, folder) for folder in view.readable)
        and not any(is_inside(path, folder) for folder in view.hidden)
    )
