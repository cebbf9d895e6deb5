"""Who plays in a run directory: each process of a run holds a lock there as long as it lives.

By it a run that still goes on is not resumed, and the processes of one run tell which trials are in flight from those
whose process died. The system takes a lock from its process however that ends; a file without one says nothing.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

from pytest_rltask.run.files import RunLogError

__all__ = ["RunLock", "is_played"]


class RunLock:
    """The lock of one process of a run.

    Args:
        run_dir: the run directory.
        writer: name of this process within the run: ``main``, ``gw0``, ...

    Raises:
        RunLogError: another process holds it.
        OSError: nothing can be written there.
    """

    def __init__(self, run_dir: Path, writer: str) -> None:
        self._run_dir = run_dir
        self._path = self._path_of(writer)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.fdopen(os.open(self._path, flags, 0o666), "a+")  # a link is none of ours
        if not _locked(self._file):
            self._file.close()
            raise _held(self._path)
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def check_alone(self) -> None:
        """Make sure that no other process plays here.

        Raises:
            RunLogError: one does, such as a worker of pytest-xdist that has not yet noticed that its run was killed.
        """
        for path in self._run_dir.glob(".lock-*"):
            if path != self._path and _is_held(path):
                raise _held(path)

    def is_alive(self, writer: str) -> bool:
        """Say whether a process of the run is alive, be it this one.

        Args:
            writer: its name within the run.
        """
        path = self._path_of(writer)
        return path == self._path or (path.exists() and _is_held(path))

    def release(self) -> None:
        """Let others play here."""
        self._file.close()

    def _path_of(self, writer: str) -> Path:
        return self._run_dir / f".lock-{writer}"


def is_played(run_dir: Path, writer: str = "*") -> bool:
    """Say whether a process of a run is alive. For processes that hold no lock there.

    Args:
        run_dir: the run directory.
        writer: name of the process within the run; by default any.
    """
    return any(map(_is_held, run_dir.glob(f".lock-{writer}")))


def _is_held(path: Path) -> bool:
    """Say whether another process holds a lock; to ask for this process's own would give it away."""
    with path.open() as file:
        return not _locked(file, shared=True)  # two may ask at once


def _locked(file: IO[str], *, shared: bool = False) -> bool:
    """Lock a file; say False if another process has done so."""
    if os.name != "posix":
        return True
    import fcntl

    try:
        # Not flock(): a process that this one forked would go on holding it.
        fcntl.lockf(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)  # else: a file system that knows no locks
    return True


def _held(path: Path) -> RunLogError:
    pid = path.read_text()
    who = f"process {pid}" if pid else "another process"
    return RunLogError(f"{path.parent} is still being played by {who}")
