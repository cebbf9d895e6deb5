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

from _pytest._code.code import ReprFileLocation, TerminalRepr
from _pytest._io import TerminalWriter

from pytest_rltask.run.planned import split_trial_id
from pytest_rltask.run.record import Record
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
            trials=tuple(_run_name(record.trial_id, record.model) for record in alike),
        )
        for (cause, _), alike in groups.items()
    ]
    return sorted(found, key=lambda group: -len(group.trials))


def _run_name(trial_id: str, model: str) -> str:
    """Return what stands in the brackets of an id, without the model, which all that are told together share."""
    return split_trial_id(trial_id)[1].removeprefix(f"{model}-")


def fold_key(record: Record) -> str:
    """Return what is equal for the errored trials of one test and model that are told together."""
    assert record.fault is not None, "of an errored trial"
    return "\n".join([split_trial_id(record.trial_id)[0], record.model, record.fault.place])


def folded(reports: Sequence[Any]) -> list[Any]:
    """Return pytest's reports with those of equal faults in one, which names the others."""
    groups: dict[object, list[Any]] = {}
    for report in reports:
        groups.setdefault(getattr(report, "rltask_fault", None) or id(report), []).append(report)
    return [_one(alike) if hasattr(alike[0], "rltask_fault") else alike[0] for alike in groups.values()]


class _Told(TerminalRepr):
    """A text whose first line is all that the summary of a run needs.

    Of a mere string pytest repeats every line there, traceback and all, under `-vv` and wherever `CI` is set.
    """

    def __init__(self, text: str, nodeid: str) -> None:
        self.text = text
        self.reprcrash = ReprFileLocation(nodeid.partition("::")[0], 0, text.partition("\n")[0])

    def toterminal(self, tw: TerminalWriter) -> None:
        tw.line(self.text)


def _one(alike: list[Any]) -> Any:
    report = copy.copy(alike[0])
    text = str(report.longrepr).rstrip()
    if len(alike) > 1:
        _, _, key = str(alike[0].rltask_fault).partition("\n")  # see fold_key
        model = key.partition("\n")[0]
        names = sorted((_run_name(one.nodeid, model) for one in alike), key=lambda name: (len(name), name))
        told = textwrap.fill(f"{len(alike)} trials: {', '.join(names)}", NAMES_WIDTH, break_on_hyphens=False)
        text = f"{text}\n\n{told}"
    report.longrepr = _Told(text, report.nodeid)
    return report


def _line(record: Record) -> str:
    said = f"{record.fault.kind} fault: {record.fault.message}" if record.fault else record.reason
    first = said.partition("\n")[0]
    return (
        first if len(first) <= _LINE_CHARS else f"{first[:_LINE_CHARS].rpartition(' ')[0] or first[:_LINE_CHARS]} ..."
    )


_LINE_CHARS = 160
