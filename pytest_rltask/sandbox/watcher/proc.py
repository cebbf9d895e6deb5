"""What the system tells of processes, with few and small imports: the watcher starts once per run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

LINUX = sys.platform == "linux"
TREE = LINUX and os.path.exists(f"/proc/self/task/{os.getpid()}/children")
"""Whether the system tells the children of a process."""
PAGE_BYTES, TICKS_PER_S = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
SIGKILL, SIGXCPU = 9, 24  # the module signal would cost 5 ms; these numbers are the same on Linux and macOS


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes below ``pid``, parents first; none where the system does not tell."""
    parents = [pid] if TREE else []
    while parents:
        parent = parents.pop()
        for task in listdir(f"/proc/{parent}/task"):
            children = [int(child) for child in read(f"/proc/{parent}/task/{task}/children").split()]
            yield from children
            parents += children


def kill(pid: int, *, group: bool = False) -> None:
    """Send SIGKILL to a process, or to its process group, if it is still there."""
    try:  # noqa: SIM105 - contextlib would cost a part of the start
        (os.killpg if group else os.kill)(pid, SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS refuses a group of which only a zombie is left
        pass


def tasks_of_user() -> int:
    """Return how many tasks, threads included, the system counts for our user."""
    tasks, user = 0, os.getuid()
    for name in listdir("/proc"):
        if name.isdigit():
            try:
                folder = os.stat(f"/proc/{name}/task")
            except OSError:
                continue  # it ended
            if folder.st_uid == user:
                tasks += folder.st_nlink - 2  # one link per task; the two are "." and ".."
    return tasks


def place_of(pid: int) -> str | None:
    """Return the folder of ``/proc`` that tells what a process holds; None of one that is dead.

    A process whose first thread has ended looks like a dead one there, and holds all that its other threads use.
    """
    if lives(f"/proc/{pid}"):
        return f"/proc/{pid}"
    threads = (f"/proc/{pid}/task/{task}" for task in listdir(f"/proc/{pid}/task"))
    return next((thread for thread in threads if lives(thread)), None)


def lives(place: str) -> bool:
    """Say whether what a folder of ``/proc`` tells of can still run code."""
    # proc(5): the state is field 3, right behind the name, which may hold anything; the size of the memory is 23. Who
    # has none any more is ending: it runs no code, and as long as that takes its descriptors are closed to its user.
    fields = read(f"{place}/stat").rpartition(b")")[2].split()
    return bool(fields) and fields[0] not in (b"Z", b"X") and fields[23 - 3] != b"0"


def memory_of(place: str) -> int:
    """Return the bytes a process holds, each shared page divided by the number of those who share it."""
    for line in read(f"{place}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return _bytes_in(line) + page_table_bytes(place)
    return resident_bytes(place)  # it ended; or it hides its pages from its own user, who may still count them


def resident_bytes(place: str) -> int:
    """Return the bytes a process has in memory, shared pages included."""
    fields = read(f"{place}/statm").split()
    return int(fields[1]) * PAGE_BYTES + page_table_bytes(place) if fields else 0


def page_table_bytes(place: str) -> int:
    """Return what it costs the kernel to know a process's pages, be they the one that is empty: a 512th of them all."""
    return sum(_bytes_in(line) for line in read(f"{place}/status").splitlines() if line.startswith(b"VmPTE:"))


def _bytes_in(line: bytes) -> int:
    return int(line.split()[1]) * 1024


def read(path: str) -> bytes:
    """Return what a file of ``/proc`` holds; nothing if its process ended."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""  # the process ended


def listdir(path: str) -> list[str]:
    """Return the names in a folder of ``/proc``; none if its process ended."""
    try:
        return os.listdir(path)
    except OSError:
        return []  # the process ended
