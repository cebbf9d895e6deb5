"""What a run sets out to play: the trials of its plan, what their ids say, and why one was not started after all."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pytest_rltask.clock import utc_now
from pytest_rltask.run.record import Fault, Record, RequestLog

__all__ = ["SHOWN_CHARS", "NotStarted", "PlannedTrial", "split_trial_id", "transcript_path", "variant_of"]

_UNSAFE = re.compile(r"[^A-Za-z0-9_.@=,+%-]")
SHOWN_CHARS = 200
"""Characters of a parameter's value that are kept."""


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
    """Digest of what grades it, see `graders.fingerprint`; empty if an earlier version planned it."""
    sandbox: str = ""
    """What isolates the code that it runs, ``auto`` until that is settled; empty if its task runs none."""
    alone: str = ""
    """Why no other trial of its process is in flight beside it; empty if others may be."""
    judges: dict[str, str] = field(default_factory=dict)
    """Who answers for each judge of the task, see :mod:`pytest_rltask.models.judges`."""
    line: int = 0
    """Line of its file at which the test stands, from 1; 0: not known, or an earlier version planned it."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Values of the test's parameters by name, as JSON can hold them; empty if an earlier version planned it."""

    @property
    def variant(self) -> str:
        """The part of the node id that names the test's parameters; empty if it has none."""
        return split_trial_id(self.test)[1]

    @property
    def row_name(self) -> str:
        """The task's name, with the test's parameters where it has any."""
        return f"{self.task}[{self.variant}]" if self.variant else self.task

    def is_graded_as_planned(self, record: Record) -> bool:
        """Say whether what graded a trial is what the plan says, where both are known: two graders make no rate."""
        return not record.graded or not record.grader or not self.grader or record.grader == self.grader

    @property
    def names_its_model(self) -> bool:
        """Whether its id names the model; earlier versions left it out where a run had one alone."""
        run = f"run-{self.run:02d}"
        return not f"{split_trial_id(self.trial_id)[1]}-".startswith(f"{run}-")

    def cut_off(self, started: str, requests: list[RequestLog]) -> Record:
        """Return what is known of this trial if its process died: when it began, and what of it was paid."""
        record = self.lost()
        record.started, record.judges = started, dict(self.judges)
        record.requests = [request for request in requests if not request.judge]
        record.judge_requests = [request for request in requests if request.judge]
        return record

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


def split_trial_id(trial_id: str) -> tuple[str, str]:
    """Split an item's node id into the test's and what stands in its brackets.

    Example:
        >>> split_trial_id("suite[1]/test_sum.py::test_sum[run-00-a]")
        ('suite[1]/test_sum.py::test_sum', 'run-00-a')
    """
    path, separator, name = trial_id.partition("::")
    function, _, inside = name.partition("[")
    return f"{path}{separator}{function}", inside.removesuffix("]")


def variant_of(trial_id: str, label: str, run: int) -> str:
    """Return what stands in a trial's id for the test's own parameters, which follow its model and run.

    Args:
        trial_id: the item's node id.
        label: of the model; earlier versions left it out where a run had one alone.
        run: index of the run.

    Example:
        >>> variant_of("test_sum.py::test_sum[policy:null-run-00-a-1]", "policy:null", 0)
        'a-1'
    """
    inside = split_trial_id(trial_id)[1]
    for own in (f"{label}-run-{run:02d}", f"run-{run:02d}"):
        if inside == own or inside.startswith(f"{own}-"):
            return inside[len(own) + 1 :]
    return inside


def transcript_path(run_dir: Path, task: str, trial_id: str) -> Path:
    """Return where the readable form of a trial is written: ``transcripts/<task>-<run>.txt``."""
    name = f"{task}-{split_trial_id(trial_id)[1]}"
    # A name that no shell asks to quote; a model's first colon aside, what had to change gets a digest to stay unique.
    safe = _UNSAFE.sub("_", name)
    if safe != name.replace(":", "_", 1) or len(safe) > 100:
        safe = f"{safe[:90]}-{hashlib.sha256(trial_id.encode(errors='replace')).hexdigest()[:8]}"
    return run_dir / "transcripts" / f"{safe}.txt"
