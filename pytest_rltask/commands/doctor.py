"""``rltask doctor``: what works on this machine, for its user and for bug reports."""

from __future__ import annotations

import argparse
import json
import os

from pytest_rltask.commands.errors import FAILED, FINE

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "rltask doctor --online    # ask the server too; exit status 1 if no sandbox works"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--online", action="store_true", help="ask the server whether it answers and takes the key")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print what was found; 1 if no sandbox works."""
    from pytest_rltask.report.doctor import examined, lines

    found = examined(os.environ, online=options.online)
    if options.json:
        print(json.dumps(found))
    else:
        print("\n".join(lines(found)))
    return FINE if found["sandbox"]["auto"] else FAILED
