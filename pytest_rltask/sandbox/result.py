"""The plain values of the sandbox: the limits a run gets, and what became of it."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Literal

Status = Literal["exit", "timed out", "memory", "output", "processes", "cpu", "disk", "files", "closed", "killed"]
"""What ended a run: itself (``exit``), the limit of that name, ``Sandbox.close`` (``closed``), or that the interpreter
from which it was forked is gone or does not answer (``killed``): only its own deeds bring that about."""


class SandboxError(Exception):
    """The sandbox itself failed: it could not start, or the disk is full. A trial is then errored, never failed."""


@dataclass(frozen=True)
class SandboxLimits:
    """What one run may use, and what the folders may hold. Each limit that ends a run has a status of its own."""

    wall_s: float = 60.0
    """Wall-clock seconds of one run."""
    cpu_s: float = 120.0
    """CPU seconds of one process; rounded up to whole seconds."""
    memory_bytes: int = 4 * 2**30
    """Private memory of one process (past it, Python raises MemoryError), and all memory of the run together."""
    file_bytes: int = 256 * 2**20
    """Size of one file: past it a write in a run raises OSError, and ``Sandbox.write_file`` refuses."""
    processes: int = 64
    """Processes and threads the run may hold at once."""
    open_files: int = 1024
    """Files one process may hold open: past it, open raises OSError."""
    disk_bytes: int = 2**30
    """Disk space of all files in the working directory and the folder for temporary files, after and during a run;
    deleted files that are still open count. ``Sandbox.write_file`` refuses what would exceed it; what a run wrote that
    exceeded it is removed, so that the next one can run."""
    disk_files: int = 10_000
    """The number of those files, and of folders. A folder that cannot be read, or lies below 40 others, exceeds it."""
    output_bytes: int = 20_000
    """How much of stdout, and of stderr, is kept: some of its head and more of its tail."""
    flood_bytes: int = 64 * 2**20
    """How much output, both streams together, ends the run."""


_UNDONE = "the files that it wrote or changed are removed"
_WORDS: dict[Status, str] = {
    "timed out": "its time limit",
    "memory": "since it used more memory than its limit",
    "output": "since it printed more than its limit",
    "processes": "since it held more processes and threads than its limit",
    "cpu": "since it used more CPU time than its limit",
    "disk": f"since its files took more disk space than their limit; {_UNDONE}",
    "files": f"since it left more files and folders than its limit, or some that cannot be counted; {_UNDONE}",
    "killed": "since it killed or suspended the interpreter that ran it",
    "closed": "since its sandbox was closed",
}


@dataclass(frozen=True)
class SandboxResult:
    """What became of one run."""

    status: Status
    """What ended the run; ``exit`` means that it ended by itself."""
    exit_code: int | None
    """The exit code, the negative number of the signal that killed the program, or None when we killed it."""
    stdout: str
    """What is kept of the standard output, with a note in place of what was cut."""
    stderr: str
    """The same of the standard error."""
    wall_s: float
    """Seconds from the call to the death of the last process."""

    @property
    def ok(self) -> bool:
        """Whether the program ended by itself, with exit code 0."""
        return self.status == "exit" and self.exit_code == 0

    @property
    def summary(self) -> str:
        """What happened, in words: ``killed after 60 s, its time limit``."""
        if self.exit_code is None:
            return f"killed after {self.wall_s:.3g} s, {_WORDS[self.status]}"
        if self.exit_code < 0:
            return f"ended by {_signal_name(-self.exit_code)} after {self.wall_s:.3g} s"
        return f"exited with code {self.exit_code} after {self.wall_s:.3g} s"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
