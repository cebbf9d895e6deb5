"""Who plays in a run directory: each process of a run holds a lock there, so that none goes on with what still runs.

The system takes a lock from its process however that ends; a file without one says nothing.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

from pytest_rltask.runlog import RunLogError

__all__ = ["RunLock"]


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
        self._path = run_dir / f".lock-{writer}"
        self._file = self._path.open("a+")
        if not _locked(self._file):
            with self._file:
                raise _held(self._path, self._file)
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def check_alone(self) -> None:
        """Make sure that no other process plays here.

        Raises:
            RunLogError: one does, such as a worker of pytest-xdist that has not yet noticed that its run was killed.
        """
        for path in self._path.parent.glob(".lock-*"):
            if path != self._path:  # to close it once more would give this process's own lock away
                with path.open("a+") as file:
                    if not _locked(file):
                        raise _held(path, file)

    def release(self) -> None:
        """Let others play here."""
        self._file.close()


def _locked(file: IO[str]) -> bool:
    """Lock a file; say False if another process has done so."""
    if os.name != "posix":
        return True
    import fcntl

    try:
        # Not flock(): a process that this one forked would go on holding it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)  # else: a file system that knows no locks
    return True


def _held(path: Path, file: IO[str]) -> RunLogError:
    file.seek(0)
    pid = file.read()
    who = f"process {pid}" if pid else "another process"
    return RunLogError(f"{path.parent} is still being played by {who}")
