"""Reads a run directory while processes of the run append to it: what other workers finished, began, or died of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pytest_rltask.run.record import Record

__all__ = ["Ended", "LiveRun", "parsed", "unread"]


class Ended(NamedTuple):
    """How a trial ended: the part of its record that progress is made of."""

    outcome: str
    """Empty if it has a grade that only the test's assertion can judge."""
    graded: bool
    seconds: float
    """From its start to its end."""


class LiveRun:
    """What the processes of a run have written so far.

    Each reading goes on where the last one ended: conversations are long, and a run may have thousands.

    Args:
        path: the run directory.
        since: UTC time, ISO 8601: what began or ended before belongs to an invocation that this one resumes.
    """

    def __init__(self, path: Path, *, since: str = "") -> None:
        self._since = since
        self.tried: dict[str, str] = {}
        """What each finished trial tried, by its id."""
        self.starts: Counter[str] = Counter()
        """How often each trial was begun."""
        self.began: dict[str, str] = {}
        """When each trial was begun, the last time."""
        self.ended: dict[str, Ended] = {}
        """How each trial ended; one that this invocation takes over, or played itself."""
        self.skipped: set[str] = set()
        """Trials that will not be played."""
        self.cost_usd: float | None = 0.0
        """What all trials together cost, those in flight included; None once the price of any is unknown."""
        self.known_cost_usd = 0.0
        """What is known of that."""
        self.payments = 0
        """Requests that cost something, or may have."""
        self.shares = 0
        """In how many shares the trials are dealt to workers of pytest-xdist; 0: they are not."""
        self._path = path
        self._paid_ahead: Counter[tuple[str, str, str]] = Counter()
        """How many requests of a trial, of the player's and to judges, were added up before it had ended."""
        self._read: dict[Path, int] = {}
        self._finished: dict[str, tuple[Path, int]] = {}
        self._superseded: dict[str, str] = {}
        self._began_of_end: dict[str, str] = {}
        self._judged: dict[str, tuple[str, str]] = {}  # when and how the test's assertion decided

    def read(self) -> LiveRun:
        """Take in what was written since the last reading; a line still being written is left for later."""
        for line, file in unread(self._path, self._read):
            self._note(line, file)
        return self

    def is_finished(self, trial_id: str) -> bool:
        """Say whether a trial's record is on disk."""
        return trial_id in self._finished

    def is_suspect(self, trial_id: str) -> bool:
        """Say whether a trial began and has no record: one whose process died may have died of it."""
        return trial_id in self.starts and trial_id not in self._finished

    def outcome(self, trial_id: str) -> str:
        """Return how a trial that has ended counts: as its test judged it, or else as its grader did."""
        return self._judged.get(trial_id, ("", self.ended[trial_id].outcome))[1]

    def record(self, trial_id: str) -> Record | None:
        """Load the record of a trial; None if it is not finished."""
        if trial_id not in self._finished:
            return None
        file, offset = self._finished[trial_id]
        with file.open("rb") as lines:
            lines.seek(offset)
            return Record.from_json(json.loads(lines.readline()))

    def _note(self, line: bytes, file: Path) -> None:
        entry = parsed(line)
        trial_id = str(entry.get("trial_id"))
        match entry.get("type"):
            case "started" if str(entry.get("at", "")) >= self._since:
                self.starts[trial_id] += 1
                self.began[trial_id] = str(entry["at"])
            case "dealt" if isinstance(entry.get("shares"), int) and str(entry.get("at", "")) >= self._since:
                self.shares = entry["shares"]
            case "skipped":
                self.skipped.add(trial_id)
            case "superseded":
                self._superseded[trial_id] = max(str(entry.get("at", "")), self._superseded.get(trial_id, ""))
                if self._began_of_end.get(trial_id, "~") < self._superseded[trial_id]:
                    self._forget(trial_id)
            case "step" if isinstance(entry.get("now"), dict) and "outcome" in entry["now"]:
                judged = str(entry.get("at", "")), str(entry["now"]["outcome"])
                self._judged[trial_id] = max(judged, self._judged.get(trial_id, judged))
            case "assertion":
                judged = str(entry.get("at", "")), str(entry.get("outcome"))
                self._judged[trial_id] = max(judged, self._judged.get(trial_id, judged))
            case "paid" if isinstance(entry.get("request"), dict):
                name = "judge_requests" if entry["request"].get("judge") else "requests"
                self._paid_ahead[trial_id, str(entry.get("started", "")), name] += 1
                self._add(entry["request"].get("cost_usd"))
            case "trial" if str(entry.get("started", "")) < self._superseded.get(trial_id, ""):
                self._note_cost(entry)
            case "trial" if isinstance(entry.get("tried"), str):
                self._note_end(trial_id, entry)
                self.tried[trial_id] = entry["tried"]
                if str(entry.get("started", "")) >= self._since:
                    self._finished[trial_id] = file, self._read.get(file, 0)

    def _forget(self, trial_id: str) -> None:
        """Take a trial for one that has not ended: it is to be played again, since what grades it changed."""
        for known in (self.ended, self.tried, self._judged, self._began_of_end):
            known.pop(trial_id, None)

    def _note_cost(self, entry: dict[str, Any]) -> None:
        for name in ("requests", "judge_requests"):
            ahead = self._paid_ahead.pop((str(entry.get("trial_id")), str(entry.get("started", "")), name), 0)
            costs = [request.get("cost_usd") for request in entry.get(name, ())]
            for cost in [cost for cost in costs if cost != 0][ahead:]:
                self._add(cost)

    def _add(self, cost: float | None) -> None:
        self.payments += 1
        self.known_cost_usd += cost or 0.0
        self.cost_usd = None if self.cost_usd is None or cost is None else self.known_cost_usd

    def _note_end(self, trial_id: str, entry: dict[str, Any]) -> None:
        self._note_cost(entry)
        outcome = str(entry.get("outcome"))
        graded = outcome != "errored" or (entry.get("fault") is None and entry.get("score") is not None)
        is_ours = str(entry.get("started", "")) >= self._since
        before = self.ended.get(trial_id)
        if (graded or is_ours) and (before is None or graded > before.graded):  # the first with a grade counts
            self._began_of_end[trial_id] = str(entry.get("started", ""))
            self.ended[trial_id] = Ended("" if graded and outcome == "errored" else outcome, graded, _total(entry))


def _total(entry: dict[str, Any]) -> float:
    total = entry.get("seconds", {}).get("total")
    return total if isinstance(total, float | int) else 0.0


def unread(path: Path, read: dict[Path, int]) -> Iterator[tuple[bytes, Path]]:
    """Yield the lines that processes have appended to a run directory, each with its file.

    Args:
        path: the run directory.
        read: how far each file was read; brought up to date behind each line.
    """
    for file in path.glob("trials.*.jsonl"):
        with file.open("rb") as lines:
            lines.seek(read.get(file, 0))
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                yield line, file
                read[file] = read.get(file, 0) + len(line)


def parsed(line: bytes) -> dict[str, Any]:
    """Return what a line says; nothing if it says nothing."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return {}  # half a line of a process that died
    return entry if isinstance(entry, dict) else {}
