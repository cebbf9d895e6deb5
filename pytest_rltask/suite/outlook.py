"""What ``--plan`` shows: the trials that would be played, and what they may cost. Nothing is played or written."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap

from pytest_rltask.analysis.changed import WAYS, plan_table
from pytest_rltask.graders.fingerprint import Grader
from pytest_rltask.models.judges import RECORDED, SCRIPTED, is_paid_trial
from pytest_rltask.models.model_settings import split_name
from pytest_rltask.models.named import is_paid
from pytest_rltask.report.table import aligned, tokens_text
from pytest_rltask.run.earlier import EarlierRuns, Experience
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import dollars
from pytest_rltask.suite.chosen import prices_of
from pytest_rltask.suite.options import Options
from pytest_rltask.suite.resume import Resumption

__all__ = ["Group", "groups", "plan_lines"]

COLUMNS = ("task", "model", "trials", "tokens a trial", "cost a trial", "cost")
TEXT_COLUMNS = {"task", "model"}


@dataclass(frozen=True)
class Group:
    """Trials of one task by one model that are to be played."""

    name: str
    model: str
    trials: int
    known: Experience | None
    """What such trials took in earlier runs; None: there were none."""
    is_paid: bool
    """Whether they cost anything, by who plays or by a judge."""
    judges: Mapping[str, str]
    """Who answers for each judge that the task declares."""

    @property
    def cost(self) -> float | None:
        """What they will cost, by the mean of earlier ones; None: unknown."""
        if not self.is_paid:
            return 0.0
        return self.trials * _mean(self.known.costs) if self.known else None


def groups(trials: Iterable[PlannedTrial], earlier: EarlierRuns) -> list[Group]:
    """Return the trials that are to be played by test and model, in their order."""
    found: dict[tuple[str, str], list[PlannedTrial]] = {}
    for trial in trials:
        found.setdefault((trial.test, trial.model), []).append(trial)
    return [
        Group(
            own[0].row_name,
            model,
            len(own),
            earlier.of(own[0]) if is_paid_trial(own[0]) else None,
            is_paid_trial(own[0]),
            own[0].judges,
        )
        for (_, model), own in found.items()
    ]


def plan_lines(
    planned: list[PlannedTrial],
    options: Options,
    log_dir: Path,
    resumed: Resumption | None,
    graders: Mapping[str, Grader],
    width: int,
) -> Iterator[str]:
    """Yield the lines of the plan.

    Args:
        planned: the trials of the selected items.
        options: the settings of the run.
        log_dir: where earlier runs are looked for.
        resumed: the run that is gone on with; None: it is a new one.
        graders: what grades the trials, by digest.
        width: of the terminal, in characters.
    """
    changed = resumed.changed(planned, graders, options.changed) if resumed else []
    for one in changed:
        yield f"what grades task {one.today.task} by {one.today.model} changed: {one.words}"
        yield from aligned(list(plan_table(one, options.changed)), {"trial", "recorded", *WAYS})
        yield ""
    reused = resumed.reused(planned) if resumed else {}
    undecided = {record.trial_id for one in changed for record in one.records} & reused.keys()
    if options.changed == "rerun":
        reused = {trial_id: record for trial_id, record in reused.items() if trial_id not in undecided}
    plan = groups((trial for trial in planned if trial.trial_id not in reused), EarlierRuns(log_dir))
    yield from _table([_cells(group) for group in plan], width)
    paid_for = [group for group in plan if group.is_paid]
    for group in paid_for:
        yield f"{group.name} by {group.model}: {_basis(group, options.log_dir)}"
    for group in plan:
        yield from _judged(group)
    asked = [model for group in plan for model in (group.model, *group.judges.values())]
    for model in dict.fromkeys(filter(is_paid, asked)):
        price = prices_of(options).text(model)
        base = split_name(model)[0]
        how = "" if price else f"; --prices {shlex.quote(base)}=IN/OUT gives it, in US dollars a million tokens"
        yield f"{model} costs {price}" if price else f"the price of {model} is not known{how}"
    kept = f", {len(reused)} more are reused" if reused else ""
    if undecided and options.changed is None:
        left = len(reused) - len(undecided)
        kept = (f", {left} more are reused" if left else "") + f", {len(undecided)} await --changed={'|'.join(WAYS)}"
    elif undecided and options.changed == "regrade":
        left = len(reused) - len(undecided)
        kept = (f", {left} more are reused" if left else "") + f", {len(undecided)} are graded anew without a model"
    yield f"{_trials(sum(group.trials for group in plan))} to be played{kept}; cost: {_expected(plan)}"
    if options.max_cost is not None:
        paid = sum(record.known_cost_usd for record in resumed.run.paid) if resumed else 0.0
        yield f"--max-cost {options.max_cost:g}: {_limited(plan, options.max_cost - paid, paid)}"


def _table(rows: list[tuple[str, ...]], width: int) -> Iterator[str]:
    """Yield a line for each row or, where one would be wider than the terminal, a few with the names on their own."""
    table = list(aligned([COLUMNS, *rows], TEXT_COLUMNS))
    if max(map(len, table)) <= width:
        yield from table
        return
    for task, model, *rest in rows:
        together = f"{task} by {model}"
        yield from [together] if len(together) <= width else [task, f"  by {model}"]
        numbers = [f"{name}: {cell}" for name, cell in zip(COLUMNS[2:], rest, strict=True) if cell != "-"]
        yield from wrap("; ".join(numbers), width, initial_indent="  ", subsequent_indent="  ", break_long_words=False)


def _cells(group: Group) -> tuple[str, ...]:
    row = (group.name, group.model, str(group.trials))
    if not group.is_paid:
        return (*row, "-", "-", "-")
    if group.known is None or group.cost is None:
        return (*row, "unknown", "unknown", "unknown")
    tokens, costs = group.known.tokens, group.known.costs
    return (
        *row,
        f"{tokens_text(round(_mean(tokens)))} ({tokens_text(min(tokens))}-{tokens_text(max(tokens))})",
        f"{dollars(_mean(costs))} ({dollars(min(costs))}-{dollars(max(costs))})",
        dollars(group.cost),
    )


def _basis(group: Group, log_dir: str) -> str:
    if group.known is None:
        return f"no earlier trial in {log_dir}"
    which = "" if group.known.is_same_task else ", of the task as it was then or with other parameters"
    return f"mean and range of {_trials(len(group.known.costs))} in {log_dir}{which}"


def _judged(group: Group) -> Iterator[str]:
    """Yield who answers for the judges of a group, what key that takes, and what they cost before."""
    for judge, model in group.judges.items():
        needs = "needs ANTHROPIC_API_KEY" if is_paid(model) else "no key"
        who = {SCRIPTED: "its script", RECORDED: "as recorded"}.get(model, model)
        yield f"{group.name} by {group.model}: judge {judge} is {who} ({needs})"
    if group.known and any(group.known.judge_costs):
        yield f"{group.name} by {group.model}: {dollars(_mean(group.known.judge_costs))} a trial of it for judges"


def _expected(plan: list[Group]) -> str:
    """Say what all of it will cost, as far as that is known."""
    costs = [group.cost for group in plan]
    known = sum(cost for cost in costs if cost is not None)
    if None in costs:
        return f"{dollars(known)} expected and more" if known else "unknown"
    return f"{dollars(known)} expected" if known else "none"


def _limited(plan: list[Group], left: float, paid: float) -> str:
    """Say where the money would end."""
    before = f"{dollars(paid)} was paid before; " if paid else ""
    started = 0
    for group in plan:
        if group.cost is None:
            return f"{before}cannot be told, as the cost of {group.name} by {group.model} is unknown"
        each = group.cost / group.trials
        lasts = group.trials if group.cost <= left else int(left / each + 1e-9) if left > 0 else 0
        started, left = started + lasts, left - lasts * each
    count = sum(group.trials for group in plan)
    if started < count:
        return f"{before}would end the run after about {started} of {_trials(count)}"
    return f"{before}enough at the mean cost"


def _trials(count: int) -> str:
    return f"{count} trial{'s' * (count != 1)}"


def _mean(values: Iterable[float]) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers)
