"""Keeps ``report.html`` up to date while a run goes on, at a cost that is bounded: a hundredth of the time at most.

A page takes as long as the run is large: 30 ms for 20 trials, seconds for a thousand long ones. So the pause between
two is a hundred times what the last one took, and no page is written as long as there is nothing new. Each is put in
its place in one step and tells the browser when to load the next one. The last page, which the end of the run writes,
does not.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_rltask.clock import monotonic_s
from pytest_rltask.report.files import write_page
from pytest_rltask.report.html import pieces
from pytest_rltask.report.summary import summarise
from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.load import Run, load_run
from pytest_rltask.verdict import Gate

__all__ = ["LivePage", "pause_s"]

FIRST_S = 3.0
"""Seconds until the first page: runs that are over by then need none."""
LEAST_S = 10.0
"""Seconds between two pages, at least."""
SHARE = 100
"""How many times as long as a page took the pause behind it is, at least."""


def pause_s(took_s: float) -> float:
    """Return how many seconds pass before the next page if the last one took so many."""
    return max(LEAST_S, SHARE * took_s)


class LivePage:
    """Writes the page from a thread of its own until it is stopped.

    Args:
        run_dir: of the run, with its plan.
        gate: what the verdicts must say.
        stop_early: whether the first verdict that is proven stands.
    """

    def __init__(self, run_dir: Path, gate: Gate, *, stop_early: bool) -> None:
        self._run_dir, self._gate, self._stop_early = run_dir, gate, stop_early
        self._stopped = threading.Event()
        self._seen = -1
        self._thread = threading.Thread(target=self._work, name="rltask-page", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write no further page; one that is being made is left off. Harmless when repeated."""
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        pause = FIRST_S
        while not self._stopped.wait(pause):
            began = monotonic_s()
            with contextlib.suppress(OSError, RunLogError, _Stopped):  # the end of the run tells what is wrong there
                self._write(max(LEAST_S, pause))
            pause = pause_s(monotonic_s() - began)

    def _write(self, refresh_s: float) -> None:
        length = sum(file.stat().st_size for file in self._run_dir.glob("trials.*.jsonl"))
        if length != self._seen:
            run = load_run(self._run_dir, conversations=False)
            _leave_out_unjudged(run)
            summary = summarise(run, self._gate, stop_early=self._stop_early)
            write_page(run, self._until_stopped(pieces(run, summary, refresh_s=refresh_s)))
            self._seen = length

    def _until_stopped(self, page: Iterable[str]) -> Iterator[str]:
        for piece in page:
            if self._stopped.is_set():
                raise _Stopped
            yield piece


def _leave_out_unjudged(run: Run) -> None:
    """Take trials whose test has yet to decide for what they are, in flight; what they cost counts."""
    for trial_id, record in list(run.records.items()):
        if record.outcome == "errored" and record.graded:
            run.unrecorded.append(run.records.pop(trial_id))


class _Stopped(Exception):
    """The run is over while a page of it as it goes on is being made."""
