"""One line below pytest's cursor, on a terminal that it shares with pytest.

It stands in the row after the one in which pytest writes, and is gone whenever pytest may write: without
pytest-xdist it is shown only while pytest's thread waits for a trial, in the controller of pytest-xdist it is hidden
around the hooks in which terminals are written to. So pytest's own output stays as it is, on the screen and in the
scrollback. It is written to the terminal itself, since pytest captures what goes to standard output.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.clock import monotonic_s
from pytest_rltask.report.progress import Progress
from pytest_rltask.run.files import RunLogError

__all__ = ["StatusLine", "is_wanted", "status_line"]

INTERVAL_S = 0.5
"""Seconds between two looks at the numbers."""
AGAIN_S = 0.05
"""Seconds after which a line that was hidden is shown again at once, and not at the next look."""
QUIET_S = 1.0
"""Seconds without a line after events of pytest-xdist that it reports in its own time."""

# Make sure of a row below (IND scrolls if there is none, and keeps the column), go there, write, and come back.
PAINT = "\x1bD\x1b[A\x1b7\x1b[B\r{}\x1b[K\x1b8"
ERASE = "\x1b[J"
"""All that stands after pytest's cursor is our line."""


def status_line(config: pytest.Config, run_dir: Path, *, since: str) -> StatusLine | None:
    """Return the line that shows the progress of a run, not shown yet; None if nobody watches.

    Args:
        config: of the process that reports, while it does not capture its output.
        run_dir: of the run.
        since: when this invocation began.
    """
    if not is_wanted(config):
        return None
    progress, unicode = Progress(run_dir, since=since), "utf" in (sys.stdout.encoding or "").lower()
    line = StatusLine(os.dup(1), lambda width: progress.line(width, unicode=unicode))
    if config.pluginmanager.hasplugin("dsession"):
        config.pluginmanager.register(line)
    return line


def is_wanted(config: pytest.Config) -> bool:
    """Say whether pytest writes to a terminal that a person watches, and nobody else writes to it meanwhile."""
    environment_allows = os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("CI")
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return (
        environment_allows
        and type(reporter) is pytest.TerminalReporter  # another plugin's may draw lines of its own
        and config.get_terminal_writer().hasmarkup  # --color, NO_COLOR
        and _is_terminal(1)
        and config.get_verbosity() >= 0
        and config.getoption("capture") in ("fd", "sys")
        and not _logs_live(config)
    )


class StatusLine:
    """Keeps a line up to date, from a thread of its own, while it is shown. Also a plugin, for pytest-xdist.

    Args:
        terminal: a file descriptor, which becomes this object's.
        text: returns the line for a number of columns; called in the thread.
    """

    def __init__(self, terminal: int, text: Callable[[int], str]) -> None:
        self._terminal = terminal
        self._text = text
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._line = ""
        self._is_shown = self._is_painted = False
        self._painted = 0.0
        self._quiet_until = 0.0
        self._thread = threading.Thread(target=self._work, name="rltask-progress", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the line while pytest's thread waits in this block."""
        self._show()
        try:
            yield
        finally:
            self._hide()

    @contextlib.contextmanager
    def hidden(self) -> Iterator[None]:
        """Give way to what is written in this block, in any process that shows the line."""
        was_shown = self._is_shown
        self._hide()
        try:
            yield
        finally:
            if was_shown:
                self._show()

    def stop(self) -> None:
        """Take the line away for good. Harmless when repeated."""
        self._hide()
        if not self._stopped.is_set():
            self._stopped.set()
            self._thread.join()
            os.close(self._terminal)

    def _show(self) -> None:
        with self._lock:
            self._is_shown = True
            if monotonic_s() - self._painted >= AGAIN_S:
                self._paint()

    def _hide(self) -> None:
        with self._lock:
            self._is_shown = False
            if self._is_painted:
                self._is_painted = False
                self._write(ERASE)

    def _paint(self) -> None:
        now = monotonic_s()
        if self._line and self._is_shown and not self._stopped.is_set() and now >= self._quiet_until:
            self._painted, self._is_painted = now, True
            self._write(PAINT.format(self._line))

    def _work(self) -> None:
        while not self._stopped.wait(INTERVAL_S):
            if self._is_shown and _is_in_foreground(self._terminal):
                with contextlib.suppress(OSError, RunLogError):  # no run directory to read any more: no news
                    # The last column stays free: a cursor beyond it wraps on some terminals.
                    self._line = self._text(_columns_of(self._terminal) - 1)
                with self._lock:
                    self._paint()

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone
            os.write(self._terminal, text.encode())

    # ---- hooks in the controller of pytest-xdist ----

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self) -> Generator[None, Any, Any]:
        """Give way to what pytest writes of an item."""
        self._hide()
        result = yield
        self._show()
        return result

    pytest_runtest_logreport = pytest_runtest_logfinish = pytest_runtest_logstart

    @pytest.hookimpl(tryfirst=True, optionalhook=True)
    def pytest_testnodedown(self) -> None:
        """Give way for a while: of workers, pytest-xdist writes after the hook as well."""
        self._hide()
        self._quiet_until = monotonic_s() + QUIET_S

    pytest_testnodeready = pytest_xdist_node_collection_finished = pytest_handlecrashitem = pytest_testnodedown

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self) -> None:
        """Give way for good."""
        self.stop()

    pytest_keyboard_interrupt = pytest_sessionfinish = pytest_internalerror


def _is_terminal(fd: int) -> bool:
    try:
        return os.isatty(fd)
    except OSError:
        return False


def _columns_of(terminal: int) -> int:
    try:
        return os.get_terminal_size(terminal).columns or 80
    except OSError:
        return 80


def _is_in_foreground(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return True  # a terminal that is not ours to control


def _logs_live(config: pytest.Config) -> bool:
    """Say whether log lines go to the terminal as they come, from any thread."""
    try:
        return config.getoption("log_cli_level") is not None or bool(config.getini("log_cli"))
    except ValueError:  # -p no:logging
        return False
