"""The trials of a run as lines: a table, those that say something in their conversation, and one as it ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_rltask.models.named import is_paid
from pytest_rltask.report.painting import Paint, TranscriptPainter
from pytest_rltask.report.table import aligned, duration_text
from pytest_rltask.report.visible import visible
from pytest_rltask.run.load import Run
from pytest_rltask.run.lock import is_played
from pytest_rltask.run.planned import PlannedTrial, transcript_path
from pytest_rltask.run.record import Record, cost_text, outcome_word

__all__ = [
    "Shown",
    "cells",
    "coloured",
    "matched",
    "shown",
    "shown_trials",
    "trial_line",
    "trial_table",
    "unfinished",
    "written",
]

COLUMNS = ("trial", "outcome", "score", "turns", "cost", "time", "why")
Place = tuple[str, Iterable[tuple[str, bool]]]
"""Where a conversation matches: the title of its part, its lines, and whether each matches itself."""
_TEXT = {"trial", "outcome", "why"}


@dataclass(frozen=True)
class Shown:
    """A trial of a run, as its table shows it."""

    name: str
    """What may be typed for it."""
    planned: PlannedTrial
    record: Record | None
    outcome: str
    """Its outcome as people read it; of a trial without a record what became of it."""
    why: str

    def to_json(self, run: Run) -> dict[str, Any]:
        """Return it as JSON data, without the conversation."""
        planned, record = self.planned, self.record
        told: dict[str, Any] = {"name": self.name, "trial_id": planned.trial_id, "task": planned.task}
        told |= {"model": planned.model, "run": planned.run, "seed": planned.seed, "why": self.why}
        told["transcript"] = str(transcript_path(run.path, planned.task, planned.trial_id))
        told["outcome"] = record.outcome if record else None
        if record is None:
            return told | {"state": self.outcome}
        names = ("label", "reason", "score", "threshold", "turns", "tool_calls", "seconds", "started", "cost_usd")
        told |= {name: getattr(record, name) for name in names}
        return told | ({"judge_cost_usd": record.judge_cost_usd} if record.judge_requests else {})


def shown(planned: PlannedTrial, record: Record, name: str) -> Shown:
    """Return a finished trial as it is shown."""
    return Shown(name, planned, record, outcome_word(record.outcome), _why(record))


def shown_trials(run: Run, names: dict[str, str]) -> Iterator[Shown]:
    """Yield the planned trials of a run.

    Args:
        run: as loaded.
        names: what may be typed for each, by id.
    """
    is_going_on = is_played(run.path)
    for trial in run.plan:
        name, record = names[trial.trial_id], run.records.get(trial.trial_id)
        if record:
            yield shown(trial, record, name)
        elif decision := run.not_started.get(trial.trial_id):
            yield Shown(name, trial, None, "not started", decision.reason)
        else:
            began = trial.trial_id in run.starts
            state = ("being played" if began else "to be played") if is_going_on else "lost"
            why = "" if is_going_on else "cut off while it was played" if began else "never begun"
            yield Shown(name, trial, None, state, why)


def unfinished(run: Run, trial: Shown) -> str:
    """Return what was written of a trial without a record, and what became of it."""
    planned = trial.planned
    began = planned.trial_id in run.starts
    text = written(transcript_path(run.path, planned.task, planned.trial_id)) if began else ""
    follow = "; --follow shows how it goes on" if trial.outcome == "being played" else ""
    why = f": {trial.why}" if trial.why else ""
    return f"{text or visible(planned.trial_id)}\n{trial.outcome}{visible(why)}{follow}\n"


def written(path: Path) -> str:
    """Return a transcript as far as it is written, safe to show; empty if there is none."""
    try:
        return visible(path.read_bytes().decode("utf-8", "replace"))  # an earlier version wrote texts as they were
    except OSError:
        return ""


def trial_table(trials: Sequence[Shown], paint: Paint, *, width: int | None = None) -> Iterator[str]:
    """Yield the lines of a table of trials, its names first; columns that say nothing are left out.

    Args:
        trials: to show.
        paint: colours their outcomes.
        width: of the terminal, which cuts off what is too long of the reasons; None: nothing is cut.
    """
    if not trials:
        yield "no trial is like that"
        return
    table = [COLUMNS, *map(cells, trials)]
    kept = [place for place in range(len(COLUMNS)) if any(line[place] for line in table[1:])]
    lines = list(aligned([[line[place] for place in kept] for line in table], _TEXT))
    yield paint(lines[0], "bold")
    place = lines[0].index("outcome")
    for line, trial in zip(lines[1:], trials, strict=True):
        cut = line if width is None or len(line) <= width else f"{line[: width - 3]}..."
        end = place + len(trial.outcome)
        yield cut[:place] + paint(cut[place:end], trial.outcome) + cut[end:]


def trial_line(trial: Shown, paint: Paint, width: int) -> str:
    """Return the line of one trial, whose name is given a width."""
    name, outcome, *rest = cells(trial)
    return "  ".join([name.ljust(width), paint(outcome.ljust(7), outcome), *filter(None, rest)])


def cells(trial: Shown) -> tuple[str, ...]:
    """Return a trial's cells, in the order of COLUMNS, safe to show."""
    record = trial.record
    if record is None:
        return visible(trial.name), trial.outcome, "", "", "", "", _oneline(trial.why)
    cost = cost_text(record.cost_usd, record.known_cost_usd) if is_paid(record.model) or record.known_cost_usd else ""
    score = "" if record.score is None else f"{record.score:.4g}"
    time = duration_text(record.seconds.get("total", 0.0))
    return visible(trial.name), trial.outcome, score, str(record.turns), cost, time, _oneline(trial.why)


def coloured(text: str, paint: Paint) -> Iterator[str]:
    """Yield the lines of a transcript in their colours."""
    painter = TranscriptPainter(paint)
    return map(painter.line, text.rstrip("\n").split("\n"))


def matched(places: Iterable[Place], pattern: re.Pattern[str], paint: Paint, *, most: int | None) -> Iterator[str]:
    """Yield the lines of places in a conversation that match, indented below their trial.

    Args:
        places: of the conversation.
        pattern: that they match.
        paint: colours what matches.
        most: how many places are shown; None: all.
    """
    for number, (title, lines) in enumerate(places):
        if number == most:
            yield "  ... and elsewhere in it"
            return
        yield "  " + paint(title or "head", "faint")
        for line, is_match in lines:
            shown = pattern.sub(lambda match: paint(match[0], "match"), line) if is_match else line
            yield f"    {shown}"


def _why(record: Record) -> str:
    if record.outcome == "passed":
        return ""
    return f"{record.label}: {record.reason}" if record.label and record.reason else record.label or record.reason


def _oneline(text: str) -> str:
    return visible(" ".join(text.split()))
