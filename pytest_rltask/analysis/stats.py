"""Numbers of finished runs: how often tasks pass within k trials, why trials miss, and what of them went to waste.

Trials of several runs are taken together as long as task, its parameters, model and grader are the same; what differs
in one of these has a row of its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pytest_rltask.analysis.passes import Mean, clustered_mean, pass_at_k, pass_hat_k
from pytest_rltask.run.load import Run
from pytest_rltask.run.record import Record, Usage

__all__ = ["NEAR", "Group", "Stats", "Suite", "is_hollow", "is_near", "stats"]

NEAR = 0.05
"""Share of the threshold by which a score may be below it and count as near."""


@dataclass(frozen=True)
class Group:
    """The trials of one task by one model, of however many runs, that the same grader graded."""

    task: str
    model: str
    task_digest: str
    grader: str
    passed: int
    judged: int
    """Trials that passed, missed or cheated."""
    errored: int
    pass_at: dict[int, float]
    """By k: the chance that at least one of k trials passes. A k beyond the judged trials is missing."""
    pass_hat: dict[int, float]
    """By k: the chance that all of k trials pass."""
    reasons: dict[str, int]
    """Why judged trials did not pass, counted by label, most frequent first."""
    near_misses: int
    """Trials that missed by a score close below the threshold, see `is_near`."""
    turns: int
    hollow_turns: int
    """Turns of the model with neither a tool call nor a text, see `is_hollow`."""
    usage: Usage
    """Tokens of all trials, with those that do not count."""
    seconds: float
    """Seconds of all trials that count, added up."""
    lost_s: float
    """Seconds that went into faults and limits of the API."""
    player_cost_usd: float
    """What is known of the cost of whoever played, in US dollars."""
    judge_cost_usd: float
    """What is known of the cost of the judges that the task asked."""
    judge_usage: Usage
    """Tokens of judges, which `usage` does not count."""
    judge_requests: int

    @property
    def rate(self) -> float | None:
        """The pass rate; None: nothing is judged."""
        return self.passed / self.judged if self.judged else None

    @property
    def cache_share(self) -> float | None:
        """What share of the input tokens a cache served; None: there were none."""
        usage = self.usage
        total = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        return usage.cache_read_tokens / total if total else None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {**asdict(self), "rate": self.rate, "cache_share": self.cache_share}


@dataclass(frozen=True)
class Suite:
    """All tasks of one model together."""

    model: str
    tasks: int
    rate: Mean
    """Of the pass rate, over all judged trials; its standard error is clustered by task."""
    pass_at: dict[int, Mean] = field(default_factory=dict)
    """By k: mean over the tasks; missing where a task has fewer than k judged trials."""
    pass_hat: dict[int, Mean] = field(default_factory=dict)


@dataclass(frozen=True)
class Stats:
    """What there is to say of runs."""

    runs: list[str]
    groups: list[Group]
    suites: list[Suite]
    near: float
    refused: list[str]
    """Sentences on each k for which there are too few trials."""
    missing: list[str] = field(default_factory=list)
    """Sentences on what of the runs is in no number: trials that were not played, lines that were damaged."""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        suites = [asdict(suite) for suite in self.suites]
        told = {"runs": self.runs, "near": self.near, "groups": [group.to_json() for group in self.groups]}
        return {**told, "suites": suites, "refused": self.refused, "missing": self.missing}


def stats(runs: Sequence[Run], *, ks: Sequence[int], near: float = NEAR) -> Stats:
    """Return the numbers of runs.

    Args:
        runs: as loaded, with their conversations.
        ks: for which pass@k and pass^k are wanted.
        near: as of `is_near`.
    """
    found: dict[tuple[str, str, str, str], list[tuple[Record, bool]]] = defaultdict(list)
    for run in runs:
        for key, record, counts in _records(run):
            found[key].append((record, counts))
    groups = [_group(key, records, ks, near) for key, records in sorted(found.items())]
    by_model: dict[str, list[Group]] = defaultdict(list)
    for group in groups:
        by_model[group.model].append(group)
    suites = [_suite(model, tasks, ks) for model, tasks in by_model.items() if any(task.judged for task in tasks)]
    missing = [sentence for run in runs for sentence in _missing(run)]
    return Stats([run.path.name for run in runs], groups, suites, near, list(_refused(groups, ks)), missing)


def _missing(run: Run) -> Iterator[str]:
    lost = sum(trial.trial_id not in run.records and trial.trial_id not in run.not_started for trial in run.plan)
    if lost:
        yield f"{run.path.name}: {lost} of {len(run.plan)} planned trials were not played to the end"
    if run.damaged_lines:
        yield f"{run.path.name}: {run.damaged_lines} damaged lines of its records were skipped"


def is_near(record: Record, near: float) -> bool:
    """Say whether a trial missed closely: its score is below the threshold by at most a share of it.

    Cheated trials, and those without score or threshold, are no near misses.

    Args:
        record: of the trial.
        near: the share, such as 0.05: of a threshold of 0.875, scores from 0.83125.
    """
    score, threshold = record.score, record.threshold
    if record.outcome != "failed" or score is None or threshold is None:
        return False
    return threshold - near * abs(threshold) <= score < threshold


def is_hollow(message: dict[str, Any]) -> bool:
    """Say whether a message of the model holds neither a tool call nor a text: thinking alone, or blanks."""
    return not any(
        block.get("type") == "tool_use" or (block.get("type") == "text" and str(block.get("text", "")).strip())
        for block in message["content"]
    )


def _records(run: Run) -> Iterator[tuple[tuple[str, str, str, str], Record, bool]]:
    """Yield the key of each record of a run, the record, and whether it counts."""
    planned = {trial.trial_id: trial for trial in run.plan}
    for records, counts in ((run.records.values(), True), ([*run.superseded, *run.unrecorded], False)):
        for record in records:
            if trial := planned.get(record.trial_id):
                yield (trial.row_name, record.model, record.task_digest, record.graded_by), record, counts


def _group(
    key: tuple[str, str, str, str], found: Sequence[tuple[Record, bool]], ks: Sequence[int], near: float
) -> Group:
    task, model, digest, grader = key
    records = [record for record, counts in found if counts]
    judged = [record for record in records if record.outcome != "errored"]
    passed = sum(record.outcome == "passed" for record in judged)
    requests = [request for record, _ in found for request in record.requests]
    asked = [request for record, _ in found for request in record.judge_requests]
    known = [k for k in ks if k <= len(judged)]
    return Group(
        task=task,
        model=model,
        task_digest=digest,
        grader=grader,
        passed=passed,
        judged=len(judged),
        errored=len(records) - len(judged),
        pass_at={k: pass_at_k(passed, len(judged), k) for k in known},
        pass_hat={k: pass_hat_k(passed, len(judged), k) for k in known},
        reasons=_counted(record.label or record.outcome for record in judged if record.outcome != "passed"),
        near_misses=sum(is_near(record, near) for record in judged),
        turns=sum(record.turns for record in records),
        hollow_turns=sum(map(_hollow_turns, records)),
        usage=sum((request.usage for request in requests), Usage()),
        seconds=sum(record.seconds.get("total", 0.0) for record in records),
        player_cost_usd=sum(request.cost_usd or 0.0 for request in requests),
        judge_cost_usd=sum(request.cost_usd or 0.0 for request in asked),
        judge_usage=sum((request.usage for request in asked), Usage()),
        judge_requests=len(asked),
        lost_s=0.0 if model == "human" else sum(request.lost_s for request in requests),
    )


def _hollow_turns(record: Record) -> int:
    """Count the turns of a trial in which the model said and did nothing; an empty reply leaves no message."""
    said = (message for message in record.messages if message["role"] == "assistant")
    return sum(map(is_hollow, said)) + sum(request.empty for request in record.requests)


def _suite(model: str, groups: Sequence[Group], ks: Sequence[int]) -> Suite:
    judged = [group for group in groups if group.judged]
    rate = clustered_mean([[1.0] * group.passed + [0.0] * (group.judged - group.passed) for group in judged])
    common = [k for k in ks if all(k in group.pass_at for group in judged)]
    return Suite(
        model,
        len(judged),
        rate,
        {k: clustered_mean([[group.pass_at[k]] for group in judged]) for k in common},
        {k: clustered_mean([[group.pass_hat[k]] for group in judged]) for k in common},
    )


def _refused(groups: Iterable[Group], ks: Sequence[int]) -> Iterator[str]:
    for k in ks:
        few = [f"{group.task} by {group.model} has {group.judged}" for group in groups if group.judged < k]
        if few:
            some = "; ".join(few[:3]) + (f"; and {len(few) - 3} more" if len(few) > 3 else "")
            yield f"pass@{k} and pass^{k} need {k} judged trials of a task: {some}"


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(Counter(words).most_common())
