"""Which trials of a run are exported, and how many are not, and why: nothing is cut without a word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Outcome, Record

__all__ = ["Selection", "no_reply", "select"]


@dataclass
class Selection:
    """The trials of a run that are exported, in the order of its plan."""

    run: Run
    trials: list[tuple[PlannedTrial, Record]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """How many are not, by why."""

    def told(self) -> str:
        """Say how many of how many trials there are, and why the others are not among them.

        Example:
            >>> from pathlib import Path
            >>> Selection(Run(Path("logs"), {}, []), [], Counter({"errored": 2})).told()
            '0 of 2 trials; left out: 2 errored'
        """
        total = len(self.trials) + self.left_out.total()
        why = "; left out: " + ", ".join(f"{count} {why}" for why, count in self.left_out.items())
        return f"{len(self.trials)} of {total} trials" + (why if self.left_out else "")

    def groups(self) -> Iterator[tuple[str, str, list[tuple[PlannedTrial, Record]]]]:
        """Yield the trials of each test and model, with their names."""
        found: dict[tuple[str, str], list[tuple[PlannedTrial, Record]]] = {}
        for trial, record in self.trials:
            found.setdefault((trial.test, trial.model), []).append((trial, record))
        for (test, model), trials in found.items():
            yield test, model, trials


def select(
    run: Run,
    *,
    without: Collection[Outcome] = (),
    include: Collection[Outcome] = (),
    only_passed: bool = False,
    unusable: Callable[[Record], str] = lambda record: "",
) -> Selection:
    """Choose the trials of a run that are exported.

    Args:
        run: as loaded.
        without: outcomes that the format is better off without.
        include: those of them that are wanted all the same.
        only_passed: whether nothing else is wanted.
        unusable: says why the format cannot hold a trial; empty if it can.
    """
    selection = Selection(run)
    for trial in run.plan:
        record = run.records.get(trial.trial_id)
        if record is None:
            why = "not played"
        elif not trial.is_graded_as_planned(record):
            why = "graded by another grader than the plan's"
        elif only_passed and record.outcome != "passed":
            why = f"{record.outcome}"
        elif record.outcome in without and record.outcome not in include:
            why = f"{record.outcome} (--include {record.outcome})"
        else:
            why = unusable(record)
        if why or record is None:
            selection.left_out[why] += 1
        else:
            selection.trials.append((trial, record))
    return selection


def no_reply(record: Record) -> str:
    """Say that a trial has nothing to learn from: its model said nothing."""
    return "" if any(message["role"] == "assistant" for message in record.messages) else "without a reply"
