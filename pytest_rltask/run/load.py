"""Reads a run directory, of this or an earlier version: its header, its plan, and which record of a trial counts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pytest_rltask.run.amendments import Amendments
from pytest_rltask.run.brief import without_conversation
from pytest_rltask.run.files import RunLogError, load_json
from pytest_rltask.run.garbage import uncollected
from pytest_rltask.run.planned import NotStarted, PlannedTrial
from pytest_rltask.run.record import SCHEMA_VERSION, Record, RequestLog, known_fields, request_from_json
from pytest_rltask.task import Band

__all__ = ["Run", "load_grader", "load_header", "load_plan", "load_records", "load_run", "writer_of"]


@dataclass
class Run:
    """A run directory as loaded."""

    path: Path
    header: dict[str, Any]
    plan: list[PlannedTrial]
    records: dict[str, Record] = field(default_factory=dict)
    """Finished trials by id."""
    superseded: list[Record] = field(default_factory=list)
    """Records that do not count, since their trial was played again; they were paid as well."""
    starts: dict[str, list[str]] = field(default_factory=dict)
    """When each trial was begun, by id."""
    not_started: dict[str, NotStarted] = field(default_factory=dict)
    """Planned trials that the run did not start, by id."""
    unrecorded: list[Record] = field(default_factory=list)
    """What is known of trials whose process died before their record was written, if anything of them was paid."""
    damaged_lines: int = 0
    """Half-written lines that were skipped."""

    @property
    def paid(self) -> list[Record]:
        """All records, whether they count or not, and what else was paid."""
        return [*self.records.values(), *self.superseded, *self.unrecorded]


def writer_of(file: Path) -> str:
    """Return the name, within the run, of the process that writes a file of trials.

    Example:
        >>> writer_of(Path("logs/run_20261122_062209/trials.gw0.jsonl"))
        'gw0'
    """
    return file.name.removeprefix("trials.").removesuffix(".jsonl").removesuffix(".rest")


def load_run(path: Path, *, conversations: bool = True) -> Run:
    """Load a run directory.

    Args:
        path: of the directory.
        conversations: whether the records shall have their messages and tools, which are most of a run and take most of
            the time to read.

    Raises:
        RunLogError: it is none, or was written by a later version.
    """
    run = Run(path, load_header(path), load_plan(path))
    load_records(run, conversations=conversations)
    return run


def load_grader(path: Path, digest: str) -> dict[str, Any] | None:
    """Load what a run directory says of a grader; None if it does not know it."""
    try:
        data = load_json(path / "graders" / f"{digest}.json") if digest.isalnum() else None
    except RunLogError:
        return None
    return data if isinstance(data, dict) else None


def load_header(path: Path) -> dict[str, Any]:
    """Load what says how a run was started.

    Raises:
        RunLogError: the path is no run directory, or one of a later version.
    """
    try:
        if not path.is_dir():
            raise RunLogError(f"{path} is not a directory")
    except PermissionError as error:
        raise RunLogError(f"{path} cannot be read: {error.strerror}") from None
    header = load_json(path / "run.json")
    if not isinstance(header, dict) or not isinstance(header.get("schema"), int):
        raise RunLogError(f"{path} is not a run directory of pytest-rltask")
    if header["schema"] > SCHEMA_VERSION:
        raise RunLogError(f"{path} was written by a later version (schema {header['schema']}); upgrade pytest-rltask")
    if wrong := _wrong(header):
        raise RunLogError(f"{path / 'run.json'} is damaged: its {wrong} is none")
    return header


_SHARD = {"index": int, "of": int, "whole": str, "parts": int, "by_row": bool}
_MOST_SHARDS = 100_000


def _wrong(header: dict[str, Any]) -> str:
    """Return what of a header cannot be used; empty if all can."""
    shard = header.get("shard")
    if shard is not None:
        if not isinstance(shard, dict) or any(not isinstance(shard.get(key), kind) for key, kind in _SHARD.items()):
            return "shard"
        if not 0 <= shard["index"] < shard["of"] <= _MOST_SHARDS:
            return "shard"
    texts = [key for key in ("id", "command", "created") if not isinstance(header.get(key) or "", str)]
    return texts[0] if texts else ""


def load_records(run: Run, *, conversations: bool = True) -> None:
    """Load the trials that a run's processes finished; of a trial that was played more than once, one record counts.

    Args:
        run: what to load them into.
        conversations: as of `load_run`.

    Raises:
        RunLogError: a file cannot be read.
    """
    found = _Found({}, Amendments(), {}, {})
    with uncollected():
        for file in sorted(run.path.glob("trials.*.jsonl")):
            _load_trials(file, run, found, parse=json.loads if conversations else without_conversation)
    for trial_id, records in found.records.items():
        # Whoever asserted on a trial may have another file than whoever played it.
        counts, rest = found.amendments.counted(records)
        run.superseded += rest
        if counts is not None:
            run.records[trial_id] = counts
    planned = {trial.trial_id: trial for trial in run.plan}
    ended = {(record.trial_id, record.started) for records in found.records.values() for record in records}
    run.unrecorded = [
        planned[trial_id].cut_off(started, requests)
        for (trial_id, started), requests in found.payments.items()
        if trial_id in planned and (trial_id, started) not in ended
    ]
    left_out = {
        trial_id: why
        for trial_id, (at, why) in found.skipped.items()
        if trial_id not in run.records and max(run.starts.get(trial_id, ()), default="") <= at
    }
    run.not_started = {trial_id: why for trial_id, why in left_out.items() if why}
    run.plan = [trial for trial in run.plan if trial.trial_id not in left_out or trial.trial_id in run.not_started]


def load_plan(path: Path) -> list[PlannedTrial]:
    """Load what a run directory says was to be played.

    Raises:
        RunLogError: it has no plan, or a damaged one.
    """
    plan = load_json(path / "plan.json")
    if not isinstance(plan, list):
        raise RunLogError(f"{path} is not a run directory of pytest-rltask")
    try:
        trials = [PlannedTrial(**{**known_fields(PlannedTrial, trial), "band": tuple(trial["band"])}) for trial in plan]
        for band in {trial.band for trial in trials}:
            Band(*band)
        if odd := next((trial for trial in trials if not all(isinstance(each, str) for each in _words(trial))), None):
            raise TypeError(f"a trial {odd.trial_id!r}")
        return trials
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise RunLogError(f"{path / 'plan.json'} is damaged: {error}") from None


def _words(trial: PlannedTrial) -> tuple[object, ...]:
    return trial.trial_id, trial.test, trial.task, trial.model, trial.grader


class _Found(NamedTuple):
    """What the files of a run say, while they are read."""

    records: dict[str, list[Record]]
    amendments: Amendments
    skipped: dict[str, tuple[str, NotStarted | None]]
    """When a trial was skipped last, and why if the run decided so."""
    payments: dict[tuple[str, str], list[RequestLog]]
    """What requests cost before their trial had ended, by trial and the time at which it began."""


def _load_trials(file: Path, run: Run, found: _Found, parse: Callable[[bytes], Any]) -> None:
    for entry in _entries(file, run, parse):
        try:
            if entry.get("type") == "trial":
                record = Record.from_json(entry)
                found.records.setdefault(record.trial_id, []).append(record)
            elif not found.amendments.note(entry):
                _note_start(entry, run, found)
        except ValueError as error:
            raise RunLogError(f"{file}: {error}") from None


def _note_start(entry: dict[str, Any], run: Run, found: _Found) -> None:
    """Take in that a trial was begun or skipped, or that something of it was paid."""
    trial_id, at = str(entry.get("trial_id")), str(entry.get("at", ""))
    if entry.get("type") == "paid":
        _note_payment(trial_id, entry, found)
    elif entry.get("type") == "started":
        run.starts.setdefault(trial_id, []).append(at)
    elif entry.get("type") == "skipped":
        why = _not_started(entry)
        found.skipped[trial_id] = max(found.skipped.get(trial_id, ("", None)), (at, why), key=lambda skip: skip[0])


def _note_payment(trial_id: str, entry: dict[str, Any], found: _Found) -> None:
    try:
        paid = request_from_json(entry["request"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a payment: {error}") from error
    found.payments.setdefault((trial_id, str(entry.get("started", ""))), []).append(paid)


def _not_started(entry: dict[str, Any]) -> NotStarted | None:
    if entry.get("why") not in ("proven", "cost", "faulty"):
        return None
    rule = entry.get("rule")
    return NotStarted(entry["why"], str(entry.get("reason")), rule if isinstance(rule, int) else 1)


def _entries(file: Path, run: Run, parse: Callable[[bytes], Any]) -> Iterator[dict[str, Any]]:
    try:
        with file.open("rb") as lines:
            for line in lines:
                try:
                    entry = parse(line)
                except (ValueError, RecursionError):
                    run.damaged_lines += 1
                    continue
                if isinstance(entry, dict):
                    yield entry
    except OSError as error:
        raise RunLogError(f"{file} cannot be read: {error.strerror}") from None
