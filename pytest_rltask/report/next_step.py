"""The next command to type: mend faults and go on, play enough more to prove, check a task's soundness, or read."""

from __future__ import annotations

import itertools
import math
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from pytest_rltask.report.command_line import short_path, without
from pytest_rltask.report.summary import Row, Summary
from pytest_rltask.report.table import is_meant_so
from pytest_rltask.run.earlier import EarlierRuns
from pytest_rltask.run.load import load_plan
from pytest_rltask.run.planned import transcript_path

__all__ = ["broken", "example_path", "next_words"]

OF_TRIALS = ("--runs", "--model", "--concurrency", "--band", "--gate", "--log-dir")
"""Options with a value that an audit refuses."""
SWITCHES_OF_TRIALS = ("--sequential", "--stop-early", "--lf", "--last-failed")


def next_words(summary: Summary, run_dir: Path, command: list[str], flag: Callable[[str], str] = str) -> list[str]:
    """Return the words of the command that most likely helps next.

    Args:
        summary: of the run.
        run_dir: of the run.
        command: the words of the command line that was typed, without what resumes a run.
        flag: returns the name by which an option can be written here, given its short one.
    """
    goes_on = [f"{flag('--resume')}={short_path(run_dir)}"]
    if any(row.not_afforded for row in summary.rows):
        words = _without(command, flag("--max-cost"))
        enough = _enough(summary.rows, run_dir)  # without a limit, if nobody knows what a trial costs
        return [*words, *((flag("--max-cost"), enough) if enough else ()), *goes_on]
    if summary.rows[0].verdict.word == "incomplete" or any(row.lost for row in summary.rows):
        return [*command, *goes_on]
    if summary.part:  # whose rates are judged with those of the other shards
        return ["less", short_path(run_dir / "summary.md")]
    failing = [row for row in summary.rows if not row.verdict.holds]
    if failing and all(map(is_meant_so, failing)):
        for option in OF_TRIALS:
            command = _without(command, flag(option))
        return [*(word for word in command if word not in SWITCHES_OF_TRIALS), flag("--audit")]
    if (runs := _more_runs(summary.rows)) and not _selects_runs(command):  # more runs of one selected run are none
        return [*_without(command, flag("--runs")), flag("--runs"), str(runs), *goes_on]
    example = example_path(summary, run_dir)
    return ["less", short_path(example if example and not summary.holds else run_dir / "summary.md")]


def broken(words: list[str], width: int, *, begin: str = "") -> Iterator[str]:
    r"""Yield a command as lines that a shell takes for one: broken between words, each but the last continued.

    Args:
        words: of the command.
        width: in characters; a longer word has a line of its own.
        begin: what stands before the command. What continues it is as far from the edge.

    Example:
        >>> list(broken(["pytest", "--runs", "10"], 18, begin="next: "))
        ['next: pytest \\', '      --runs 10']
    """
    first, *others = _together(words)
    line = begin + first
    for number, part in enumerate(others, start=1):
        room = width - 2 * (number < len(others))  # for what says that it goes on
        if len(line) + 1 + len(part) > room:
            yield f"{line} \\"
            line = " " * len(begin) + part
        else:
            line = f"{line} {part}"
    yield line


def _together(words: list[str]) -> list[str]:
    """Return the words as a shell takes them, an option with what follows it."""
    parts = [shlex.quote(words[0])]
    for before, word in itertools.pairwise(words):
        if before.startswith("-") and not word.startswith("-"):
            parts[-1] += f" {shlex.quote(word)}"
        else:
            parts.append(shlex.quote(word))
    return parts


def example_path(summary: Summary, run_dir: Path) -> Path | None:
    """Return the transcript of a trial worth reading."""
    return next((transcript_path(run_dir, row.task, row.example) for row in summary.rows if row.example), None)


def _more_runs(rows: list[Row]) -> int | None:
    """Return how many runs would prove what is not proven yet; as many again where no number can be named."""
    unproven = [row for row in rows if not row.verdict.proven and row.judged]
    return max((row.judged + (row.verdict.more_runs or row.judged) for row in unproven), default=None)


def _selects_runs(words: list[str]) -> bool:
    """Say whether a command line chooses among the runs of a task."""
    chosen = [value for option, value in itertools.pairwise(words) if option == "-k"]
    chosen += [word for word in words if word.startswith("-k") or ("::" in word and "[" in word)]
    return bool({"--lf", "--last-failed"} & set(words)) or any("run-" in value for value in chosen)


def _without(words: list[str], flag: str) -> list[str]:
    """Leave out an option, which its true name may stand for."""
    return without(words, flag, f"--rltask-{flag.removeprefix('--').removeprefix('rltask-')}")


def _enough(rows: list[Row], run_dir: Path) -> str:
    """Return about how many dollars the whole run takes: half as much again for what is left, since trials differ.

    Of a run that has paid for none, what earlier ones paid tells; empty if nothing does.
    """
    spent = sum(row.known_cost_usd for row in rows)
    played = sum(row.judged + row.errored for row in rows if row.paid)
    left = sum(row.not_afforded for row in rows)
    each = spent / max(played, 1) if spent else _dearest_before(run_dir)
    enough = spent + 1.5 * left * each
    if not enough:
        return ""
    cents = 10.0 ** (2 - len(f"{enough:.0f}")) if enough >= 1 else 1000.0  # two digits that count, or tenths of a cent
    return f"{math.ceil(enough * cents) / cents:g}"


def _dearest_before(run_dir: Path) -> float:
    """Return what the dearest trial of this kind cost in earlier runs; 0: nobody knows."""
    earlier = EarlierRuns(run_dir.parent, besides=run_dir)
    return max((earlier.dearest(trial) or 0.0 for trial in load_plan(run_dir)), default=0.0)
