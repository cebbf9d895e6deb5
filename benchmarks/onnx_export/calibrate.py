"""Plays the task's policies over many seeds and prints how often each passes, as a Markdown table.

    RLTASK_SECRET=00000000000000000000000000000000 python -m benchmarks.onnx_export.calibrate --jobs 2

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
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.onnx_export.secret import fingerprint, load_secret
from benchmarks.onnx_export.task import OnnxExport
from pytest_rltask import play_policy

__all__ = ["main", "table"]

_Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Play what the results file lacks, then print the table."""
    options = _options(arguments)
    task = OnnxExport(class_sep=options.class_sep)
    identity = {"task": task.digest(), "secret": fingerprint(load_secret())}
    names = options.policies.split(",")
    seeds = range(options.seed, options.seed + options.seeds)
    rows = [row for row in _load(options.results) if identity.items() <= row.items()]
    known = {(row["policy"], row["seed"]) for row in rows}
    wanted = [(name, seed) for seed in seeds for name in names if (name, seed) not in known]
    workers = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=workers) as pool, options.results.open("a") as results:
        results.write("\n" if options.results.stat().st_size else "")  # ends a line that was cut
        for trial in as_completed([pool.submit(_measure, task, name, seed) for name, seed in wanted]):
            rows.append(identity | trial.result())
            results.write(json.dumps(rows[-1]) + "\n")
            results.flush()
    sys.stdout.write(table([row for row in rows if row["seed"] in seeds], names) + "\n")


def table(rows: Sequence[_Row], names: Sequence[str]) -> str:
    """Return the Markdown table of finished trials, a line a policy."""
    head = "policy | trials | passed | rate | 95 % interval | cheated | mean test | mean fresh | median s | why not"
    lines = [_line(head.split(" | ")), _line(["---"] * 10)]
    trials = {name: [row for row in rows if row["policy"] == name] for name in names}
    lines += [_line(_summary(name, trials[name])) for name in names if trials[name]]
    return "\n".join(lines)


def _summary(name: str, rows: Sequence[_Row]) -> list[str]:
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
        _mean(row["test_accuracy"] for row in rows),
        _mean(row["fresh_accuracy"] for row in rows),
        f"{statistics.median(row['seconds'] for row in rows):.1f}",
        ", ".join(f"{label} {count}" for label, count in labels.most_common()),
    ]


def _mean(values: Iterable[float | None]) -> str:
    """Return the mean of the valid exports' accuracies."""
    kept = [value for value in values if value is not None]
    return f"{statistics.mean(kept):.3f}" if kept else "-"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _measure(task: OnnxExport, policy: str, seed: int) -> _Row:
    """Play one trial, in a process of the pool."""
    record = play_policy(task, policy, seed)
    if record.fault is not None:
        raise RuntimeError(f"policy {policy} with seed {seed}: {record.reason}")
    accuracies = ("train_accuracy", "test_accuracy", "fresh_accuracy", "jittered_test_accuracy")
    return {
        "policy": policy,
        "seed": seed,
        "score": record.score,
        "passed": record.outcome == "passed",
        "cheated": record.outcome == "cheated",
        "label": record.label,
        "reason": record.reason,
        **{name: record.metrics.get(name) for name in accuracies},
        "seconds": round(record.seconds["total"], 1),
        **record.info,
    }


def _load(path: Path) -> list[_Row]:
    """Read the results so far, but for lines that an interruption cut."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.onnx_export.calibrate", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--policies", default=",".join(OnnxExport.policies), help="names, separated by commas")
    parser.add_argument("--seeds", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="the first one (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at once (%(default)s)")
    parser.add_argument("--class-sep", type=float, default=OnnxExport.class_sep, help="difficulty (%(default)s)")
    parser.add_argument("--results", type=Path, default=Path("calibration.jsonl"), help="file (%(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
