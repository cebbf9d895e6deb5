"""What a run waits for, told by the process that waits to those that watch: a small file a process, gone at the end."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pytest_rltask.clock import utc_now
from pytest_rltask.run.files import write_text

__all__ = ["Bulletin", "cleared", "waits"]

NAME = ".waiting."


class Bulletin:
    """Where a process says what it waits for, and hears whether others of its run have been answered.

    Args:
        path: the run directory.
        writer: name of this process within the run.
        since: when the invocation began: what an earlier one left says nothing to this one.
    """

    def __init__(self, path: Path, writer: str, since: str) -> None:
        self._path = path
        self._file = path / f"{NAME}{writer}"
        self._since = since
        self._answered = False
        self._what: dict[str, str] = {}
        self._lines: deque[str] = deque()

    def tell(self, line: str) -> None:
        """Have pytest's thread tell something."""
        self._lines.append(line)

    def taken(self) -> Iterator[str]:
        """Yield what is to be told, once."""
        while self._lines:
            yield self._lines.popleft()

    def wait(self, what: str, *, timed: bool = False) -> None:
        """Show what is waited for; nothing if it is empty."""
        told = {"what": what, **({"at": utc_now()} if timed else {})} if what else {}
        if told != self._what:
            self._what = told
            self._write()

    def note_answer(self) -> None:
        """Take note that a server answered."""
        self._answered = True
        self._write()

    def was_answered(self) -> bool:
        """Say whether one answered any process of the run."""
        return self._answered or any(one.get("answered") for one in _read(self._path, self._since))

    def _write(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: it is told elsewhere
            write_text(self._file, json.dumps({"since": self._since, "answered": self._answered, **self._what}))


def waits(path: Path, since: str) -> list[tuple[str, str]]:
    """Return what the processes of a run wait for, each with the time since when, if that is told."""
    found = ((str(one.get("what", "")), str(one.get("at", ""))) for one in _read(path, since))
    return sorted(one for one in found if one[0])


def cleared(path: Path) -> None:
    """Take the files away, once no process is left."""
    for file in path.glob(f"{NAME}*"):
        with contextlib.suppress(OSError):
            file.unlink()


def _read(path: Path, since: str) -> Iterator[dict[str, Any]]:
    for file in sorted(path.glob(f"{NAME}*")):
        with contextlib.suppress(OSError, ValueError):  # being written
            entry = json.loads(file.read_text())
            if isinstance(entry, dict) and entry.get("since") == since:
                yield entry
