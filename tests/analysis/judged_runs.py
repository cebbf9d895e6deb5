"""Runs made of outcomes and scores alone, in memory or on disk, for the questions that are asked of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_rltask.run.load import Run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import SCHEMA_VERSION, Fault, Outcome, Record

HEADER: dict[str, Any] = {
    "schema": SCHEMA_VERSION, "id": "a", "command": "pytest suite --runs 20 --seed 42 --gate point",
    "created": "2026-01-02T03:04:05+00:00", "packages": {"numpy": "2.4.6"}, "git_commit": "c0ffee", "python": "3.11.7",
}  # fmt: skip


def trials_of(
    outcomes: Sequence[Outcome],
    scores: Sequence[float] | None = None,
    *,
    task: str = "sum",
    model: str = "claude-haiku-4-5-20251001",
    seed: int = 42,
    threshold: float | None = 0.5,
    band: tuple[float, float] = (0.1, 0.4),
    planned: Mapping[str, Any] | None = None,
    **fields: Any,
) -> list[tuple[PlannedTrial, Record]]:
    """Make the trials of one task and model; by default a passed one scores 1, and any other 0."""
    made = []
    for run, outcome in enumerate(outcomes):
        score = scores[run] if scores is not None else float(outcome == "passed")
        test = f"test_{task}.py::test_{task}"
        plan = PlannedTrial(
            f"{test}[{model}-run-{run:02d}]", test, task, "digest", model, run, seed + run, band, **(planned or {})
        )
        record = Record(
            plan.trial_id, task, "digest", model, run, seed + run, outcome, prompt_digest="prompt", tools_digest="tools"
        )
        if outcome == "errored":
            record.fault = Fault("api", "overloaded")
        else:
            record.score, record.threshold = score, threshold
            record.label = "" if outcome == "passed" else "score below threshold"
        for name, value in fields.items():
            setattr(record, name, value)
        made.append((plan, record))
    return made


def run_of(*rows: list[tuple[PlannedTrial, Record]], name: str = "run_a", **header: Any) -> Run:
    """Make a run of rows, as loaded."""
    trials = [trial for row in rows for trial in row]
    return Run(
        Path(name), {**HEADER, **header}, [plan for plan, _ in trials], {plan.trial_id: one for plan, one in trials}
    )


def on_disk(run: Run, folder: Path) -> Path:
    """Write a run into a folder below its name, and return its directory."""
    writer = RunWriter(folder / run.path.name, "main", {**run.header, "id": run.path.name})
    writer.plan(run.plan)
    for record in run.records.values():
        writer.append(record)
    return writer.path


def ended(text: str) -> list[Outcome]:
    """Read outcomes from letters: p passed, m missed, c cheated, e errored.

    Example:
        >>> ended("pm")
        ['passed', 'failed']
    """
    words: dict[str, Outcome] = {"p": "passed", "m": "failed", "c": "cheated", "e": "errored"}
    return [words[letter] for letter in text]
