"""Plays the task's policies over many seeds and prints how often each passes: a Markdown table for each setting.

    python -m benchmarks.imbalance.calibrate --jobs 2
    python -m benchmarks.imbalance.calibrate --portfolio --seeds 50 --settings synthetic-0.03

With ``--portfolio`` it is the strong players of ``portfolio.py`` that play, and the solver beside them. An interrupted
calibration goes on where it stopped: each trial is a line of the results file.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.calibration import add_arguments, play, portfolio_summary, table
from benchmarks.imbalance.difficulty import calibrated_tau
from benchmarks.imbalance.policies import solver
from benchmarks.imbalance.portfolio import PORTFOLIO
from benchmarks.imbalance.task import Imbalance

__all__ = ["SETTINGS", "main"]

SETTINGS: Mapping[str, Imbalance] = {
    "synthetic-0.03": Imbalance(),
    "synthetic-0.2": Imbalance(minority_frac=0.2, max_steps=4, tau=calibrated_tau("synthetic", 0.2)),
    "synthetic-0.01": Imbalance(minority_frac=0.01, tau=calibrated_tau("synthetic", 0.01)),
    "kaggle-50000": Imbalance(source="kaggle", sample_n=50_000, max_steps=4, tau=calibrated_tau("kaggle", 0.0)),
    "kaggle": Imbalance(source="kaggle", tau=calibrated_tau("kaggle", 0.0)),
}
"""What the README's tables show, by name."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Play what the results file lacks, then print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.imbalance.calibrate", description=__doc__)
    add_arguments(parser, Imbalance.policies)
    parser.add_argument("--settings", default=",".join(SETTINGS), help="names, separated by commas")
    parser.add_argument(
        "--portfolio",
        action="store_true",
        help="the players of portfolio.py, over 50 seeds and into portfolio.jsonl unless told otherwise",
    )
    options = parser.parse_args(arguments)
    if options.portfolio:
        players = {**PORTFOLIO, "solver": solver}
        parser.set_defaults(policies=",".join(players), seeds=50, results=Path("portfolio.jsonl"))
        options = parser.parse_args(arguments)
    for name in options.settings.split(","):
        task = SETTINGS[name]
        rows = play(task, options, players if options.portfolio else None)
        made = table(rows, options.policies.split(","), {"mean F1": "score", "mean steps": "steps_used"})
        told = f"\n{portfolio_summary(rows, PORTFOLIO)}\n" if options.portfolio else ""
        sys.stdout.write(f"\n### {name}: max_steps {task.max_steps}, tau {task.tau:g}\n\n{made}\n{told}")


if __name__ == "__main__":
    main()
