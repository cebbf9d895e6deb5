"""``rltask merge``: one run and verdict of the shards that several machines played."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import uuid
from pathlib import Path

from pytest_rltask.analysis.merge import MergeError, merge
from pytest_rltask.clock import utc
from pytest_rltask.commands.errors import FAILED, FINE, UsageError
from pytest_rltask.commands.output import print_json
from pytest_rltask.commands.runs import add_run, load, log_dir_of
from pytest_rltask.report.command_line import without
from pytest_rltask.report.files import report_on
from pytest_rltask.report.github import workflow_commands
from pytest_rltask.report.listing import gate_of
from pytest_rltask.report.terminal import summary_lines
from pytest_rltask.report.visible import tamed
from pytest_rltask.run.files import RunLogError, choose_run_dir
from pytest_rltask.verdict import GATES

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "rltask merge artifacts/shard-*/run_*"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the shards, where their run goes, and the rule of its gate."""
    add_run(parser, nargs="+")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run directory to create (default: in --log-dir)")
    parser.add_argument("--gate", choices=GATES, help="as of pytest (default: as the shards were started)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")


def run(options: argparse.Namespace) -> int:
    """Merge, write the reports, print the summary; 1 if the gate fails.

    Raises:
        UsageError: the runs make none.
    """
    shards = [load(name, options) for name in options.run]
    now = utc()
    into = options.out or choose_run_dir(log_dir_of(options), now.astimezone())
    if into.exists():
        raise UsageError(f"--out {into} exists, and nothing is written over; name a directory that does not")
    if wrong := [one.path.name for one in shards if not {"id", "command", "created"} <= one.header.keys()]:
        raise UsageError(f"{wrong[0]} is not a run directory of pytest-rltask: its run.json has no id or command")
    try:
        command = shlex.join(without(shlex.split(str(shards[0].header["command"])), "--shard", "--rltask-shard"))
        whole = merge(shards, into, id=uuid.uuid4().hex, created=now.isoformat(timespec="seconds"), command=command)
    except (MergeError, RunLogError, ValueError) as error:  # of a command that no shell takes apart
        raise UsageError(str(error)) from None
    except OSError as error:
        raise UsageError(f"{into} cannot be written: {error.strerror or error}; write --out=DIR") from None
    summary = report_on(whole.path, options.gate or gate_of(whole), stop_early=False)
    assert summary is not None, "shards have trials"
    if options.json:
        print_json({"run": str(whole.path), "holds": summary.holds, "rows": [row.to_json() for row in summary.rows]})
    else:
        width = shutil.get_terminal_size().columns
        lines = summary_lines(
            summary,
            run_dir=whole.path,
            command=shlex.split(str(whole.header["command"])),
            width=width,
            unicode="utf" in (sys.stdout.encoding or "").lower(),
            interrupted=False,
        )
        for text, _ in lines:
            print(tamed(text))
        for told in workflow_commands(summary, Path.cwd(), os.environ):
            print(told)
    return FINE if summary.holds else FAILED
