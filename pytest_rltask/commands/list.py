"""``rltask list``: the runs of the log directory, the newest last."""

from __future__ import annotations

import argparse
import sys

from pytest_rltask.commands.errors import FINE
from pytest_rltask.commands.output import print_json
from pytest_rltask.commands.runs import add_log_dir, log_dir_of

EXAMPLE = "rltask list"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_log_dir(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the runs."""
    from pytest_rltask.report.listing import listed, listing
    from pytest_rltask.report.painting import painter, wants_colour
    from pytest_rltask.run.named import runs_in

    log_dir = log_dir_of(options)
    runs = (listed(path) for path in runs_in(log_dir))
    if options.json:
        print_json({"log_dir": str(log_dir), "runs": [one.to_json() for one in runs]})
        return FINE
    lines = list(listing(runs, painter(colour=wants_colour(sys.stdout))))
    print("\n".join(lines) if lines else f"no run in {log_dir}; `pytest` plays one, `--log-dir DIR` looks elsewhere")
    return FINE
