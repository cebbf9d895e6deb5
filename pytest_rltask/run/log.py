"""Writes the run directory: everything a run leaves behind, so that nothing finished is ever lost.

`run.json` says how the run was started, `plan.json` what was to be played, `graders/` what graded it; each process
appends its finished trials to a file of its own, `trials.<writer>.jsonl`, one JSON object a line, on disk before the
trial's item reports. A line that a dying process left half-written is skipped on reading; nothing else can be damaged.
`load` reads it all; what processes of a run that goes on tell each other through it, `live` does.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pytest_rltask.clock import utc, utc_now
from pytest_rltask.run.files import created, write_text, write_whole
from pytest_rltask.run.lines import Lines, Reserve
from pytest_rltask.run.planned import NotStarted, PlannedTrial, transcript_path
from pytest_rltask.run.record import SCHEMA_VERSION, Outcome, Record, RequestLog, plain

__all__ = ["RunWriter"]

_RESERVED = 128 * 1024
"""Bytes set aside for what replies in flight cost: some 250 lines."""


class RunWriter:
    """Appends the trials that one process finishes, from whichever of its threads.

    Args:
        path: the run directory; created with its header by whichever process of the run comes first.
        writer: name of this process within the run: ``main``, ``gw0``, ...
        header: what ``run.json`` shall hold; its ``id`` tells this run from another that chose the same path.
    """

    def __init__(self, path: Path, writer: str, header: dict[str, Any]) -> None:
        self.path = created(path, header)
        self._trials = Lines(self.path / f"trials.{writer}.jsonl")
        self._reserve = Reserve(self.path / f"trials.{writer}.jsonl", _RESERVED)
        self._lock = threading.Lock()

    def plan(self, trials: list[PlannedTrial]) -> None:
        """Write what is going to be played; every process of a run writes the same."""
        write_whole(self.path / "plan.json", [asdict(trial) for trial in trials])

    def deal(self, shares: int) -> None:
        """Write into how many shares the trials are dealt: trial i of the plan belongs to share i % shares."""
        self._append_line({"type": "dealt", "shares": shares, "at": utc_now()})

    def start(self, trial_id: str) -> None:
        """Write that a trial begins, for whoever takes over if this process dies of it."""
        self._append_line({"type": "started", "trial_id": trial_id, "at": utc_now()}, durable=False)

    def append(self, record: Record) -> None:
        """Put a finished trial on disk; returns once it would survive a power cut."""
        self._append_line({"type": "trial", "schema": SCHEMA_VERSION, **record.to_json()})

    def pay(self, record: Record, request: RequestLog) -> None:
        """Write what a request of a trial that goes on cost, in case this process dies before the trial has ended.

        Raises:
            OSError: the disk is full; the line was still written, into space set aside, unless that was full too.
        """
        with self._lock:
            self._pay(record, request)

    def pay_at_once(self, record: Record, request: RequestLog) -> bool:
        """Do the same unless another thread is writing, which may take its time; say whether it was done."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._pay(record, request)
        finally:
            self._lock.release()
        return True

    def _pay(self, record: Record, request: RequestLog) -> None:
        told = {"trial_id": record.trial_id, "started": record.started, "at": utc_now(), "request": plain(request)}
        line = _line({"type": "paid", **told})
        try:
            self._trials.append(line, durable=False)
        except OSError:
            self._reserve.append(line)
            raise
        self._reserve.hold()

    def close(self) -> None:
        """Give up what was set aside; nothing more is paid for."""
        self._reserve.release()

    def amend(self, trial_id: str, outcome: Outcome, why: str) -> None:
        """Put on disk that the test's assertion judged a trial otherwise than its grader."""
        at = utc().isoformat()  # a later process may judge the trial again, in a file of its own
        self._append_line({"type": "assertion", "trial_id": trial_id, "outcome": outcome, "why": why, "at": at})

    def step(self, record: Record, how: str, now: Mapping[str, Any], *, grader: str, changes: str) -> None:
        """Put on disk what became of a grade whose grader had changed.

        Args:
            record: the trial's record, with the grade that it had.
            how: ``threshold``, ``replay`` or ``reuse``.
            now: what the new grade says, by field of the record; what it does not name stays.
            grader: digest of what grades now.
            changes: how that differs from what graded before.
        """
        told = {"how": how, "grader": grader, "changes": changes, "now": dict(now)}
        at = utc().isoformat()
        self._append_line({"type": "step", "trial_id": record.trial_id, "started": record.started, "at": at, **told})

    def supersede(self, trial_id: str, changes: str) -> None:
        """Put on disk that a trial is to be played again, since what grades it changed: its records count no more."""
        self._append_line({"type": "superseded", "trial_id": trial_id, "at": utc_now(), "changes": changes})

    def note_grader(self, digest: str, data: Mapping[str, Any]) -> None:
        """Write what grades, for later ones to be compared with; once, whichever process comes first."""
        path = self.path / "graders" / f"{digest}.json"
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            write_whole(path, data)

    def skip(self, trial_id: str, because: NotStarted | None = None) -> None:
        """Put on disk that a planned trial was skipped before it began.

        Args:
            trial_id: of the trial.
            because: why the run did not start it; None: a mark skips it, so that it is no longer part of the plan.
        """
        told = asdict(because) if because else {}
        self._append_line({"type": "skipped", "trial_id": trial_id, "at": utc_now(), **told})

    def write_transcript(self, record: Record, text: str) -> Path:
        """Write the readable form of a trial and return its path."""
        path = transcript_path(self.path, record.task, record.trial_id)
        path.parent.mkdir(exist_ok=True)
        write_text(path, text)
        return path

    def _append_line(self, data: dict[str, Any], *, durable: bool = True) -> None:
        line = _line(data)
        with self._lock:
            self._trials.append(line, durable=durable)


def _line(data: dict[str, Any]) -> bytes:
    """Return data as a line; ASCII escapes make any string of a model safe to write."""
    return (json.dumps(data, default=str) + "\n").encode()
