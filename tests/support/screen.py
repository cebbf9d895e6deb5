"""Runs pytest in a terminal: a pseudo-terminal whose bytes a terminal emulator turns into a screen."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pyte


class Terminal:
    """One pytest at work in a terminal of its own.

    Args:
        folder: where it works.
        arguments: of pytest.
        columns, lines: of the terminal.
        env: what its environment has beyond ours.
    """

    def __init__(
        self, folder: Path, arguments: Sequence[str], *, columns: int = 100, lines: int = 30, **env: str
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=10_000)
        self.raw = b""
        self._stream = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        self.resize(columns, lines)
        decided_here = ("CI", "BUILD_NUMBER", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PY_COLORS")
        clean = {name: value for name, value in os.environ.items() if name not in decided_here}
        root = str(Path(__file__).parents[2])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments],
            cwd=folder,
            env={**clean, "TERM": "xterm-256color", "PYTHONPATH": root, **env},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)

    def resize(self, columns: int, lines: int) -> None:
        """Change the terminal's size; the program hears of it when it asks."""
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.screen.resize(lines, columns)

    def wait_for(self, condition: Callable[[str], object], timeout_s: float = 60) -> str:
        """Feed the screen until its text fulfils a condition, and return the text."""
        deadline = time.monotonic() + timeout_s
        while not condition(text := self.text()):
            assert time.monotonic() < deadline, text
            assert self._feed(deadline), f"pytest has ended:\n{text}"
        return text

    def type(self, keys: bytes) -> None:
        r"""Press keys; Ctrl-C is ``\x03``."""
        os.write(self._ours, keys)

    def finish(self, timeout_s: float = 60) -> str:
        """Feed the screen until pytest has ended, and return all that was ever on it."""
        deadline = time.monotonic() + timeout_s
        while self._feed(deadline):
            assert time.monotonic() < deadline, self.text()
        self.process.wait()
        os.close(self._ours)
        return self.text()

    def text(self) -> str:
        """Return what stands in the scrollback and on the screen."""
        width = range(self.screen.columns)
        above = ["".join(row[x].data for x in width) for row in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).rstrip()

    def kill(self) -> None:
        """End what is still running."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def _feed(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return True
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the other end is closed
            data = b""
        self.raw += data
        self._stream.feed(data)
        return bool(data)


def _take_terminal() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
