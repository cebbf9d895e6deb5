"""What an episode leaves behind once it is closed: files, processes, threads, open files of this process.

Episodes of the audit have a temporary folder of their own, which also marks the processes that they start: a daemon
that nobody is the parent of any more still has the folder's name in its environment or stands in it.
Processes and open files are looked up in /proc, which Linux has; elsewhere files and threads alone are.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_rltask.clock import monotonic_s

__all__ = ["Watch"]

GRACE_S = 2.0
"""Seconds that threads and killed processes have to be gone."""
_PROC = Path("/proc")


@dataclass(frozen=True)
class _Snapshot:
    files: frozenset[str]
    threads: frozenset[threading.Thread]
    descriptors: frozenset[str]
    processes: frozenset[int]
    """All of the machine: which of them are ours is asked of new ones only."""


class Watch:
    """Watches one episode at a time."""

    def __init__(self) -> None:
        # One folder for all of them: a library may keep what it put there when it was first used.
        self._folder = tempfile.mkdtemp(prefix="rltask-audit-")

    @contextlib.contextmanager
    def leftovers(self) -> Iterator[list[str]]:
        """Yield a list that holds, once the block has ended, a line for each thing that it left behind."""
        found: list[str] = []
        before = self._snapshot()
        with _temporary_folder(self._folder):
            yield found
        left = self._new(before)
        if left:
            gc.collect()  # what merely waits for it is not kept
        deadline = monotonic_s() + GRACE_S
        while left and monotonic_s() < deadline:
            time.sleep(0.02)
            left = self._new(before)
        found += left

    def close(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _snapshot(self) -> _Snapshot:
        return _Snapshot(
            files=frozenset(_files(self._folder)),
            threads=frozenset(threading.enumerate()),
            descriptors=frozenset(_descriptors()),
            processes=frozenset(_processes()),
        )

    def _new(self, before: _Snapshot) -> list[str]:
        now = self._snapshot()
        new_descriptors = now.descriptors - before.descriptors
        return [
            *(f"temporary file {path}" for path in sorted(now.files - before.files)),
            *(f"process {_named(pid)}" for pid in sorted(now.processes - before.processes) if self._is_ours(pid)),
            *(f"thread {thread.name!r}" for thread in now.threads - before.threads),
            # Fewer than before: a library has opened one of its own anew.
            *(
                f"open file {name}"
                for name in sorted(new_descriptors)
                if len(now.descriptors) > len(before.descriptors)
            ),
        ]

    def _is_ours(self, pid: int) -> bool:
        mark = os.fsencode(self._folder)
        with contextlib.suppress(OSError):  # of another user, or gone
            if mark in (_PROC / str(pid) / "environ").read_bytes():
                return True
            if os.fsencode(os.readlink(_PROC / str(pid) / "cwd")).startswith(mark):
                return True
        return os.getpid() in _ancestors(pid)


@contextlib.contextmanager
def _temporary_folder(folder: str) -> Iterator[None]:
    """Let temporary files of this process, and of those that it starts, be made in a folder."""
    usual, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    try:
        yield
    finally:
        tempfile.tempdir = usual
        del os.environ["TMPDIR"]
        if variable is not None:
            os.environ["TMPDIR"] = variable


def _files(folder: str) -> Iterator[str]:
    for root, folders, names in os.walk(folder):
        yield from (os.path.relpath(os.path.join(root, name), folder) for name in [*folders, *names])


def _descriptors() -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError):
        for entry in os.listdir(_PROC / "self/fd"):
            with contextlib.suppress(OSError):  # that of the listing itself
                yield f"{entry} ({os.readlink(_PROC / 'self/fd' / entry)})"


def _processes() -> Iterator[int]:
    """Yield the ids of the processes that run; one that has ended and that nobody has waited for runs no more."""
    with contextlib.suppress(FileNotFoundError):
        yield from (
            int(name) for name in os.listdir(_PROC) if name.isdigit() and _status(int(name))[0] not in ("", "Z")
        )


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        pid = int(_status(pid)[1] or 0)
        yield pid


def _status(pid: int) -> tuple[str, str]:
    """Return state and parent of a process; blank if it is gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return "", ""
    state, parent = stat.rpartition(")")[2].split()[:2]  # its name may hold anything, a bracket too
    return state, parent


def _named(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        return f"{pid} ({words[:200]})"
    return str(pid)
