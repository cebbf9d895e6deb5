"""``rltask regrade``: a run's recorded trials graded anew, without a model; all grades that they had are kept."""

from __future__ import annotations

import argparse
import math
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pytest_rltask.analysis.moves import Move, moves, rates
from pytest_rltask.commands.errors import FINE, UsageError
from pytest_rltask.commands.output import print_json
from pytest_rltask.commands.runs import add_run, load, path_of
from pytest_rltask.report.table import aligned
from pytest_rltask.report.visible import for_log
from pytest_rltask.run.files import RunLogError, odd_files
from pytest_rltask.run.load import Run, load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.record import Record, outcome_word

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "rltask regrade last --dry-run"
_SHOWN = 5
"""Of what had changed: each trial whose artifacts are lost has words of its own."""
_COPIED = ("*.json", "trials.*.jsonl", "graders", "artifacts")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says by what trials are graded, and whether that is written down."""
    add_run(parser)
    what = "hold recorded scores against this threshold, without the task's code"
    parser.add_argument("--threshold", type=float, metavar="X", help=what)
    parser.add_argument("--task", default="", metavar="NAME", help="with --threshold: the task that it is of")
    parser.add_argument("--dry-run", action="store_true", help="write nothing, and show what would change")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    words = "what pytest collects, with its options, in one word (default: as the run was started)"
    parser.add_argument("--pytest", default="", metavar="ARGUMENTS", help=words)


def run(options: argparse.Namespace) -> int:
    """Grade anew, and print what changed, trial by trial."""
    if options.threshold is not None and not math.isfinite(options.threshold):
        raise UsageError(f"--threshold {options.threshold} is no number that a score can be held against")
    if options.threshold is not None and options.pytest:
        raise UsageError("--threshold needs no suite; leave out --pytest")
    if options.task and options.threshold is None:
        raise UsageError("--task goes with --threshold; a changed grader is seen for each task")
    before = load(options.run, options)
    if not any(record.graded for record in before.records.values()):
        raise UsageError(f"{before.path.name} has no trial with a grade")
    if options.dry_run:
        with tempfile.TemporaryDirectory(prefix="rltask-dry-run-") as folder:
            after = _regraded(options, before, _copy(path_of(options.run, options), Path(folder)))
    else:
        after = _regraded(options, before, path_of(options.run, options))
        _tell(before, after)
    found = moves(before, after)
    if options.json:
        told = {
            "run": str(before.path),
            "dry_run": options.dry_run,
            "graded": len(found),
            "changed": [move.to_json() for move in found if move.is_other],
            "rates": [vars(rate) for rate in rates(before, after)],
        }
        print_json(told)
    else:
        for line in _lines(found, before, after, dry_run=options.dry_run):
            print(for_log(line))
        if options.dry_run and found:
            print(f"nothing was written; next: {_in_earnest(options)}")
    return FINE


def _in_earnest(options: argparse.Namespace) -> str:
    """Return the command that writes what a dry run has shown."""
    words = ["rltask", "regrade", options.run]
    words += [f"--threshold={options.threshold!r}"] if options.threshold is not None else []
    words += [f"--task={options.task}"] if options.task else []
    words += [f"--pytest={options.pytest}"] if options.pytest else []
    words += [f"--log-dir={options.log_dir}"] if options.log_dir else []
    return shlex.join(words)


def _tell(before: Run, after: Run) -> None:
    """Bring the readable files of a run up to date with its records."""
    from pytest_rltask.report.files import report_on
    from pytest_rltask.report.listing import gate_of
    from pytest_rltask.report.transcript import render

    found = moves(before, after)
    if not found:
        return
    writer = RunWriter(after.path, "regrade", after.header)
    for move in found:
        writer.write_transcript(move.after, render(move.after))
    report_on(after.path, gate_of(after), stop_early=False)


def _copy(run_dir: Path, folder: Path) -> Path:
    """Copy what regrading reads of a run, and what it appends to."""
    copy = folder / run_dir.name
    copy.mkdir()
    for pattern in _COPIED:
        for path in run_dir.glob(pattern):
            if path.name == "artifacts":
                (copy / path.name).symlink_to(path.resolve())  # read only, and large
            elif path.is_dir():
                shutil.copytree(path, copy / path.name, ignore=odd_files)
            elif path.is_file():
                shutil.copyfile(path, copy / path.name)
    return copy


def _regraded(options: argparse.Namespace, before: Run, run_dir: Path) -> Run:
    """Grade a run's trials anew, and load it again."""
    if options.threshold is None:
        from pytest_rltask.commands.suite_process import regrade_by_suite

        regrade_by_suite(run_dir, before.header, options.pytest)
    else:
        _hold_against(options, before, run_dir)
    try:
        return load_run(run_dir)
    except (RunLogError, OSError) as error:
        raise UsageError(str(error)) from None


def _hold_against(options: argparse.Namespace, before: Run, run_dir: Path) -> None:
    from pytest_rltask.analysis.threshold import contradiction, regrade_at
    from pytest_rltask.run.lock import RunLock

    tasks = list(dict.fromkeys(trial.task for trial in before.plan))
    wanted = options.task or (tasks[0] if len(tasks) == 1 else "")
    if wanted not in tasks:
        said = f"--task {options.task}: the run has none of that name" if options.task else "the run has several tasks"
        raise UsageError(f"{said}; write --task NAME, one of {', '.join(tasks)}")
    trials = [trial for trial in before.plan if trial.task == wanted]
    records = [before.records[trial.trial_id] for trial in trials if trial.trial_id in before.records]
    if why := contradiction(records):
        raise UsageError(
            f"--threshold {options.threshold:g}: {why}; change the task and write `rltask regrade {run_dir.name}`, "
            "which asks its grader"
        )
    try:
        lock = RunLock(run_dir, "regrade")
        try:
            lock.check_alone()
            writer = RunWriter(run_dir, "regrade", before.header)
            regrade_at(before, trials, options.threshold, writer)
        finally:
            lock.release()
    except (RunLogError, OSError) as error:
        raise UsageError(f"{run_dir}: {error}") from None


def _lines(found: list[Move], before: Run, after: Run, *, dry_run: bool) -> Iterator[str]:
    if not found:
        yield f"nothing to do: what grades the trials of {before.path.name} is what graded them"
        return
    since = list(dict.fromkeys(move.step.changes for move in found))
    yield from (f"since: {changes}" for changes in since[:_SHOWN])
    if len(since) > _SHOWN:
        yield f"since: {len(since) - _SHOWN} more, which `rltask show` tells with each trial"
    other = [move for move in found if move.is_other]
    if other:
        rows = [("trial", "was", "is", "by"), *map(_cells, other)]
        yield from aligned(rows, set(rows[0]))
    kept = len(found) - len(other)
    yield f"{len(found)} trials graded anew, {len(other)} of them otherwise" + (f", {kept} as before" if kept else "")
    for rate in rates(before, after):
        if rate.before != rate.after:
            was, now = ("{} of {}".format(*one) for one in (rate.before, rate.after))
            yield f"{rate.task} by {rate.model}: {was} passed, now {now}"
    lost = [move for move in found if move.after.outcome == "errored" and move.before.outcome != "errored"]
    if lost and not dry_run:
        yield f"next: pytest --resume={before.path} plays the {len(lost)} that could not be graded anew"


def _cells(move: Move) -> tuple[str, ...]:
    how = {"threshold": "its score", "replay": "a replay", "artifacts": "what was kept"}.get(move.step.how, "")
    name = move.after.trial_id.partition("::")[2] or move.after.trial_id
    return (name, _told(move.before), _told(move.after), how)


def _told(record: Record) -> str:
    score = "" if record.score is None else f", {record.score:g}"
    threshold = "" if record.threshold is None else f" of {record.threshold:g}"
    label = f" ({record.label})" if record.label and record.outcome != "passed" else ""
    told = f"{outcome_word(record.outcome)}{score}{threshold}{label}"
    return "".join(char if char.isprintable() else " " for char in told)
