"""Follows a run that goes on: a trial's transcript as its turns are written, or the run's trials as they end.

What goes on is found by the run's files alone, as its own processes find it: a trial goes on from its line ``started``
to its record, as long as the process that wrote that line is alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_rltask.report.transcript import RULE, ending, render
from pytest_rltask.report.trials import written
from pytest_rltask.run.amendments import Amendments
from pytest_rltask.run.brief import with_conversation, without_conversation
from pytest_rltask.run.live import unread
from pytest_rltask.run.load import writer_of
from pytest_rltask.run.lock import is_played
from pytest_rltask.run.planned import PlannedTrial, transcript_path
from pytest_rltask.run.record import Record

__all__ = ["follow_run", "follow_trial"]


class _Flights:
    """Which trials of a run are in flight, and how those ended that have."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._read: dict[Path, int] = {}
        self._writers: dict[str, str] = {}
        self._ended: set[str] = set()
        self._records: dict[str, list[Record]] = {}
        self._amendments = Amendments()

    def look(self) -> list[str]:
        """Take in what was written, and return the trials of which something new is known."""
        new = {}
        for line, file in unread(self._run_dir, self._read):
            try:
                entry = without_conversation(line)
                trial_id, kind = str(entry.get("trial_id")), entry.get("type")
                if kind == "started":
                    self._writers[trial_id] = writer_of(file)
                    self._ended.discard(trial_id)
                elif kind == "trial":
                    self._records.setdefault(trial_id, []).append(Record.from_json(entry))
                    self._ended.add(trial_id)
                    new[trial_id] = True
                elif self._amendments.note(entry):
                    new[trial_id] = True
            except (ValueError, AttributeError, RecursionError):
                continue  # half a line of a process that died
        return list(new)

    def has_begun(self, trial_id: str) -> bool:
        """Say whether a trial was begun."""
        return trial_id in self._writers

    def goes_on(self, trial_id: str) -> bool:
        """Say whether a trial is in flight, or may yet begin."""
        return trial_id not in self._ended and is_played(self._run_dir, self._writers.get(trial_id, "*"))

    def record(self, trial_id: str) -> Record | None:
        """Return the record of a trial that counts, without its conversation."""
        return self._amendments.counted(self._records.get(trial_id, ()))[0]


def follow_trial(run_dir: Path, trial: PlannedTrial, wait: Callable[[], None]) -> Iterator[str]:
    """Yield a trial's transcript, line by line as they are written, until the trial ends or its process is gone.

    Args:
        run_dir: the run directory.
        trial: which one.
        wait: called between two looks.
    """
    flights, told = _Flights(run_dir), ""
    path = transcript_path(run_dir, trial.task, trial.trial_id)
    flights.look()
    while flights.goes_on(trial.trial_id):
        text = written(path) if flights.has_begun(trial.trial_id) else ""
        if not text.startswith(told):
            yield from _lines(f"\n{RULE}played again {'-' * 64}\n\n")
            told = ""
        whole = text[: text.rfind("\n") + 1]
        yield from _lines(whole[len(told) :])
        told = whole
        wait()
        flights.look()
    if record := flights.record(trial.trial_id):
        text = render(with_conversation(run_dir, record))
        yield from _lines(text[len(told) :] if text.startswith(told) else ending(record))
        return
    text = written(path) if flights.has_begun(trial.trial_id) else ""
    yield from _lines(text[len(told) :])
    yield from _lines("\nthe process that played it is gone\n" if text else "it was never begun\n")


def follow_run(run_dir: Path, wait: Callable[[], None]) -> Iterator[Record]:
    """Yield a run's finished trials, then others as they end, until no process of the run is left.

    A trial is told again if the test's assertion overrules its grade; one that an assertion alone judges waits for it.

    Args:
        run_dir: the run directory.
        wait: called between two looks.
    """
    flights, told, is_last = _Flights(run_dir), dict[str, str](), False
    unjudged: list[str] = []
    while not is_last:
        is_last = not is_played(run_dir)
        due, unjudged = [*unjudged, *flights.look()], []
        for trial_id in due:
            record = flights.record(trial_id)
            if record is None or told.get(trial_id) == record.outcome:
                continue
            if record.outcome == "errored" and record.graded and not is_last:
                unjudged.append(trial_id)
                continue
            told[trial_id] = record.outcome
            yield record
        if not is_last:
            wait()


def _lines(text: str) -> list[str]:
    """Return the lines of a text that ends with one."""
    return text.split("\n")[:-1] if text.endswith("\n") else text.split("\n") if text else []
