"""The runs of a log directory, a block each: when, what of it was played, by whom, how it went, what it cost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from pytest_rltask.report.painting import Paint
from pytest_rltask.report.summary import Row, summarise
from pytest_rltask.report.table import aligned, cost, verdict_text
from pytest_rltask.report.visible import visible
from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.load import Run, load_header, load_run
from pytest_rltask.run.lock import is_played
from pytest_rltask.run.record import cost_text

__all__ = ["Listed", "gate_of", "listed", "listing", "rate_text", "state_of"]


@dataclass(frozen=True)
class Listed:
    """A run of the log directory."""

    path: Path
    created: str = ""
    """UTC time, ISO 8601."""
    command: str = ""
    state: str = ""
    """``running``, ``interrupted``, ``finished``, or ``unreadable``."""
    why: str = ""
    """Why it cannot be read."""
    rows: list[Row] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        told = {"name": self.path.name, "path": str(self.path), "created": self.created, "command": self.command}
        return {**told, "state": self.state, "why": self.why, "rows": [_row_json(row) for row in self.rows]}


def listed(path: Path, run: Run | None = None) -> Listed:
    """Return what there is to say of a run directory, be it damaged.

    Args:
        path: of the directory.
        run: the same as loaded, if it is.
    """
    try:
        header = load_header(path)
        known: dict[str, Any] = {name: str(header.get(name, "")) for name in ("created", "command")}
        if not (path / "plan.json").exists():
            return Listed(path, **known, state="running" if is_played(path) else "interrupted")
        run = run or load_run(path, conversations=False)
        rows = summarise(run, gate_of(run)).rows
    except (RunLogError, OSError) as error:
        return Listed(path, state="unreadable", why=str(error))
    return Listed(path, **known, state=state_of(run), rows=sorted(rows, key=lambda row: (row.name, row.model)))


def gate_of(run: Run) -> Any:
    """Return the gate that a run was played with."""
    gate = run.header.get("gate")
    return gate if gate in ("point", "proven", "strict") else "point"


def state_of(run: Run) -> str:
    """Say whether a run goes on, or was left before all planned trials were played."""
    if is_played(run.path):
        return "running"
    is_whole = all(trial.trial_id in run.records or trial.trial_id in run.not_started for trial in run.plan)
    return "finished" if is_whole else "interrupted"


def listing(runs: Iterable[Listed], paint: Paint) -> Iterator[str]:
    """Yield the lines that tell of runs."""
    runs = list(runs)
    width = max((len(run.path.name) for run in runs), default=0)
    for run in runs:
        state = {"running": "passed", "finished": ""}.get(run.state, "errored")
        name, known = visible(run.path.name).ljust(width), [row.cost_usd for row in run.rows]
        spent = _total(run.rows) if known else ""
        yield "  ".join(filter(None, [paint(name, "bold"), _when(run.created), paint(run.state, state), spent]))
        table = [("task", "model", "played", "rate", "verdict"), *(_cells(row, run.state) for row in run.rows)]
        lines = list(aligned(table, {"task", "model", "verdict"}))[1:] if run.rows else []
        yield from (f"  {visible(line)}" for line in lines)
        if run.why:
            yield f"  {visible(run.why)}"


def _when(created: str) -> str:
    """Return a time as the clock on the wall showed it here."""
    try:
        return datetime.fromisoformat(created).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return visible(created)


def rate_text(row: Row) -> str:
    """Return a pass rate in percent; a dash where nothing is judged."""
    return "-" if row.verdict.rate is None else f"{row.verdict.rate * 100:.0f} %"


def _cells(row: Row, state: str) -> tuple[str, ...]:
    verdict = "so far" if state == "running" else verdict_text(row)
    return row.name, row.model, f"{row.judged + row.errored}/{row.planned}", rate_text(row), verdict


def _total(rows: list[Row]) -> str:
    """Return what the rows of a run cost together; empty where nothing is paid."""
    if all(cost(row) == "-" for row in rows):
        return ""
    known = sum(row.known_cost_usd for row in rows)
    return cost_text(None if any(row.cost_usd is None for row in rows) else known, known)


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "task": row.name,
        "model": row.model,
        "planned": row.planned,
        "played": row.judged + row.errored,
        "judged": row.judged,
        "passed": row.passed,
        "rate": row.verdict.rate,
        "verdict": verdict_text(row),
        "cost_usd": row.cost_usd,
        "known_cost_usd": row.known_cost_usd,
    }
