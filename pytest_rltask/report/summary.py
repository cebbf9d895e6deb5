"""The summary of a run: one row for each task and model, from the records on disk."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pytest_rltask.record import Record, Usage
from pytest_rltask.runlog import PlannedTrial, Run, split_trial_id
from pytest_rltask.task import Band
from pytest_rltask.verdict import Gate, Verdict, judge

__all__ = ["Row", "Summary", "summarise"]

WORST_FIRST = ("incomplete", "too easy", "too hard", "undecided", "in band")


@dataclass(frozen=True)
class Row:
    """One task played by one model."""

    task: str
    test: str
    """Node id of the test function."""
    model: str
    band: Band
    planned: int
    passed: int
    failed: int
    """Judged and missed, the cheated ones left out."""
    cheated: int
    errored: int
    lost: int
    """Planned but not on disk: interrupted, or the process that played it died."""
    verdict: Verdict
    mean_score: float | None
    turns: float | None
    """Mean turns of a judged trial."""
    usage: Usage
    cost_usd: float | None
    """Cost of all trials, errored ones included; None: unknown."""
    paid: bool
    """False if a policy or replay played, which costs nothing."""
    seconds: float
    """Seconds of all trials, added up."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why judged trials missed, counted by label, most frequent first."""
    faults: dict[str, int] = field(default_factory=dict)
    """Why trials errored, counted by message, most frequent first."""
    example: str | None = None
    """Id of a trial worth reading: a missed one where there is one."""

    @property
    def judged(self) -> int:
        """Trials with a grade: the denominator of the pass rate."""
        return self.passed + self.failed + self.cheated

    @property
    def name(self) -> str:
        """The task's name, with the test's other parameters where it has any."""
        inside = split_trial_id(self.test)[1]
        return f"{self.task}[{inside}]" if inside else self.task

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON data."""
        return {**dataclasses.asdict(self), "judged": self.judged}


@dataclass(frozen=True)
class Summary:
    """All rows of a run, worst first."""

    rows: list[Row]
    gate: Gate
    sandboxes: dict[str, int] = field(default_factory=dict)
    """How many trials ran code in a sandbox, by what isolated it."""

    @property
    def holds(self) -> bool:
        """Whether the gate holds for every row."""
        return all(row.verdict.holds for row in self.rows)


def summarise(run: Run, gate: Gate) -> Summary:
    """Summarise a run directory."""
    groups: dict[tuple[str, str], list[PlannedTrial]] = {}
    for trial in run.plan:
        groups.setdefault((trial.test, trial.model), []).append(trial)
    rows = [_row(trials, run, gate) for trials in groups.values()]
    rows.sort(key=lambda row: (row.verdict.holds, WORST_FIRST.index(row.verdict.word), row.name, row.model))
    planned = {trial.trial_id for trial in run.plan}
    sandboxes = [record.sandbox for trial_id, record in run.records.items() if trial_id in planned and record.sandbox]
    return Summary(rows, gate, _counted(sandboxes))


def _row(planned: list[PlannedTrial], run: Run, gate: Gate) -> Row:
    first = planned[0]
    records = [run.records[trial.trial_id] for trial in planned if trial.trial_id in run.records]
    count = Counter(record.outcome for record in records)
    judged = [record for record in records if record.outcome != "errored"]
    missed = [record for record in judged if record.outcome != "passed"]
    band = Band(*first.band)
    verdict = judge(passed=count["passed"], judged=len(judged), planned=len(planned), band=band, gate=gate)
    costs = [record.cost_usd for record in records]
    return Row(
        task=first.task,
        test=first.test,
        model=first.model,
        band=band,
        planned=len(planned),
        passed=count["passed"],
        failed=count["failed"],
        cheated=count["cheated"],
        errored=count["errored"],
        lost=len(planned) - len(records),
        verdict=verdict,
        mean_score=_mean(record.score for record in judged if record.score is not None),
        turns=_mean(record.turns for record in judged),
        usage=sum((record.usage for record in records), Usage()),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        paid=first.model.startswith("claude-"),
        seconds=sum(record.seconds.get("total", 0.0) for record in records),
        reasons=_counted(record.label or "assertion" for record in missed),
        faults=_counted(_fault_line(record) for record in records if record.outcome == "errored"),
        example=next((record.trial_id for record in [*missed, *judged]), None),
    )


def _fault_line(record: Record) -> str:
    said = f"{record.fault.kind} fault: {record.fault.message}" if record.fault else record.reason
    return said.splitlines()[0][:120]


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else None
