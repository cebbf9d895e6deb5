"""The run directory: everything a run leaves behind, written so that nothing finished is ever lost.

`run.json` says how the run was started, `plan.json` what was to be played; each process appends its finished
trials to a file of its own, `trials.<writer>.jsonl`, one JSON object a line, on disk before the trial's item
reports. A line that a dying process left half-written is skipped on reading; nothing else can be damaged. What
processes of a run that goes on tell each other through it, `live` reads.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from pytest_rltask.record import SCHEMA_VERSION, Fault, Outcome, Record, known_fields

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
    "load_header",
    "load_plan",
    "load_records",
    "load_run",
    "split_trial_id",
    "transcript_path",
    "utc_now",
    "writer_of",
]


class RunLogError(Exception):
    """A directory cannot be read as a run directory; the message says why."""


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
    sandbox: str = ""
    """What isolates the code that it runs, ``auto`` until that is settled; empty if its task runs none."""

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


def utc_now() -> str:
    """Return the time in UTC, ISO 8601 with milliseconds: as text, earlier sorts before later."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def choose_run_dir(log_dir: Path, now: datetime) -> Path:
    """Return a path for a new run directory that nothing occupies; creates nothing."""
    base = log_dir / f"run_{now:%Y%m%d_%H%M%S}"
    path, attempt = base, 1
    while path.exists():
        attempt += 1
        path = base.with_name(f"{base.name}_{attempt}")
    return path


def amend(record: Record, outcome: Outcome, why: str) -> None:
    """Let the test's assertion overrule the grader in a record."""
    changed = record.outcome != outcome
    record.outcome, record.reason = outcome, why or record.reason
    if changed:
        record.label = {"passed": "", "errored": "not judged"}.get(outcome, "assertion")


def find_run_dir(path: Path, run_id: str) -> Path | None:
    """Return the directory of a run that chose this path, be it the path itself or a numbered one beside it."""
    candidate, attempt = path, 1
    while candidate.exists():
        if _header_id(candidate) == run_id:
            return candidate
        attempt += 1
        candidate = path.with_name(f"{path.name}_{attempt}")
    return None


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
        self.path = _created(path, header)
        self._trials = self.path / f"trials.{writer}.jsonl"
        self._lock = threading.Lock()

    def plan(self, trials: list[PlannedTrial]) -> None:
        """Write what is going to be played; every process of a run writes the same."""
        _write_whole(self.path / "plan.json", [asdict(trial) for trial in trials])

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
        at = datetime.now(UTC).isoformat()  # a later process may judge the trial again, in a file of its own
        self._append_line({"type": "assertion", "trial_id": trial_id, "outcome": outcome, "why": why, "at": at})

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
        is_new = not self._trials.exists()
        with self._lock, self._trials.open("ab") as file:
            # Behind the half line of a process that died, this one would be read as part of it.
            file.write(b"\n" * self._is_torn() + line.encode())
            file.flush()
            if durable:
                os.fsync(file.fileno())
        if is_new:
            _sync_dir(self.path)

    def _is_torn(self) -> bool:
        """Whether the file ends in half a line."""
        with self._trials.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            return file.read(1) not in (b"", b"\n")


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


def load_header(path: Path) -> dict[str, Any]:
    """Load what says how a run was started.

    Raises:
        RunLogError: the path is no run directory, or one of a later version.
    """
    if not path.is_dir():
        raise RunLogError(f"{path} is not a directory")
    header = _load_json(path / "run.json")
    if not isinstance(header, dict) or not isinstance(header.get("schema"), int):
        raise RunLogError(f"{path} is not a run directory of pytest-rltask")
    if header["schema"] > SCHEMA_VERSION:
        raise RunLogError(f"{path} was written by a later version (schema {header['schema']}); upgrade pytest-rltask")
    return header


def load_records(run: Run) -> None:
    """Load the trials that a run's processes finished; of a trial that was played more than once, one record counts.

    That is the first to reach a grade, so that nothing can be played until it passes; if none did, the last one.

    Raises:
        RunLogError: a file cannot be read.
    """
    found = _Found({}, [], {})
    for file in sorted(run.path.glob("trials.*.jsonl")):
        _load_trials(file, run, found)
    # Whoever asserted on a trial may have another file than whoever played it.
    for _, trial_id, outcome, why in sorted(found.assertions, key=lambda assertion: assertion[0]):
        if trial_id in found.records:
            amend(found.records[trial_id], outcome, why)
    run.records = found.records
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
    plan = _load_json(path / "plan.json")
    if not isinstance(plan, list):
        raise RunLogError(f"{path} is not a run directory of pytest-rltask")
    try:
        return [PlannedTrial(**{**known_fields(PlannedTrial, trial), "band": tuple(trial["band"])}) for trial in plan]
    except (TypeError, KeyError) as error:
        raise RunLogError(f"{path / 'plan.json'} is damaged: {error}") from None


class _Found(NamedTuple):
    """What the files of a run say, while they are read."""

    records: dict[str, Record]
    assertions: list[tuple[str, str, Outcome, str]]
    """When, which trial, its outcome, and why."""
    skipped: dict[str, tuple[str, NotStarted | None]]
    """When a trial was skipped last, and why if the run decided so."""


def _load_trials(file: Path, run: Run, found: _Found) -> None:
    for entry in _entries(file, run):
        if entry.get("type") == "trial":
            try:
                record = Record.from_json(entry)
            except ValueError as error:
                raise RunLogError(f"{file}: {error}") from None
            other = found.records.get(record.trial_id)
            if other is not None:
                record, superseded = counting(other, record)
                run.superseded.append(superseded)
            found.records[record.trial_id] = record
        elif entry.get("type") == "started":
            run.starts.setdefault(str(entry.get("trial_id")), []).append(str(entry.get("at", "")))
        elif entry.get("type") == "skipped":
            trial_id, at = str(entry.get("trial_id")), str(entry.get("at", ""))
            why = _not_started(entry)
            found.skipped[trial_id] = max(found.skipped.get(trial_id, ("", None)), (at, why), key=lambda skip: skip[0])
        elif entry.get("type") == "assertion":
            try:
                if entry["outcome"] not in get_args(Outcome):
                    raise RunLogError(f"{file}: unknown outcome {entry['outcome']!r}")
                found.assertions.append((str(entry.get("at", "")), entry["trial_id"], entry["outcome"], entry["why"]))
            except KeyError as error:
                raise RunLogError(f"{file}: not a test's assertion: it has no {error}") from None


def _not_started(entry: dict[str, Any]) -> NotStarted | None:
    if entry.get("why") not in ("proven", "cost", "faulty"):
        return None
    rule = entry.get("rule")
    return NotStarted(entry["why"], str(entry.get("reason")), rule if isinstance(rule, int) else 1)


def counting(one: Record, other: Record) -> tuple[Record, Record]:
    """Return, of two records of a trial, the one that counts and the other: the first with a grade, else the last."""
    if one.graded != other.graded:
        return (one, other) if one.graded else (other, one)
    earlier, later = (one, other) if one.started <= other.started else (other, one)
    return (earlier, later) if one.graded else (later, earlier)


def begun(record: Record, starts: Iterable[str]) -> str:
    """Return when a finished trial was begun, by what was written then; its record's own time is a little later."""
    return max((at for at in starts if at <= record.started), default=record.started)


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


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RunLogError(f"{path.parent} is not a run directory of pytest-rltask: it has no {path.name}") from None
    except (OSError, ValueError) as error:
        raise RunLogError(f"{path} cannot be read: {error}") from None


def _created(path: Path, header: dict[str, Any]) -> Path:
    """Create the run directory with its header in one step, or join the one that a process of this run created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".run-", dir=path.parent))
    draft.chmod(0o755)
    _write_whole(draft / "run.json", header)
    candidate, attempt = path, 1
    while True:
        try:
            draft.rename(candidate)  # fails on a directory that is not empty: only one process can win
            _sync_dir(path.parent)
            return candidate
        except OSError:
            if not candidate.exists():
                raise
        if _header_id(candidate) == header["id"]:
            (draft / "run.json").unlink()
            draft.rmdir()
            return candidate
        attempt += 1
        candidate = path.with_name(f"{path.name}_{attempt}")


def _header_id(path: Path) -> object:
    try:
        return json.loads((path / "run.json").read_bytes()).get("id")
    except (OSError, ValueError, AttributeError):
        return None


def _write_whole(path: Path, data: object) -> None:
    """Replace a file in one step, so that no reader ever sees half of it."""
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, default=str)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(draft, 0o644)
    os.replace(draft, path)
    _sync_dir(path.parent)


def _sync_dir(path: Path) -> None:
    """Make a new file's name durable, where the system can."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
