"""Plays the task's policies over many seeds and prints how often each passes, as a Markdown table.

    RLTASK_SECRET=00000000000000000000000000000000 python -m benchmarks.onnx_export.calibrate --jobs 2

An interrupted calibration goes on where it stopped: each trial is a line of the results file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmarks.calibration import add_arguments, play, table
from benchmarks.onnx_export.secret import fingerprint, load_secret
from benchmarks.onnx_export.task import OnnxExport

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Play what the results file lacks, then print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.onnx_export.calibrate", description=__doc__)
    add_arguments(parser, OnnxExport.policies)
    parser.add_argument("--class-sep", type=float, default=OnnxExport.class_sep, help="difficulty (%(default)s)")
    options = parser.parse_args(arguments)
    task = OnnxExport(class_sep=options.class_sep)
    rows = play(task, options, identity={"secret": fingerprint(load_secret())})
    means = {"mean test": "test_accuracy", "mean fresh": "fresh_accuracy"}
    sys.stdout.write(table(rows, options.policies.split(","), means) + "\n")


if __name__ == "__main__":
    main()
