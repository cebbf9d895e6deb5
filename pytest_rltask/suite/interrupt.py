"""Ctrl-C and SIGTERM while trials are played: both end the run in order, and soon.

Without this, SIGTERM would leave sandboxes behind, a second Ctrl-C would break off the closing of episodes, workers
of pytest-xdist would hear five seconds late of an interrupt that reached their controller alone, and pytest would
take its time to look up the source of every frame and to collect garbage.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from pytest_rltask.clock import monotonic_s
from pytest_rltask.run.files import write_text
from pytest_rltask.run.record import outcome_word

__all__ = ["ENDING_S", "Interrupts", "StopFile", "count_unreported"]

ENDING_S = 2.0
"""Seconds that a run is given to end after an interrupt. Another interrupt within them changes nothing."""


class StopFile:
    """Tells workers of pytest-xdist, through the run directory, that their controller was interrupted.

    A worker hears nothing from its controller while it waits for a trial.

    Args:
        run_dir: where all of them see it.
        since: when the invocation began: what an earlier one left says nothing to this one.
    """

    def __init__(self, run_dir: Path, since: str) -> None:
        self._path = run_dir / ".interrupted"
        self._since = since

    def write(self) -> None:
        """Have the workers stop; should this fail, pytest-xdist will."""
        with contextlib.suppress(OSError):
            write_text(self._path, self._since)

    def is_there(self) -> bool:
        """Say whether the workers shall stop."""
        try:
            return self._path.read_text() == self._since
        except (OSError, UnicodeDecodeError):
            return False

    def remove(self) -> None:
        """Take it away, once no worker is left."""
        self._path.unlink(missing_ok=True)


class Interrupts:
    """Turns SIGTERM into what Ctrl-C is, lets pass one of them at a time, and hastens the end.

    Args:
        config: pytest's configuration.
        since: when the invocation began.
    """

    def __init__(self, config: pytest.Config, since: str) -> None:
        self._config = config
        self._since = since
        self._run_dir: Path | None = None
        self._previous: dict[signal.Signals, Any] = {}
        self._heard = float("-inf")

    def install(self, run_dir: Path) -> None:
        """Handle both signals until the end of the pytest run; one that the user has handled stays as it is."""
        if self._run_dir is not None:
            return
        self._run_dir = run_dir
        self._config.pluginmanager.register(self)
        if threading.current_thread() is not threading.main_thread():
            return
        self._config.add_cleanup(self._restore)
        for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            if signal.getsignal(number) == default:
                self._previous[number] = signal.signal(number, self._interrupt)

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Stop the workers of pytest-xdist, and spare pytest what takes it seconds and serves nobody."""
        assert self._run_dir is not None, "the plugin is registered with it"
        if self._config.pluginmanager.hasplugin("dsession"):
            stop = StopFile(self._run_dir, self._since)
            self._config.add_cleanup(stop.remove)
            stop.write()
        if not self._config.getoption("fulltrace"):
            # Only the place is shown: for the source of each frame, all modules of the process would be searched.
            visible = excinfo.traceback.filter(excinfo) or excinfo.traceback
            excinfo.traceback = type(visible)([visible[-1].with_repr_style("value")])  # type: ignore[arg-type]
        gc.freeze()  # pytest collects garbage ten times before it ends, each time among all objects of the SDK

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        __tracebackhide__ = True
        now = monotonic_s()
        if now - self._heard < ENDING_S:
            return  # after that, whoever insists is heard: a fixture may hang
        self._heard = now
        raise KeyboardInterrupt("SIGTERM") if number == signal.SIGTERM else KeyboardInterrupt

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            if signal.getsignal(number) == self._interrupt:
                signal.signal(number, handler)


def count_unreported(reporter: Any, outcomes: Mapping[str, str]) -> None:
    """Have pytest's last line count the trials that ended and whose items an interrupt left no time to report.

    Args:
        reporter: pytest's terminal reporter, before it writes that line.
        outcomes: how each trial ended, by its id, as the table counts it.
    """
    ends = [reports for category, reports in reporter.stats.items() if category]  # without name: setups and teardowns
    reported = {getattr(report, "nodeid", "") for reports in ends for report in reports}
    for trial_id, outcome in outcomes.items():
        if trial_id not in reported:
            report = pytest.TestReport(trial_id, ("", None, ""), {}, "passed", None, "call")
            reporter._add_stats("error" if outcome == "errored" else outcome_word(outcome), [report])
