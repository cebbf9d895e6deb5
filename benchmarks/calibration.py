"""Plays a task's policies over many seeds and tells how often each passes: what the tables of the READMEs come from.

Each trial is a line of the results file, so an interrupted calibration goes on where it stopped. A policy plays as
``--model policy:NAME`` lets it, through the same loop and with the same randomness, only without pytest.

A *portfolio* is a mapping of further players that show how hard a task is rather than that it is sound: strong ones of
different schools. They are no policies of the task, whose policies are audited.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import resource
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pytest_rltask import Policy, Task, play_policy

__all__ = ["Row", "Shares", "add_arguments", "play", "portfolio_summary", "table", "variance_shares"]

Row = dict[str, Any]
"""A finished trial, as a line of the results file."""


def add_arguments(parser: argparse.ArgumentParser, policies: Iterable[str]) -> None:
    """Add the arguments of every calibration."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--policies", default=",".join(policies), help="names, separated by commas")
    parser.add_argument("--seeds", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=42, help="the first one (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at once (%(default)s)")
    parser.add_argument(
        "--sandbox",
        default="auto",
        help="what isolates scripts, as pytest's --sandbox names it (%(default)s); only landlock and none tell all of "
        "the CPU time that they take",
    )
    parser.add_argument("--results", type=Path, default=Path("calibration.jsonl"), help="file (%(default)s)")


@dataclass(frozen=True)
class Shares:
    """How the variance of the outcomes of players over seeds divides; all NaN where every trial ends alike."""

    player: float
    seed: float
    rest: float


def play(
    task: Task,
    options: argparse.Namespace,
    policies: Mapping[str, Policy] | None = None,
    *,
    identity: Mapping[str, Any] | None = None,
) -> list[Row]:
    """Play what the results file lacks of a task, and return all of its trials.

    Args:
        task: whose policies play.
        options: see :func:`add_arguments`.
        policies: the players by name, functions of a module, if they are others than the task's policies.
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
        how = (policies and dict(policies), options.sandbox)
        for trial in as_completed([pool.submit(_measure, task, name, seed, *how) for name, seed in wanted]):
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


def portfolio_summary(rows: Sequence[Row], players: Iterable[str]) -> str:
    """Return what the trials of a portfolio say of a task, a line of a Markdown list each.

    Args:
        rows: of one task; seeds that not every player has played are left out of the variance.
        players: their names.
    """
    names = list(players)
    rows = [row for row in rows if row["policy"] in names]
    rates = {name: statistics.mean(row["passed"] for row in rows if row["policy"] == name) for name in names}
    best = max(rates, key=rates.__getitem__)
    passed = {(row["policy"], row["seed"]): float(row["passed"]) for row in rows}
    seeds = [seed for seed in sorted({row["seed"] for row in rows}) if all((name, seed) in passed for name in names)]
    shares = variance_shares([[passed[name, seed] for seed in seeds] for name in names])
    within = sum(0.05 <= rate <= 0.8 for rate in rates.values())
    mean, cpu_s = statistics.mean(rates.values()), statistics.mean(row.get("cpu_s", math.nan) for row in rows)
    wall_s = [row["seconds"] for row in rows]
    lines = (
        f"players {len(names)}, seeds {len(seeds)}, mean pass rate {mean:.1%}",
        f"players that pass 5 to 80 % of their trials: {within} of {len(names)}; the best, `{best}`: {rates[best]:.0%}",
        f"variance (omega squared): player {shares.player:.0%}, seed {shares.seed:.0%}, rest {shares.rest:.0%}",
        f"a trial: {cpu_s:.1f} s of CPU time, {statistics.mean(wall_s):.1f} s, at most {max(wall_s):.0f} s",
    )
    return "\n".join(f"- {line}" for line in lines)


def variance_shares(outcomes: Sequence[Sequence[float]]) -> Shares:
    """Divide the variance of a table, a row a player and a column a seed, between players, seeds and the rest.

    The shares are omega squared of a two-way analysis of variance with one trial a cell (Hays 1963), which is
    corrected for bias: chance alone gives 0 on average, where the plain share of the squares would be 1 / players.
    With ``p`` players, ``s`` seeds, ``SS_seed = p * sum((column mean - mean)^2)``, likewise ``SS_player``, and
    ``MS_rest = (SS_total - SS_player - SS_seed) / ((p - 1) * (s - 1))``:

        share of the seed = (SS_seed - (s - 1) * MS_rest) / (SS_total + MS_rest)

    A share below 0 is 0. The rest is what depends on the player *and* the seed, a player's own luck included.

    Example:
        >>> variance_shares([[1, 0, 1, 0], [1, 0, 1, 0]])
        Shares(player=0.0, seed=1.0, rest=0.0)
    """
    players, seeds = len(outcomes), len(outcomes[0]) if outcomes else 0
    if players < 2 or seeds < 2 or len({value for row in outcomes for value in row}) < 2:
        return Shares(math.nan, math.nan, math.nan)
    mean = statistics.mean(value for row in outcomes for value in row)
    total = sum((value - mean) ** 2 for row in outcomes for value in row)
    by_player = seeds * sum((statistics.mean(row) - mean) ** 2 for row in outcomes)
    by_seed = players * sum((statistics.mean(column) - mean) ** 2 for column in zip(*outcomes, strict=True))
    noise = max(total - by_player - by_seed, 0.0) / ((players - 1) * (seeds - 1))
    player, seed = (
        max((squares - freedom * noise) / (total + noise), 0.0)
        for squares, freedom in ((by_player, players - 1), (by_seed, seeds - 1))
    )
    return Shares(player, seed, 1 - player - seed)


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


def _measure(task: Task, policy: str, seed: int, policies: Mapping[str, Policy] | None, sandbox: str) -> Row:
    """Play one trial, in a process of the pool."""
    if policies is not None:
        task = dataclasses.replace(task)
        object.__setattr__(task, "policies", policies)  # of this trial alone: its fields, and so its digest, stay
    before = _cpu_seconds()
    record = play_policy(task, policy, seed, sandbox=sandbox)
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
        "cpu_s": round(_cpu_seconds() - before, 2),
        **record.metrics,
        **record.info,
    }


def _cpu_seconds() -> float:
    """Return what this process and those that it has waited for, sandboxes above all, have computed so far."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _load(path: Path) -> list[Row]:
    """Read the results so far, but for lines that an interruption cut."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows
