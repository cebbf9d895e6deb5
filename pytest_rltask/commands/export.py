"""``rltask export``: a run as a file that trainers, viewers and spreadsheets read."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TextIO

from pytest_rltask.commands.errors import FINE, UsageError
from pytest_rltask.commands.runs import add_run, load
from pytest_rltask.export.selection import Selection, select
from pytest_rltask.export.target import ExportError, new_file, new_folder
from pytest_rltask.run.load import Run

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "rltask export last --to jsonl --only passed --out train.jsonl"
FORMATS = ("jsonl", "atif", "inspect", "csv")
OUTCOMES = ("errored", "cheated")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says which trials are written as what, and where to."""
    add_run(parser)
    what = "jsonl: lines to train on; atif: ATIF 1.7 trajectories; inspect: logs for `inspect view`; csv: a table"
    parser.add_argument("--to", required=True, choices=FORMATS, help=what)
    where = "a new file (jsonl, csv; `-` is stdout) or folder (atif, inspect); default: named after the run, here"
    parser.add_argument("--out", default="", metavar="PATH", help=where)
    parser.add_argument("--only", choices=["passed"], help="leave all other trials out")
    kinds = "jsonl leaves out trials that errored or cheated, unless they are named here: errored,cheated"
    parser.add_argument("--include", default="", metavar="OUTCOMES", help=kinds)
    shape = "jsonl: tools, arguments and facts as JSON in strings, for `datasets` before 4.7"
    parser.add_argument("--strings", action="store_true", help=shape)


def run(options: argparse.Namespace) -> int:
    """Export, and say on stderr what of the run is in the file."""
    if options.strings and options.to != "jsonl":
        raise UsageError("--strings is for --to jsonl: the other formats have one shape")
    include = [word for word in options.include.split(",") if word]
    if strange := [word for word in include if word not in OUTCOMES]:
        raise UsageError(f"--include {options.include}: {strange[0]!r} is none; write --include errored,cheated")
    if include and options.to != "jsonl":
        raise UsageError(f"--include is for --to jsonl: --to {options.to} has all trials; leave it out")
    if options.only and include:
        raise UsageError("--only passed and --include say the opposite; leave out one of them")
    found = load(options.run, options)
    selection = _selected(options, found, include)
    if not selection.trials:
        raise UsageError(f"{found.path.name} has nothing to export as {options.to}: {selection.told()}")
    try:
        where = _write(options, selection, found)
    except ExportError as error:
        raise UsageError(str(error)) from None
    print(f"exported {selection.told()}{where}", file=sys.stderr)
    return FINE


def _selected(options: argparse.Namespace, found: Run, include: list[str]) -> Selection:
    only_passed = options.only == "passed"
    if options.to == "jsonl":
        from pytest_rltask.export.jsonl import select_lines

        return select_lines(found, include=include, only_passed=only_passed)  # type: ignore[arg-type]
    if options.to == "atif":
        from pytest_rltask.export.atif import no_conversation

        return select(found, only_passed=only_passed, unusable=no_conversation)
    return select(found, only_passed=only_passed)


def _write(options: argparse.Namespace, selection: Selection, found: Run) -> str:
    """Write the export, and return where it is, as the end of a sentence."""
    if options.to in ("jsonl", "csv"):
        if options.out == "-":
            _write_file(options, selection, sys.stdout)
            return ""
        path = Path(options.out or f"{found.path.name}.{options.to}")
        with new_file(path) as file:
            _write_file(options, selection, file)
        return f" -> {path}"
    if options.out == "-":
        raise UsageError(f"--out -: --to {options.to} writes a folder of files; write --out DIR")
    folder = Path(options.out or f"{found.path.name}-{options.to}")
    if options.to == "atif":
        from pytest_rltask.export.atif import write_trajectories

        write_trajectories(selection, new_folder(folder))
        return f" -> {folder}/"
    from pytest_rltask.export.inspect_log import write_logs

    logs = write_logs(selection, folder)
    return f" -> {folder}/, {len(logs)} log{'s' * (len(logs) != 1)}; next: inspect view start --log-dir {folder}"


def _write_file(options: argparse.Namespace, selection: Selection, file: TextIO) -> None:
    if options.to == "csv":
        from pytest_rltask.export.table import write_table

        write_table(selection, file)
        return
    from pytest_rltask.export.jsonl import write_lines

    write_lines(selection, file, strings=options.strings)
