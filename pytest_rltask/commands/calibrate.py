"""``rltask calibrate``: which threshold would put the pass rate into the band?"""

from __future__ import annotations

import argparse

from pytest_rltask.analysis.calibrate import calibrate
from pytest_rltask.analysis.calibrate_text import calibration_lines
from pytest_rltask.commands.errors import FINE, UsageError
from pytest_rltask.commands.output import print_json
from pytest_rltask.commands.runs import add_run, load

EXAMPLE = "rltask calibrate last"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_run(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the answer."""
    found = calibrate(load(options.run, options))
    if not found:
        raise UsageError(f"{options.run}: this run planned no trial; `rltask list` shows which have some")
    if options.json:
        print_json({"rows": [one.to_json() for one in found]})
    else:
        print("\n".join(calibration_lines(found)))
    return FINE
