"""Plays a task's policies over many seeds and tells how often each passes: what the tables of the READMEs come from.

Each trial is a line of the results file, so an interrupted calibration goes on where it stopped. A policy plays as
``--model policy:NAME`` lets it, through the same loop and with the same randomness, only without pytest.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from pytest_rltask import Task, play_policy

__all__ = ["Row", "add_arguments", "play", "table"]

Row = dict[str, Any]
"""A finished trial, as a line of the results file."""


def add_arguments(parser: argparse.ArgumentParser, policies: Iterable[str]) -> None:
    """Add the arguments of every calibration."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--policies", default=",".join(policies), help="names, separated by commas")
    parser.add_argument("--seeds", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="the first one (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at once (%(default)s)")
    parser.add_argument("--results", type=Path, default=Path("calibration.jsonl"), help="file (%(default)s)")


def play(task: Task, options: argparse.Namespace, *, identity: Mapping[str, Any] | None = None) -> list[Row]:
    """Play what the results file lacks of a task, and return all of its trials.

    Args:
        task: whose policies play.
        options: see :func:`add_arguments`.
        identity: what the trials depend on besides the task's fields; others in the file are left aside.

    Raises:
        RuntimeError: a trial was errored.
    """
    key = {"task": task.digest(), **(identity or {})}
    names, seeds = options.policies.split(","), range(options.seed, options.seed + options.seeds)
    rows = [row for row in _load(options.results) if key.items() <= row.items()]
    known = {(row["policy"], row["seed"]) for row in rows}
    wanted = [(name, seed) for seed in seeds for name in names if (name, seed) not in known]
    workers = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=workers) as pool, options.results.open("a") as results:
        results.write("\n" if options.results.stat().st_size else "")  # ends a line that was cut
        for trial in as_completed([pool.submit(_measure, task, name, seed) for name, seed in wanted]):
            rows.append(key | trial.result())
            results.write(json.dumps(rows[-1]) + "\n")
            results.flush()
    return [row for row in rows if row["seed"] in seeds]


def table(rows: Sequence[Row], policies: Iterable[str], means: Mapping[str, str]) -> str:
    """Return the Markdown table of finished trials, a line a policy.

    Args:
        rows: of one task.
        policies: their names, in the order of the lines.
        means: columns that show the mean of a metric, or of ``score``: their titles, and its name.
    """
    head = ["policy", "trials", "passed", "rate", "95 % interval", "cheated", *means, "median s", "why not"]
    lines = [_line(head), _line(["---"] * len(head))]
    trials = {name: [row for row in rows if row["policy"] == name] for name in policies}
    lines += [_line(_summary(name, trials[name], means.values())) for name in trials if trials[name]]
    return "\n".join(lines)


def _summary(name: str, rows: Sequence[Row], means: Iterable[str]) -> list[str]:
    from scipy.stats import binomtest

    passed = sum(row["passed"] for row in rows)
    interval = binomtest(passed, len(rows)).proportion_ci(method="exact")
    labels = Counter(row["label"] for row in rows if not row["passed"])
    return [
        f"`{name}`",
        str(len(rows)),
        str(passed),
        f"{passed / len(rows):.0%}",
        f"{interval.low:.1%} - {interval.high:.1%}",
        str(sum(row["cheated"] for row in rows)),
        *(_mean(row.get(mean) for row in rows) for mean in means),
        f"{statistics.median(row['seconds'] for row in rows):.1f}",
        ", ".join(f"{label} {count}" for label, count in labels.most_common()),
    ]


def _mean(values: Iterable[float | None]) -> str:
    """Return the mean of what was measured."""
    kept = [value for value in values if value is not None]
    return f"{statistics.mean(kept):.3f}" if kept else "-"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _measure(task: Task, policy: str, seed: int) -> Row:
    """Play one trial, in a process of the pool."""
    record = play_policy(task, policy, seed)
    if record.fault is not None:
        raise RuntimeError(f"policy {policy} with seed {seed}: {record.reason}")
    return {
        "policy": policy,
        "seed": seed,
        "score": record.score,
        "passed": record.outcome == "passed",
        "cheated": record.outcome == "cheated",
        "label": record.label,
        "reason": record.reason,
        "seconds": round(record.seconds["total"], 2),
        **record.metrics,
        **record.info,
    }


def _load(path: Path) -> list[Row]:
    """Read the results so far, but for lines that an interruption cut."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows
