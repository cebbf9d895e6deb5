"""The summary at the end of a pytest run: a table worst first, reasons, paths, and the next command to type."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pytest_rltask.report.command_line import without
from pytest_rltask.report.isolation import warning
from pytest_rltask.report.summary import Row, Summary
from pytest_rltask.report.table import COLUMNS, cells, remarks
from pytest_rltask.run.earlier import EarlierRuns
from pytest_rltask.run.load import load_plan
from pytest_rltask.run.planned import transcript_path

__all__ = ["Line", "short_path", "summary_lines"]

Line = tuple[str, dict[str, bool]]
"""A line and the markup pytest's terminal writer takes for it."""

TEXT_COLUMNS = {"task", "model", "pass rate 0-100 %", "verdict"}
KEY_COLUMNS = 2
"""Columns that name the row, repeated in each part of a table too wide for the terminal."""
GAP = "  "


def summary_lines(
    summary: Summary,
    *,
    run_dir: Path,
    command: str,
    width: int,
    unicode: bool,
    interrupted: bool = False,
    notes: Iterable[str] = (),
    flag: Callable[[str], str] = str,
) -> Iterator[Line]:
    """Yield the lines of the summary.

    Args:
        summary: what to show.
        run_dir: where the run's files are.
        command: the command line of this invocation without ``--resume``, to build the next one from.
        width: of the terminal, in characters; a wider table is shown in parts.
        unicode: whether the terminal can show more than ASCII.
        interrupted: whether the run ended early, so that no gate was checked.
        notes: on how the run was played.
        flag: returns the name by which an option can be written here, given its short one.
    """
    yield from _table(summary.rows, width, unicode=unicode)
    several = len({row.model for row in summary.rows}) > 1
    for row in summary.rows:
        who = f"{row.name} by {row.model}" if several else row.name
        yield from _counted(f"{who} missed", row.reasons, {"yellow": True})
        yield from _counted(f"{who} cheated", row.cheats, {"purple": True})
        yield from _counted(f"{who} errored", row.faults, {"red": True})
        for why in remarks(row):
            yield f"{who}: {why}", {"yellow": True}
        if row.lost:
            yield f"{who}: {row.lost} of {row.planned} planned trials were not played to the end", {"red": True}
    yield from ((note, {"yellow": True}) for note in notes)
    yield "", {}
    if unsafe := warning(summary.sandboxes):
        yield unsafe, {"red": True, "bold": True}
    if interrupted:
        yield "interrupted: the gate was not checked", {"yellow": True}
    yield f"run directory: {short_path(run_dir)}, to be read as report.html", {}
    example = _example(summary, run_dir)
    if example:
        yield f"a trial to read: {shlex.quote(short_path(example))}", {}
    yield f"next: {_next_command(summary, run_dir, command, flag)}", {"bold": True}


def _table(rows: list[Row], width: int, *, unicode: bool) -> Iterator[Line]:
    """Yield the table, in as many parts as the width asks for."""
    table = [list(COLUMNS), *(cells(row, unicode=unicode) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(COLUMNS))]
    for part in _parts(widths, width):
        for index, line in enumerate(table):
            text = GAP.join(_aligned(line[column], column, widths[column]) for column in part)
            yield text.rstrip(), {"bold": True} if index == 0 else _colour(rows[index - 1])


def _parts(widths: list[int], width: int) -> Iterator[list[int]]:
    """Yield the columns of each part; every part begins with the columns that name the row."""
    keys = list(range(KEY_COLUMNS))
    part = list(keys)
    for column in range(KEY_COLUMNS, len(widths)):
        taken = sum(widths[c] + len(GAP) for c in part)
        if taken + widths[column] > width and len(part) > KEY_COLUMNS:
            yield part
            part = list(keys)
        part.append(column)
    yield part


def _aligned(cell: str, column: int, width: int) -> str:
    return cell.ljust(width) if COLUMNS[column] in TEXT_COLUMNS else cell.rjust(width)


def _colour(row: Row) -> dict[str, bool]:
    if not row.verdict.holds:
        return {"red": True}
    return {"green": True} if row.verdict.proven else {"yellow": True}


def _counted(what: str, reasons: dict[str, int], markup: dict[str, bool]) -> Iterator[Line]:
    if reasons:
        yield f"{what}: " + ", ".join(f"{count} x {reason}" for reason, count in reasons.items()), markup


def _example(summary: Summary, run_dir: Path) -> Path | None:
    row = next((row for row in summary.rows if row.example), None)
    return transcript_path(run_dir, row.task, row.example) if row and row.example else None


def _next_command(summary: Summary, run_dir: Path, command: str, flag: Callable[[str], str]) -> str:
    """Return what most likely helps next: mend faults and go on, play enough more to prove, or read."""
    worst = summary.rows[0]
    goes_on = [f"{flag('--resume')}={short_path(run_dir)}"]
    words = shlex.split(command)
    if any(row.not_afforded for row in summary.rows):
        words = _without(words, flag("--max-cost"))
        enough = _enough(summary.rows, run_dir)  # without a limit, if nobody knows what a trial costs
        return shlex.join([*words, *((flag("--max-cost"), enough) if enough else ()), *goes_on])
    if worst.verdict.word == "incomplete" or any(row.lost for row in summary.rows):
        return shlex.join([*words, *goes_on])
    unproven = [row for row in summary.rows if row.verdict.more_runs]
    selects = "-k" in words or "--lf" in words or any("::" in word for word in words)
    if unproven and not selects:  # more runs of one selected run are none
        runs = max(row.judged + (row.verdict.more_runs or 0) for row in unproven)
        return shlex.join([*_without(words, flag("--runs")), flag("--runs"), str(runs), *goes_on])
    example = _example(summary, run_dir)
    if not summary.holds and example:
        return f"less {shlex.quote(short_path(example))}"
    return f"less {shlex.quote(short_path(run_dir / 'summary.md'))}"


def _without(words: list[str], flag: str) -> list[str]:
    """Leave out an option, which its true name may stand for."""
    return without(words, flag, f"--rltask-{flag.removeprefix('--').removeprefix('rltask-')}")


def _enough(rows: list[Row], run_dir: Path) -> str:
    """Return about how many dollars the whole run takes: half as much again for what is left, since trials differ.

    Of a run that has paid for none, what earlier ones paid tells; empty if nothing does.
    """
    spent = sum(row.known_cost_usd for row in rows)
    played = sum(row.judged + row.errored for row in rows if row.paid)
    left = sum(row.not_afforded for row in rows)
    each = spent / max(played, 1) if spent else _dearest_before(run_dir)
    enough = spent + 1.5 * left * each
    if not enough:
        return ""
    cents = 10.0 ** (2 - len(f"{enough:.0f}")) if enough >= 1 else 1000.0  # two digits that count, or tenths of a cent
    return f"{math.ceil(enough * cents) / cents:g}"


def _dearest_before(run_dir: Path) -> float:
    """Return what the dearest trial of this kind cost in earlier runs; 0: nobody knows."""
    earlier = EarlierRuns(run_dir.parent, besides=run_dir)
    return max((earlier.dearest(trial) or 0.0 for trial in load_plan(run_dir)), default=0.0)


def short_path(path: Path) -> str:
    """Return a path as a person would type it from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
