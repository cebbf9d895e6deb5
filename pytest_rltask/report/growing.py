"""Transcripts of trials that go on: each turn is in the file as soon as its results are, and the grade at the end.

A text that the disk refuses fails no trial and is not gone on with: the finished trial is written as a whole once its
item has its turn, and there a full disk is told.
"""

from __future__ import annotations

from pathlib import Path

from pytest_rltask.report.transcript import beginning, ending, said_between
from pytest_rltask.run.growing import GrowingText
from pytest_rltask.run.media_files import store_media
from pytest_rltask.run.planned import transcript_path
from pytest_rltask.run.record import Record

__all__ = ["GrowingTranscripts"]


class GrowingTranscripts:
    """The transcripts of the trials that one process plays. One thread calls it.

    Args:
        run_dir: the run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._texts = GrowingText(run_dir / "transcripts")
        self._told: dict[tuple[str, str], int | None] = {}
        """How many messages of each trial in flight are in its file; None: the disk refused one."""

    def turn(self, record: Record, messages: int) -> None:
        """Write what was said since the last call.

        Args:
            record: of a trial that goes on.
            messages: how many of its messages to write; more may follow meanwhile.
        """
        self._tell(record, messages, "")

    def end(self, record: Record) -> None:
        """Write what is left of a trial that has ended, and its grade."""
        self._tell(record, len(record.messages), ending(record))
        self._told.pop(_key(record), None)

    def _tell(self, record: Record, messages: int, end: str) -> None:
        key = _key(record)
        told = self._told.get(key, -1)
        if told is None:
            return
        text = said_between(record, max(told, 0), messages) + end
        path = transcript_path(self._run_dir, record.task, record.trial_id)
        self._told[key] = None
        try:
            store_media(self._run_dir, record)
            if told < 0:
                self._texts.begin(path, beginning(record) + text)
            else:
                self._texts.append(path, text)
        except OSError:
            return
        self._told[key] = messages


def _key(record: Record) -> tuple[str, str]:
    return record.trial_id, record.started
