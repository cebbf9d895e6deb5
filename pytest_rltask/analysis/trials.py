"""Which trial of a run is meant, which of them are asked for, and where their conversations say something."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from pytest_rltask.report.transcript import RULE
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial, split_trial_id, transcript_path
from pytest_rltask.run.record import Record

__all__ = ["NoSuchTrial", "Place", "Selection", "find_trial", "labels", "matches", "short_names"]

_TOLD = 8
_CONTEXT = 2
"""Lines shown before and behind one that matches."""


class NoSuchTrial(ValueError):
    """No trial is named so, or several; says what there is."""


@dataclass(frozen=True)
class Selection:
    """Which trials of a run are asked for."""

    failed: bool = False
    """Those alone that were judged and did not pass."""
    label: str = ""
    """Those alone whose label has this in it, in capitals or not."""

    def takes(self, record: Record | None) -> bool:
        """Say whether a trial is asked for; None: it has no record."""
        if record is None:
            return not (self.failed or self.label)
        is_missed = record.outcome in ("failed", "cheated")
        return (is_missed or not self.failed) and self.label.lower() in record.label.lower()


def short_names(run: Run) -> dict[str, str]:
    """Return a name to type for each planned trial: ``task/run``, with ``@model`` where there are several.

    Where two trials would have the same, both are named by their whole id.
    """
    several = len({trial.model for trial in run.plan}) > 1
    names = {trial.trial_id: _name(trial) + (f"@{trial.model}" if several else "") for trial in run.plan}
    count = Counter(names.values())
    return {trial_id: name if count[name] == 1 else trial_id for trial_id, name in names.items()}


def find_trial(run: Run, wanted: str) -> PlannedTrial:
    """Return the trial of a run that is meant.

    Args:
        run: as loaded.
        wanted: the node id, what stands in its brackets, a name like ``imbalance/3``, the number of the run where that
            says enough, the name of its transcript, or a part of the id that no other has.

    Raises:
        NoSuchTrial: there is none, or several are meant.
    """
    names = short_names(run)
    for is_meant in (_is_named, _is_of_transcript, _has_in_it):
        if found := [trial for trial in run.plan if is_meant(wanted, _Named(run, trial, names[trial.trial_id]))]:
            break
    else:
        near = difflib.get_close_matches(wanted, names.values(), n=3, cutoff=0.4) or list(names.values())[:3]
        raise NoSuchTrial(f"no trial of {run.path.name} is named {wanted!r}; there are {len(names)}: {_some(near)}")
    if len(found) > 1:
        some = _some([names[trial.trial_id] for trial in found[:_TOLD]], more=len(found) > _TOLD)
        raise NoSuchTrial(f"{wanted!r} means {len(found)} trials of {run.path.name}: {some}")
    return found[0]


@dataclass(frozen=True)
class _Named:
    run: Run
    trial: PlannedTrial
    short: str

    @cached_property
    def names(self) -> tuple[str, ...]:
        trial = self.trial
        inside = split_trial_id(trial.trial_id)[1]
        return trial.trial_id, self.short, _name(trial), inside, trial.trial_id.rpartition("::")[2], str(trial.run)

    def __str__(self) -> str:
        return f"{self.trial.trial_id} {self.short}"


def _is_named(wanted: str, named: _Named) -> bool:
    return wanted in named.names


def _is_of_transcript(wanted: str, named: _Named) -> bool:
    path = transcript_path(named.run.path, named.trial.task, named.trial.trial_id)
    return wanted.rpartition("/")[2].removesuffix(path.suffix) == path.stem


def _has_in_it(wanted: str, named: _Named) -> bool:
    return wanted.lower() in str(named).lower()


def _name(trial: PlannedTrial) -> str:
    return f"{trial.row_name}/{trial.run}"


def _some(names: list[str], *, more: bool = False) -> str:
    return ", ".join(names) + (", ..." if more else "")


@dataclass(frozen=True)
class Place:
    """A place of a conversation that matches."""

    title: str
    """Of the part in which it is; empty before the first."""
    lines: tuple[tuple[str, bool], ...]
    """Its lines with those around, and whether each matches itself."""


def matches(text: str, pattern: re.Pattern[str]) -> Iterator[Place]:
    """Yield the places of a transcript that match, each within one part of it.

    Args:
        text: of the transcript.
        pattern: looked for in each line but the titles.
    """
    title, part = "", list[str]()
    for line in [*text.split("\n"), RULE]:
        if line.startswith(RULE):
            while part and not part[-1].strip():
                part.pop()  # what sets the next part off
            yield from _places(title, part, pattern)
            title, part = line.strip("- "), []
        else:
            part.append(line)


def _places(title: str, lines: list[str], pattern: re.Pattern[str]) -> Iterator[Place]:
    hits = [number for number, line in enumerate(lines) if pattern.search(line)]
    while hits:
        first = last = hits.pop(0)
        while hits and hits[0] <= last + 2 * _CONTEXT:
            last = hits.pop(0)
        around = lines[max(first - _CONTEXT, 0) : last + _CONTEXT + 1]
        yield Place(title, tuple((line, bool(pattern.search(line))) for line in around))


def labels(records: Mapping[str, Record]) -> dict[str, int]:
    """Return the labels of trials, the most frequent first."""
    return dict(Counter(record.label for record in records.values() if record.label).most_common())
