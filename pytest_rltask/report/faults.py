"""Errored trials, equal faults told once: what it was, which trials, and what to do before the run is gone on with.

Faults are equal if they happened at the same place, whatever the exception said there.
"""

from __future__ import annotations

import copy
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pytest_rltask.record import Record
from pytest_rltask.runlog import split_trial_id
from pytest_rltask.verdict import CAUSES, cause_of

__all__ = ["FaultGroup", "fold_key", "folded", "grouped"]

NAMES_WIDTH = 100


@dataclass(frozen=True)
class FaultGroup:
    """Trials of one task and model that ended in the same fault."""

    cause: str
    """Which entry of CAUSES."""
    message: str
    """Whose fault, and what the first of them said, on one line."""
    details: str
    """Traceback of the first of them."""
    trials: tuple[str, ...]
    """What stands in the brackets of their ids, in order of their runs."""

    @property
    def tolerated(self) -> bool:
        """Whether they may be missing from the pass rate."""
        return CAUSES[self.cause].tolerated

    def __str__(self) -> str:
        return f"{len(self.trials)} x {self.message}"


def grouped(records: Iterable[Record]) -> list[FaultGroup]:
    """Return what errored trials ended in, the most frequent first."""
    groups: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in sorted(records, key=lambda record: record.run):
        groups[cause_of(record), record.fault.place if record.fault else record.reason].append(record)
    found = [
        FaultGroup(
            cause=cause,
            message=_line(alike[0]),
            details=alike[0].fault.details if alike[0].fault else "",
            trials=tuple(split_trial_id(record.trial_id)[1] for record in alike),
        )
        for (cause, _), alike in groups.items()
    ]
    return sorted(found, key=lambda group: -len(group.trials))


def fold_key(record: Record) -> str:
    """Return what is equal for the errored trials of one test and model that are told together."""
    assert record.fault is not None, "of an errored trial"
    return "\n".join([split_trial_id(record.trial_id)[0], record.model, record.fault.place])


def folded(reports: Sequence[Any]) -> list[Any]:
    """Return pytest's reports with those of equal faults in one, which names the others."""
    groups: dict[object, list[Any]] = {}
    for report in reports:
        groups.setdefault(getattr(report, "rltask_fault", None) or id(report), []).append(report)
    return [alike[0] if len(alike) == 1 else _one(alike) for alike in groups.values()]


def _one(alike: list[Any]) -> Any:
    report = copy.copy(alike[0])
    names = sorted((split_trial_id(one.nodeid)[1] for one in alike), key=lambda name: (len(name), name))
    told = textwrap.fill(f"{len(alike)} trials: {', '.join(names)}", NAMES_WIDTH, break_on_hyphens=False)
    report.longrepr = f"{str(report.longrepr).rstrip()}\n\n{told}"
    return report


def _line(record: Record) -> str:
    said = f"{record.fault.kind} fault: {record.fault.message}" if record.fault else record.reason
    return said.partition("\n")[0][:120]
