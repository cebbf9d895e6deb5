"""``rltask show``: a run with its trials, or the conversation of one; `--follow` shows them while they are played."""

from __future__ import annotations

import argparse
import re
import shlex
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from pytest_rltask.analysis.trials import NoSuchTrial, Place, Selection, find_trial, labels, matches, short_names
from pytest_rltask.commands.errors import FINE, UsageError
from pytest_rltask.commands.output import print_json
from pytest_rltask.commands.pager import show_lines
from pytest_rltask.commands.runs import add_run, path_of
from pytest_rltask.report.following import follow_run, follow_trial
from pytest_rltask.report.listing import listed, listing
from pytest_rltask.report.painting import Paint, TranscriptPainter, painter, wants_colour
from pytest_rltask.report.transcript import render
from pytest_rltask.report.trials import (
    Shown,
    coloured,
    matched,
    shown,
    shown_trials,
    trial_line,
    trial_table,
    unfinished,
)
from pytest_rltask.report.visible import visible
from pytest_rltask.run.brief import with_conversation
from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.load import Run, load_run

EXAMPLE = """rltask show last
  rltask show last imbalance/3
  rltask show last --failed --grep 'Error|Traceback'
  rltask show last --follow"""
PLACES = 5
"""Places of each conversation that a run shows."""
POLL_S = 0.2
"""Seconds between two looks at a run that is followed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_run(parser)
    trial = "a trial, whose conversation is shown: its id, a part of it, or TASK/NUMBER such as imbalance/3"
    parser.add_argument("trial", metavar="TRIAL", nargs="?", help=trial)
    parser.add_argument("--failed", action="store_true", help="those trials alone that missed or cheated")
    parser.add_argument("--label", default="", metavar="LABEL", help="those alone whose label has this in it")
    parser.add_argument("--grep", metavar="REGEX", help="those alone with such a line in their conversation, and where")
    follow = "go on while the trial, or the run, is played, and end with it"
    parser.add_argument("-f", "--follow", action="store_true", help=follow)
    parser.add_argument("--no-pager", action="store_true", help="print without a pager (PAGER, else less)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print what is asked for."""
    _check(options)
    pattern = _pattern(options.grep)
    path, paint = path_of(options.run, options), painter(colour=wants_colour(sys.stdout))
    if options.trial:
        _show_trial(path, pattern, options, paint)
    elif options.follow:
        _follow_run(path, options, paint)
    else:
        _show_run(path, pattern, options, paint)
    return FINE


def _check(options: argparse.Namespace) -> None:
    if options.trial and (options.failed or options.label):
        raise UsageError("--failed and --label select among the trials of a run; leave them out, or TRIAL")
    if options.follow and (options.grep is not None or options.json):
        raise UsageError("--follow shows what is written as it is written; leave out --grep and --json")


def _pattern(regex: str | None) -> re.Pattern[str] | None:
    try:
        return None if regex is None else re.compile(regex)
    except (re.error, OverflowError, RecursionError) as error:
        how = r"write a backslash before a sign that is meant as it is, as in --grep 'f\(x\)'"
        raise UsageError(f"--grep {shlex.quote(regex or '')} is no regular expression: {error}; {how}") from None


def _load(path: Path, *, conversations: bool = False) -> Run:
    try:
        return load_run(path, conversations=conversations)
    except (RunLogError, OSError) as error:
        raise UsageError(str(error)) from None


def _wait() -> None:
    time.sleep(POLL_S)


def _show_trial(path: Path, pattern: re.Pattern[str] | None, options: argparse.Namespace, paint: Paint) -> None:
    run = _load(path)
    try:
        planned = find_trial(run, options.trial)
    except NoSuchTrial as error:
        raise UsageError(f"{error}; `rltask show {shlex.quote(options.run)}` lists them") from None
    if options.follow:
        painted = TranscriptPainter(paint)
        for line in follow_trial(path, planned, _wait):
            print(painted.line(line), flush=True)
        return
    trial = next(one for one in shown_trials(run, short_names(run)) if one.planned is planned)
    record = trial.record and with_conversation(path, trial.record)
    if options.json:
        _print_json(record.to_json() if record else trial.to_json(run))
        return
    text = render(record) if record else unfinished(run, trial)
    if pattern is None:
        show_lines(coloured(text, paint), paged=not options.no_pager)
        return
    lines = list(matched(_told(matches(text, pattern)), pattern, paint, most=None))
    show_lines(lines or ["no line of it is like that"], paged=not options.no_pager)


def _show_run(path: Path, pattern: re.Pattern[str] | None, options: argparse.Namespace, paint: Paint) -> None:
    run = _load(path, conversations=pattern is not None)
    trials = list(_selected(run, options))
    found = {trial.name: list(matches(_text(trial), pattern)) for trial in trials} if pattern else {}
    trials = [trial for trial in trials if found.get(trial.name)] if pattern else trials
    told = listed(path, run)
    if options.json:
        data = [trial.to_json(run) | _places(found.get(trial.name)) for trial in trials]
        _print_json({"run": told.to_json(), "trials": data})
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = [*listing([told], paint), "", *trial_table(trials, paint, width=width)]
    if pattern:
        for trial in trials:
            lines += [
                "",
                paint(visible(trial.name), "bold"),
                *matched(_told(found[trial.name]), pattern, paint, most=PLACES),
            ]
    show_lines(lines, paged=not options.no_pager)


def _print_json(data: object) -> None:

    print_json(data)


def _selected(run: Run, options: argparse.Namespace) -> Iterator[Shown]:
    selection = Selection(options.failed, options.label)
    if options.label and not any(map(selection.takes, run.records.values())):
        known = ", ".join(f"{count} x {label}" for label, count in labels(run.records).items()) or "none has a label"
        raise UsageError(f"--label {shlex.quote(options.label)}: no trial asked for has it in its label; {known}")
    return (trial for trial in shown_trials(run, short_names(run)) if selection.takes(trial.record))


def _text(trial: Shown) -> str:
    return render(trial.record) if trial.record else ""


def _told(places: Iterable[Place]) -> Iterator[tuple[str, Iterable[tuple[str, bool]]]]:
    return ((place.title, place.lines) for place in places)


def _places(found: list[Place] | None) -> dict[str, object]:
    """Return the lines that match, for a program."""
    if found is None:
        return {}
    told = [{"where": place.title, "line": line} for place in found for line, is_match in place.lines if is_match]
    return {"matches": told}


def _follow_run(path: Path, options: argparse.Namespace, paint: Paint) -> None:
    run = _load(path)
    names, selection = short_names(run), Selection(options.failed, options.label)
    planned = {trial.trial_id: trial for trial in run.plan}
    width = max((len(name) for name in names.values()), default=0)
    for record in follow_run(path, _wait):
        if record.trial_id in planned and selection.takes(record):
            trial = shown(planned[record.trial_id], record, names[record.trial_id])
            print(trial_line(trial, paint, width), flush=True)
