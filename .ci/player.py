"""Plays the parts of CI one after the other, and remembers how each ended and how long it took."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

TESTS_FAILED = 1
"""The exit status of a pytest whose tests all were played, some of which failed."""


@dataclass
class Part:
    """A part that was played."""

    title: str
    status: int = 0
    seconds: float = 0.0
    sandboxes: set[str] = field(default_factory=set)
    """The backends that the headers of its runs named."""
    environments: list[str] = field(default_factory=list)
    """What became of the environments of ``make compat``, in its words."""
    told: list[str] = field(default_factory=list)
    """What ``make honest`` found to be wrong, in its words."""
    error: int = 0
    """How a command ended that make ran: make's own status says less."""
    unsteady: bool = False
    """Whether what failed in it passed when it was played once more by itself."""

    @property
    def failed(self) -> bool:
        """Whether it failed, and again where it was played again."""
        return self.status != 0 and not self.unsteady

    @property
    def became(self) -> str:
        """Say how it ended."""
        if self.unsteady:
            return "UNSTEADY: what failed passed by itself"
        return {0: "", -signal.SIGKILL: "FAILED: no time was left"}.get(self.status, f"FAILED ({self.status})")


class Player:
    """Plays parts in a folder, until a moment when all must have ended."""

    def __init__(self, folder: Path, environment: Mapping[str, str], *, minutes: float, only: Sequence[str]) -> None:
        self.parts: list[Part] = []
        self._folder, self._environment, self._only = folder, environment, only
        self._end = time.monotonic() + 60 * minutes

    def wants(self, title: str) -> bool:
        """Whether a part was asked for: all are, unless some are named."""
        return not self._only or any(word in title for word in self._only)

    def play(self, title: str, *command: str, within: Sequence[str] = (), again: Sequence[str] = ()) -> bool:
        """Run a command; its output is shown, and all that it started ends with it.

        Args:
            title: what to call the part.
            command: what to run, in the folder.
            within: words to put before the command.
            again: what plays the tests that failed once more, by themselves: if they pass, the part is `unsteady`.
        """
        if not self.wants(title):
            return True
        part = self._play(title, [*within, *command])
        if part.status == TESTS_FAILED and again:
            part.unsteady = self._play(f"{title}, once more", [*within, *again]).status == 0
        return not part.failed

    def _play(self, title: str, command: Sequence[str]) -> Part:
        print(f"\n===== {title}: {' '.join(command)}", flush=True)
        part, began = Part(title), time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        reader = threading.Thread(target=_show, args=(part, process), daemon=True)
        timer = threading.Timer(max(1.0, self._end - began), _end, [process])
        reader.start()
        timer.start()
        try:
            part.status = process.wait()
            timer.cancel()
            reader.join(10)  # whatever escaped and holds the output open keeps nobody waiting
        finally:
            timer.cancel()
            if process.poll() is None:  # Ctrl-C
                _end(process)
        part.status = part.error or part.status
        part.seconds = time.monotonic() - began
        self.parts.append(part)
        return part

    def fail(self, title: str, why: str) -> None:
        """Note that a part could not be played."""
        print(f"\n===== {title}: {why}", flush=True)
        self.parts.append(Part(f"{title}: {why}", status=1))


def _show(part: Part, process: subprocess.Popen[str]) -> None:
    """Show what a part says, and note which sandboxes it names."""
    assert process.stdout is not None
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        if header := re.match(r"rltask: sandbox (\w+)", line):
            part.sandboxes.add(header[1])
        elif re.match(r"compat: \S+: ", line):
            part.environments.append(line.strip())
        elif line.startswith(("WRONG", "UNSTEADY")):
            part.told.append(line.strip()[:1000])
        elif error := re.match(r"make: \*\*\* .* Error (\d+)$", line):
            part.error = int(error[1])


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.killpg(process.pid, signal.SIGKILL)
