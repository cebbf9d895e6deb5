"""Plays the task's policies, or its portfolio, over many seeds and prints how often each passes, as a Markdown table.

    RLTASK_SECRET=00000000000000000000000000000000 python -m benchmarks.onnx_export.calibrate --jobs 2
    RLTASK_SECRET=00000000000000000000000000000000 python -m benchmarks.onnx_export.calibrate --portfolio --jobs 2

An interrupted calibration goes on where it stopped: each trial is a line of the results file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.calibration import add_arguments, play, portfolio_summary, table
from benchmarks.onnx_export.portfolio import PORTFOLIO
from benchmarks.onnx_export.secret import fingerprint, load_secret
from benchmarks.onnx_export.task import OnnxExport

__all__ = ["main"]

_MEANS = {"mean test": "test_accuracy", "mean fresh": "fresh_accuracy"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Play what the results file lacks, then print the table, and of a portfolio what it says of the task."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.onnx_export.calibrate", description=__doc__)
    add_arguments(parser, OnnxExport.policies)
    parser.add_argument("--class-sep", type=float, default=OnnxExport.class_sep, help="difficulty (%(default)s)")
    parser.add_argument(
        "--portfolio",
        action="store_true",
        help="the players of portfolio.py, over 20 seeds and into portfolio.jsonl unless told otherwise",
    )
    options = parser.parse_args(arguments)
    if options.portfolio:
        parser.set_defaults(policies=",".join(PORTFOLIO), seeds=20, results=Path("portfolio.jsonl"))
        options = parser.parse_args(arguments)
    task, names = OnnxExport(class_sep=options.class_sep), options.policies.split(",")
    policies = PORTFOLIO if options.portfolio else None
    rows = play(task, options, policies, identity={"secret": fingerprint(load_secret())})
    sys.stdout.write(table(rows, names, _MEANS) + "\n")
    if options.portfolio:
        sys.stdout.write(f"\n{portfolio_summary(rows, names)}\n")


if __name__ == "__main__":
    main()
