"""The summary at the end of a pytest run: tasks and models worst first, reasons, paths, and the next command to type.

Where a table would not fit the terminal, each task and model has a block of lines instead.
"""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from pytest_rltask.report.command_line import short_path
from pytest_rltask.report.isolation import warning
from pytest_rltask.report.next_step import broken, example_path, next_words
from pytest_rltask.report.summary import Row, Summary
from pytest_rltask.report.table import (
    COLUMNS,
    aligned,
    bar,
    cells,
    cost,
    duration_text,
    filled,
    remarks,
    shown_interval,
    tokens_text,
    verdict_text,
)
from pytest_rltask.report.visible import for_log, visible

__all__ = ["Line", "summary_lines", "write_transcript"]

Line = tuple[str, dict[str, bool]]
"""A line and the markup pytest's terminal writer takes for it."""

TEXT_COLUMNS = {"task", "model", "pass rate 0-100 %", "verdict"}
INDENT = "  "
UNBROKEN = "\xa0"
"""A space at which no line ends."""


def summary_lines(
    summary: Summary,
    *,
    run_dir: Path,
    command: list[str],
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
        command: words of the command line of this invocation without ``--resume``, to build the next one from.
        width: of the terminal, in characters.
        unicode: whether the terminal can show more than ASCII.
        interrupted: whether the run ended early, so that no gate was checked.
        notes: on how the run was played.
        flag: returns the name by which an option can be written here, given its short one.
    """
    table = list(aligned(filled([COLUMNS, *(cells(row, unicode=unicode) for row in summary.rows)]), TEXT_COLUMNS))
    if max(map(len, table)) <= width:
        yield from _table(summary.rows, table, width)
    else:
        yield from (line for row in summary.rows for line in _block(row, width, unicode=unicode))
    for sweep in summary.sweeps:
        yield from _wrapped(str(sweep), width, {"bold": True} if sweep.in_band else {"yellow": True}, after=INDENT)
    yield from ((note, {"yellow": True}) for note in notes)
    yield "", {}
    if unsafe := warning(summary.sandboxes):
        yield unsafe, {"red": True, "bold": True}
    if interrupted:
        yield "interrupted: the gate was not checked", {"yellow": True}
    yield f"run directory: {short_path(run_dir)}, to be read as report.html", {}
    if example := example_path(summary, run_dir):
        yield f"a trial to read: {shlex.quote(short_path(example))}", {}
    for line in broken(next_words(summary, run_dir, command, flag), width, begin="next: "):
        yield visible(line), {"bold": True}


def _table(rows: list[Row], table: list[str], width: int) -> Iterator[Line]:
    """Yield a line for each row, and below them what is to be said of each beside its numbers."""
    names, *lines = table
    yield names, {"bold": True}
    for row, line in zip(rows, lines, strict=True):
        yield visible(line), _colour(row)
    several = len({row.model for row in rows}) > 1
    for row in rows:
        who = f"{row.name} by {row.model}" if several else row.name
        for text, markup in _told(row):
            separator = " " if text.startswith(tuple(COUNTED)) else ": "
            yield from _wrapped(f"{who}{separator}{text}", width, markup, after=INDENT)


def _block(row: Row, width: int, *, unicode: bool) -> Iterator[Line]:
    """Yield all there is to say of a row, in lines of the terminal's width."""
    yield from _wrapped(f"{row.name} by {row.model}: {verdict_text(row)}", width, _colour(row) | {"bold": True})
    rate = "" if row.verdict.rate is None else f"{row.verdict.rate * 100:.0f} %"
    interval = [f"interval {shown_interval(row)}"] if row.verdict.interval else []
    told = ", ".join([*interval, f"band {row.band}"])
    yield f"{INDENT}{rate:>5}  {bar(row, unicode=unicode)}  {told}", _colour(row)
    planned = "" if row.judged == row.planned else f", {row.planned} planned"
    numbers = [
        f"{row.passed} of {row.judged} passed{planned}",
        *([] if row.mean_score is None else [f"score {row.mean_score:.3f}"]),
        *([] if row.turns is None else [f"{row.turns:.1f} turns"]),
        *([f"{tokens_text(row.usage.total)} tokens"] if row.usage.total else []),
        *([f"cost {cost(row)}"] if cost(row) != "-" else []),
        duration_text(row.seconds),
    ]
    whole = (number.replace(" ", UNBROKEN) for number in numbers)
    for line, _ in _wrapped((" · " if unicode else ", ").join(whole), width, {}, first=INDENT, after=INDENT):
        yield line.replace(UNBROKEN, " "), {}
    for text, markup in _told(row):
        yield from _wrapped(text, width, markup, first=INDENT, after=INDENT * 2)


COUNTED = ("missed: ", "cheated: ", "errored: ")


def _told(row: Row) -> Iterator[Line]:
    """Yield why trials of a row did not pass, and what is to be said beside its numbers."""
    counted = (row.reasons, {"yellow": True}), (row.cheats, {"purple": True}), (row.faults, {"red": True})
    for what, (reasons, markup) in zip(COUNTED, counted, strict=True):
        if reasons:
            yield what + ", ".join(f"{count} x {reason}" for reason, count in reasons.items()), markup
    for why in remarks(row):
        yield why, {"yellow": True}
    if row.lost:
        yield f"{row.lost} of {row.planned} planned trials were not played to the end", {"red": True}


def _colour(row: Row) -> dict[str, bool]:
    if not row.verdict.holds:
        return {"red": True}
    return {"green": True} if row.verdict.proven else {"yellow": True}


def _wrapped(text: str, width: int, markup: dict[str, bool], *, first: str = "", after: str = "") -> Iterator[Line]:
    """Yield a text in lines that end between words."""
    wrapper = textwrap.TextWrapper(
        width, initial_indent=first, subsequent_indent=after, break_long_words=False, break_on_hyphens=False
    )
    for line in wrapper.wrap(visible(text)):
        yield line, markup


def write_transcript(reporter: Any, transcript: str) -> None:
    """Write a trial's transcript, all of it, below the line of its item.

    Args:
        reporter: pytest's terminal reporter; None if there is none.
        transcript: what models and tools said in it is not trusted.
    """
    if reporter is not None:
        reporter.ensure_newline()
        for line in for_log(transcript).rstrip().split("\n"):
            reporter.write_line(line)
