"""``rltask compare``: two runs side by side, for a person, a pull request, or the exit status of CI."""

from __future__ import annotations

import argparse
import sys

from pytest_rltask.analysis.compare import FAIL_ON, Comparison, compare
from pytest_rltask.analysis.compare_text import comparison_lines, comparison_markdown
from pytest_rltask.analysis.rows import printable
from pytest_rltask.commands.errors import FAILED, FINE, UsageError
from pytest_rltask.commands.output import print_json
from pytest_rltask.commands.runs import add_run, load

EXAMPLE = "rltask compare run_20261120 last --fail-on worse --markdown >> $GITHUB_STEP_SUMMARY"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    add_run(parser, "a")
    add_run(parser, "b")
    told = parser.add_mutually_exclusive_group()
    told.add_argument("--markdown", action="store_true", help="print Markdown, for a pull request")
    told.add_argument("--json", action="store_true", help="print one JSON object")
    text = (
        "exit with 1 if B is shown to pass less often, at 5 %% for all rows together (worse); with `changed` also if "
        "more often, if a task, prompt or grader is another, or if only one run has a task"
    )
    parser.add_argument("--fail-on", choices=FAIL_ON, help=text)


def run(options: argparse.Namespace) -> int:
    """Print the answer, and say whether it is what CI shall fail on."""
    found = compare(load(options.a, options), load(options.b, options))
    if options.fail_on and not any(row.p is not None for row in found.rows):
        raise UsageError(
            f"--fail-on {options.fail_on}: {options.a} and {options.b} have no task in common that both judged; "
            "`rltask show RUN` tells what a run holds"
        )
    _tell(found, options)
    reasons = found.fails(options.fail_on)
    for reason in reasons:
        print(f"rltask: --fail-on {options.fail_on}: {printable(reason)}", file=sys.stderr)
    return FAILED if reasons else FINE


def _tell(found: Comparison, options: argparse.Namespace) -> None:
    if options.json:
        print_json(found.to_json())
    elif options.markdown:
        print(comparison_markdown(found), end="")
    else:
        is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
        print("\n".join(comparison_lines(found, unicode=is_utf8)))
