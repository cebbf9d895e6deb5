"""The run directory: everything a run leaves behind, written so that nothing finished is ever lost.

`run.json` says how the run was started, `plan.json` what was to be played, `graders/` what graded it; each process
appends its finished trials to a file of its own, `trials.<writer>.jsonl`, one JSON object a line, on disk before the
trial's item reports. A line that a dying process left half-written is skipped on reading; nothing else can be damaged.
What processes of a run that goes on tell each other through it, `live` reads.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pytest_rltask.amendments import Amendments, amend, begun, counting
from pytest_rltask.clock import utc, utc_now
from pytest_rltask.lines import Lines
from pytest_rltask.record import SCHEMA_VERSION, Fault, Outcome, Record, known_fields
from pytest_rltask.runfiles import (
    RunLogError,
    choose_run_dir,
    created,
    find_run_dir,
    load_json,
    write_whole,
)

__all__ = [
    "NotStarted",
    "PlannedTrial",
    "Run",
    "RunLogError",
    "RunWriter",
    "amend",
    "begun",
    "choose_run_dir",
    "counting",
    "find_run_dir",
    "load_grader",
    "load_header",
    "load_plan",
    "load_records",
    "load_run",
    "split_trial_id",
    "transcript_path",
    "writer_of",
]


@dataclass(frozen=True)
class PlannedTrial:
    """One trial that the run set out to play."""

    trial_id: str
    test: str
    """Node id of the test function, without the part that names model and run."""
    task: str
    task_digest: str
    model: str
    run: int
    seed: int
    band: tuple[float, float]
    limits: dict[str, Any] = field(default_factory=dict)
    """Limits of the trial by name; empty if an earlier version planned it."""
    grader: str = ""
    """Digest of what grades it, see :mod:`~pytest_rltask.grader`; empty if an earlier version planned it."""
    sandbox: str = ""
    """What isolates the code that it runs, ``auto`` until that is settled; empty if its task runs none."""
    alone: str = ""
    """Why no other trial of its process is in flight beside it; empty if others may be."""

    def lost(self) -> Record:
        """Return the record of this trial if the process that played it died, whatever of."""
        said = "the process that played the trial died: killed, out of memory, or a crash of native code"
        return Record(
            trial_id=self.trial_id,
            task=self.task,
            task_digest=self.task_digest,
            model=self.model,
            run=self.run,
            seed=self.seed,
            label="process fault",
            reason=said,
            fault=Fault("process", said),
            grader=self.grader,
            started=utc_now(),
        )


@dataclass(frozen=True)
class NotStarted:
    """Why the run did not start a planned trial, of its own accord."""

    why: Literal["proven", "cost", "faulty"]
    """Its verdict was proven (``--stop-early``), the money would not have lasted (``--max-cost``), or one fault ended
    those before it."""
    reason: str
    """One sentence."""
    rule: int = 1
    """Version of the rule by which something was proven."""


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
    damaged_lines: int = 0
    """Half-written lines that were skipped."""

    @property
    def paid(self) -> list[Record]:
        """All records, whether they count or not."""
        return [*self.records.values(), *self.superseded]


def split_trial_id(trial_id: str) -> tuple[str, str]:
    """Split an item's node id into the test's and what stands in its brackets.

    Example:
        >>> split_trial_id("suite[1]/test_sum.py::test_sum[run-00-a]")
        ('suite[1]/test_sum.py::test_sum', 'run-00-a')
    """
    path, separator, name = trial_id.partition("::")
    function, _, inside = name.partition("[")
    return f"{path}{separator}{function}", inside.removesuffix("]")


def transcript_path(run_dir: Path, task: str, trial_id: str) -> Path:
    """Return where the readable form of a trial is written: ``transcripts/<task>-<run>.txt``."""
    name = f"{task}-{split_trial_id(trial_id)[1]}"
    # A name that no shell asks to quote; a model's colon aside, what had to change gets a digest to stay unique.
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    if safe != name.replace(":", "_") or len(safe) > 100:
        safe = f"{safe[:90]}-{hashlib.sha256(trial_id.encode(errors='replace')).hexdigest()[:8]}"
    return run_dir / "transcripts" / f"{safe}.txt"


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
        path.write_text(text, encoding="utf-8", errors="replace")
        return path

    def _append_line(self, data: dict[str, Any], *, durable: bool = True) -> None:
        # ASCII escapes make any string of a model safe to write.
        line = json.dumps(data, default=str) + "\n"
        with self._lock:
            self._trials.append(line.encode(), durable=durable)


def writer_of(file: Path) -> str:
    """Return the name, within the run, of the process that writes a file of trials.

    Example:
        >>> writer_of(Path("logs/run_20261122_062209/trials.gw0.jsonl"))
        'gw0'
    """
    return file.name.removeprefix("trials.").removesuffix(".jsonl")


def load_run(path: Path) -> Run:
    """Load a run directory.

    Raises:
        RunLogError: it is none, or was written by a later version.
    """
    run = Run(path, load_header(path), load_plan(path))
    load_records(run)
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
    if not path.is_dir():
        raise RunLogError(f"{path} is not a directory")
    header = load_json(path / "run.json")
    if not isinstance(header, dict) or not isinstance(header.get("schema"), int):
        raise RunLogError(f"{path} is not a run directory of pytest-rltask")
    if header["schema"] > SCHEMA_VERSION:
        raise RunLogError(f"{path} was written by a later version (schema {header['schema']}); upgrade pytest-rltask")
    return header


def load_records(run: Run) -> None:
    """Load the trials that a run's processes finished; of a trial that was played more than once, one record counts.

    Raises:
        RunLogError: a file cannot be read.
    """
    found = _Found({}, Amendments(), {})
    for file in sorted(run.path.glob("trials.*.jsonl")):
        _load_trials(file, run, found)
    for trial_id, records in found.records.items():
        # Whoever asserted on a trial may have another file than whoever played it.
        counts, rest = found.amendments.counted(records)
        run.superseded += rest
        if counts is not None:
            run.records[trial_id] = counts
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
        return [PlannedTrial(**{**known_fields(PlannedTrial, trial), "band": tuple(trial["band"])}) for trial in plan]
    except (TypeError, KeyError) as error:
        raise RunLogError(f"{path / 'plan.json'} is damaged: {error}") from None


class _Found(NamedTuple):
    """What the files of a run say, while they are read."""

    records: dict[str, list[Record]]
    amendments: Amendments
    skipped: dict[str, tuple[str, NotStarted | None]]
    """When a trial was skipped last, and why if the run decided so."""


def _load_trials(file: Path, run: Run, found: _Found) -> None:
    for entry in _entries(file, run):
        try:
            if entry.get("type") == "trial":
                record = Record.from_json(entry)
                found.records.setdefault(record.trial_id, []).append(record)
            elif not found.amendments.note(entry):
                _note_start(entry, run, found)
        except ValueError as error:
            raise RunLogError(f"{file}: {error}") from None


def _note_start(entry: dict[str, Any], run: Run, found: _Found) -> None:
    """Take in that a trial was begun or skipped."""
    trial_id, at = str(entry.get("trial_id")), str(entry.get("at", ""))
    if entry.get("type") == "started":
        run.starts.setdefault(trial_id, []).append(at)
    elif entry.get("type") == "skipped":
        why = _not_started(entry)
        found.skipped[trial_id] = max(found.skipped.get(trial_id, ("", None)), (at, why), key=lambda skip: skip[0])


def _not_started(entry: dict[str, Any]) -> NotStarted | None:
    if entry.get("why") not in ("proven", "cost", "faulty"):
        return None
    rule = entry.get("rule")
    return NotStarted(entry["why"], str(entry.get("reason")), rule if isinstance(rule, int) else 1)


def _entries(file: Path, run: Run) -> Iterator[dict[str, Any]]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise RunLogError(f"{file} cannot be read: {error.strerror}") from None
    for line in lines:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            run.damaged_lines += 1
            continue
        if isinstance(entry, dict):
            yield entry
