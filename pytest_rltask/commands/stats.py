"""``rltask stats``: pass@k, means with errors, reasons, near misses and what went to waste, of one run or several."""

from __future__ import annotations

import argparse
import sys

from pytest_rltask.analysis.stats import NEAR, stats
from pytest_rltask.analysis.stats_text import stats_lines
from pytest_rltask.commands.errors import FINE, UsageError
from pytest_rltask.commands.output import print_json
from pytest_rltask.commands.runs import add_run, load, path_of
from pytest_rltask.report.painting import painter, wants_colour

EXAMPLE = "rltask stats last --k 1,2,5"
_KS = "1,2,5"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser, "run", nargs="+")
    parser.add_argument("--k", default="", metavar="K,K", help=f"for which k (default: those of {_KS} that there are)")
    near = f"how far below its threshold a score is a near miss, as a share of it (default: {NEAR})"
    parser.add_argument("--near", default=str(NEAR), metavar="SHARE", help=near)
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the numbers."""
    ks, near = _ks(options.k or _KS), _share(options.near)
    paths = {path_of(name, options).resolve(): name for name in options.run}  # a run counts once
    runs = [load(name, options) for name in paths.values()]
    found = stats(runs, ks=ks, near=near)
    most = max((group.judged for group in found.groups), default=0)
    if options.k and max(ks) > most:  # what some tasks have enough trials for is told, and the others are named
        raise UsageError(f"{found.refused[-1]}; write --k with numbers up to {most}, or play more runs")
    if options.json:
        print_json(found.to_json())
    else:
        print("\n".join(stats_lines(found, painter(colour=wants_colour(sys.stdout)))))
    return FINE


def _ks(text: str) -> list[int]:
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise UsageError(f"--k {text!r}: it takes numbers from 1 on, with commas between them, as in --k {_KS}")
    return sorted({int(word) for word in words})


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--near {text!r}: it takes a share from 0 to 1, as in --near {NEAR}")
    return share
