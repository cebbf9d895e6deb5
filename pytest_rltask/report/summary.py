"""The summary of a run: one row for each task and model, from the records on disk."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pytest_rltask.models.judges import is_paid_trial
from pytest_rltask.proof import RULE
from pytest_rltask.report.faults import FaultGroup, grouped
from pytest_rltask.report.sweep import Point, Sweep, differing
from pytest_rltask.run.amendments import begun
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial, split_trial_id
from pytest_rltask.run.record import Record, RequestLog, Usage
from pytest_rltask.task import Band
from pytest_rltask.verdict import Gate, Proof, Verdict, first_proof, is_tolerated, judge

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
    cut_off: int
    """Those of them that had begun."""
    died: int
    """Records that say that the process which played a trial died."""
    given_up: int
    """Planned but not started, since those before ended in one fault again and again."""
    not_needed: int
    """Planned but not started, since what `proof` says was proven."""
    not_afforded: int
    """Planned but not started, since the money would not have lasted."""
    proven_by_old_rule: bool
    """Whether some were not started on what only an earlier version's rule takes for a proof."""
    proof: Proof | None
    """What is proven, if that stopped the trials early or was to."""
    verdict: Verdict
    mean_score: float | None
    """Mean score of passed and failed trials. What a cheat scored says nothing of skill, be it 1 or 0."""
    turns: float | None
    """Mean turns of a judged trial."""
    usage: Usage
    cost_usd: float | None
    """Cost of all trials, with errored ones and those that were played again; None: unknown."""
    known_cost_usd: float
    """What is known of that."""
    judge_cost_usd: float | None
    """What judges cost of that, whom the task's code asked; None: unknown."""
    known_judge_cost_usd: float
    """What is known of that."""
    judge_usage: Usage
    """Tokens of judges, which `usage` does not count."""
    asked: dict[str, int]
    """How many requests each judge was paid for, with the model that was asked."""
    guessed_cost_usd: float
    """What of that is an estimate, of replies that did not arrive and may be billed."""
    priced_as: dict[str, str]
    """Of models that answered and whose price is not known, the one that was asked for, whose price counts instead."""
    paid: bool
    """False if a policy or replay played, which costs nothing, and no judge was to be paid."""
    seconds: float
    """Seconds of all trials, added up."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why judged trials failed, counted by label, most frequent first."""
    cheats: dict[str, int] = field(default_factory=dict)
    """How trials cheated, counted by label, most frequent first."""
    faults: dict[str, int] = field(default_factory=dict)
    """Why trials errored, counted by message, most frequent first."""
    reused: int = 0
    """Judged trials whose grade is by another grader than today's, at the user's word (``--changed=reuse``)."""
    reused_despite: list[str] = field(default_factory=list)
    """What had changed since they were graded."""
    regraded: int = 0
    """Counted trials that were graded anew (``--changed=regrade``)."""
    left_out: int = 0
    """Recorded trials that do not count, since another grader graded them than that of the plan."""
    fault_groups: list[FaultGroup] = field(default_factory=list)
    """The same with the trials, equal faults together."""
    line: int = 0
    """At which line of its file the test stands, from 1; 0: not known."""
    part: str = ""
    """Which shard of a run its trials are of; empty: they are all."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Values of the test's parameters by name."""
    example: str | None = None
    """Id of a trial worth reading: one whose fault is not tolerated, else a missed one."""

    @property
    def untolerated(self) -> int:
        """Trials without a grade that may not be missing from the pass rate."""
        return self.cut_off + sum(len(group.trials) for group in self.fault_groups if not group.tolerated)

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
        return {**dataclasses.asdict(self), "judged": self.judged, "untolerated": self.untolerated}


@dataclass(frozen=True)
class Summary:
    """All rows of a run, worst first."""

    rows: list[Row]
    gate: Gate
    sandboxes: dict[str, int] = field(default_factory=dict)
    """How many trials ran code in a sandbox, by what isolated it."""
    part: str = ""
    """Which shard of a run it is of, whose rates are judged once all shards are one run; empty: it is of all."""
    outcomes: dict[str, str] = field(default_factory=dict)
    """How each trial ended that the rows count, by its id."""
    sweeps: list[Sweep] = field(default_factory=list)
    """Of tests over several values of their parameters, at which of them the pass rate lands in the band."""

    @property
    def gate_word(self) -> str:
        """What became of the gate: while each row that fails it has trials that did not end, it is not known yet."""
        if self.holds:
            return "holds"
        failing = [row for row in self.rows if not row.verdict.holds]
        if not all(row.lost for row in failing):
            return "fails"
        lost = sum(row.lost for row in failing)
        died = sum(row.died for row in failing)
        why = f"a process that played died {died} time{'s' * (died != 1)}" if died else "the run was interrupted"
        return f"undecided, since {why} ({lost} trial{'s' * (lost != 1)} did not end)"

    @property
    def holds(self) -> bool:
        """Whether the gate holds for every row; of a shard it is not asked."""
        return bool(self.part) or all(row.verdict.holds for row in self.rows)


def summarise(run: Run, gate: Gate, *, stop_early: bool = False) -> Summary:
    """Summarise a run directory.

    Args:
        run: as loaded.
        gate: what the verdicts must say.
        stop_early: whether the first verdict that was proven stands. It does in any case where it kept trials from
            starting.
    """
    groups: dict[tuple[str, str], list[PlannedTrial]] = {}
    for trial in run.plan:
        groups.setdefault((trial.test, trial.model), []).append(trial)
    shard = run.header.get("shard") or {}
    part = f"{shard.get('index')}/{shard.get('of')}" if shard else ""
    rows = [
        dataclasses.replace(_row(trials, run, gate, stop_early=stop_early), part=part) for trials in groups.values()
    ]
    sweeps = [] if part else list(_sweeps(rows))
    rows.sort(key=lambda row: (row.verdict.holds, WORST_FIRST.index(row.verdict.word), row.name, row.model))
    found = [(trial, run.records[trial.trial_id]) for trial in run.plan if trial.trial_id in run.records]
    sandboxes = [record.sandbox for _, record in found if record.sandbox]
    outcomes = {trial.trial_id: str(record.outcome) for trial, record in found if trial.is_graded_as_planned(record)}
    return Summary(rows, gate, _counted(sandboxes), part, outcomes, sweeps)


def _row(planned: list[PlannedTrial], run: Run, gate: Gate, *, stop_early: bool) -> Row:
    first = planned[0]
    recorded = [(trial, run.records[trial.trial_id]) for trial in planned if trial.trial_id in run.records]
    records = [record for trial, record in recorded if trial.is_graded_as_planned(record)]
    ids = {trial.trial_id for trial in planned}
    paid = [record for record in run.paid if record.trial_id in ids]
    not_started = [run.not_started[trial_id] for trial_id in ids if trial_id in run.not_started]
    why = Counter(decision.why for decision in not_started)
    count = Counter(record.outcome for record in records)
    judged = [record for record in records if record.outcome != "errored"]
    missed = [record for record in judged if record.outcome != "passed"]
    reused = [record.reused for record in judged if record.reused]  # of trials that no assertion judged, none counts
    unjudged = [record for record in records if record.outcome == "errored" and not is_tolerated(record)]
    errored = grouped(record for record in records if record.outcome == "errored")
    lost = [trial_id for trial_id in ids if trial_id not in run.records and trial_id not in run.not_started]
    cut_off = sum(trial_id in run.starts for trial_id in lost)
    band = Band(*first.band)
    proof = _proof(planned, run) if stop_early or why["proven"] else None
    # By today's rule these should be played; what the run meant then, it is complete without them.
    outdated = 0 if proof else sum(decision.why == "proven" and decision.rule < RULE for decision in not_started)
    verdict = judge(
        passed=count["passed"],
        judged=len(judged),
        expected=len(planned) - why["cost"] - outdated,
        band=band,
        gate=gate,
        untolerated=cut_off + len(unjudged),
        proof=proof,
    )
    costs = [record.cost_usd for record in paid]
    known_usd = sum(record.known_cost_usd for record in paid)
    requests = [request for record in paid for request in record.paid_requests]
    judged_by = [(record, request) for record in paid for request in record.judge_requests]
    judge_costs = [request.cost_usd for _, request in judged_by]
    known_judge_usd = sum(cost for cost in judge_costs if cost is not None)
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
        lost=len(lost),
        cut_off=cut_off,
        died=sum(record.fault is not None and record.fault.kind == "process" for _, record in recorded),
        given_up=why["faulty"],
        not_needed=why["proven"],
        not_afforded=why["cost"],
        proven_by_old_rule=outdated > 0,
        proof=proof,
        verdict=verdict,
        mean_score=_mean(record.score for record in judged if record.outcome != "cheated" and record.score is not None),
        turns=_mean(record.turns for record in judged),
        usage=sum((record.usage for record in paid), Usage()),
        cost_usd=None if None in costs else known_usd,
        known_cost_usd=known_usd,
        judge_cost_usd=None if None in judge_costs else known_judge_usd,
        known_judge_cost_usd=known_judge_usd,
        judge_usage=sum((request.usage for _, request in judged_by), Usage()),
        asked=_counted(_judge(record, request) for record, request in judged_by),
        guessed_cost_usd=sum(request.guessed_usd for request in requests),
        priced_as={request.model: request.priced_as for request in requests if request.priced_as},
        paid=is_paid_trial(first),
        seconds=sum(record.seconds.get("total", 0.0) for record in records),
        reasons=_counted(record.label or "assertion" for record in missed if record.outcome == "failed"),
        cheats=_counted(record.label or "tampering" for record in missed if record.outcome == "cheated"),
        faults=_summed(errored),
        fault_groups=errored,
        reused=len(reused),
        reused_despite=list(dict.fromkeys(step.changes for steps in reused for step in steps)),
        regraded=sum(bool(record.history) and not record.reused for record in records),
        left_out=len(recorded) - len(records),
        line=max(trial.line for trial in planned),
        parameters=first.parameters,
        example=next((record.trial_id for record in [*unjudged, *missed, *judged]), None),
    )


def _sweeps(rows: Iterable[Row]) -> Iterator[Sweep]:
    """Yield the sweeps among rows, which stand in the order of the plan."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.parameters:
            found.setdefault((split_trial_id(row.test)[0], row.model), []).append(row)
    for (test, model), own in found.items():
        if names := differing(row.parameters for row in own):
            points = [
                Point({name: row.parameters.get(name) for name in names}, row.verdict.word, row.verdict.rate)
                for row in own
            ]
            yield Sweep(test, own[0].task, model, points)


def _judge(record: Record, request: RequestLog) -> str:
    model = record.judges.get(request.judge, "")
    return f"{request.judge} ({model})" if model else request.judge


def _proof(planned: list[PlannedTrial], run: Run) -> Proof | None:
    """Return the first verdict that the trials of a task and model prove in their order of start.

    It follows from the records anew: should a test's assertion have overruled the grader since, nothing is proven.
    """
    records = [run.records[trial.trial_id] for trial in planned if trial.trial_id in run.records]
    records.sort(key=lambda record: begun(record, run.starts.get(record.trial_id, ())))
    outcomes = (None if record.outcome == "errored" else record.outcome == "passed" for record in records)
    return first_proof(outcomes, band=Band(*planned[0].band))


def _summed(groups: Iterable[FaultGroup]) -> dict[str, int]:
    """Count by message: faults at several places may say the same."""
    count: Counter[str] = Counter()
    for group in groups:
        count[group.message] += len(group.trials)
    return dict(count.most_common())


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else None
