"""What trials took in earlier runs: the only honest guess at what they will cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.load import Run, load_header, load_records
from pytest_rltask.run.planned import PlannedTrial

__all__ = ["EarlierRuns", "Experience"]


@dataclass
class Experience:
    """What finished trials of one kind took, each."""

    is_same_task: bool
    """False: of a task of this name, but with other parameters or another source."""
    costs: list[float] = field(default_factory=list)
    judge_costs: list[float] = field(default_factory=list)
    """What judges cost of that."""
    tokens: list[int] = field(default_factory=list)


_Kind = tuple[str, str, tuple[tuple[str, str], ...]]
"""A task's digest or name, who played it, and who its judges were."""


class EarlierRuns:
    """The runs below a folder, read when first asked for.

    Args:
        log_dir: the folder.
        besides: a run directory to leave out.
    """

    def __init__(self, log_dir: Path, besides: Path | None = None) -> None:
        self._log_dir = log_dir
        self._besides = besides
        self._found: dict[_Kind, Experience] | None = None

    def of(self, trial: PlannedTrial) -> Experience | None:
        """Return what trials of the same task and model took, else those of the same name; None: there are none."""
        found = self._found
        if found is None:
            found = self._found = {}
            for path in sorted(self._log_dir.glob("run_*")):
                if path != self._besides:
                    _take_in(path, found)
        of = trial.model, asked_models(trial.judges)
        return found.get((trial.task_digest, *of)) or found.get((trial.task, *of))

    def dearest(self, trial: PlannedTrial) -> float | None:
        """Return what the dearest of these trials cost; None: nothing is known."""
        known = self.of(trial)
        return max(known.costs, default=None) if known else None


def asked_models(judges: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return a task's judges, and who answers for each, as a key: of other ones nothing is known of the cost."""
    return tuple(sorted(judges.items()))


def _take_in(path: Path, found: dict[_Kind, Experience]) -> None:
    """Add what a run's trials took, by task digest and by task name."""
    try:
        run = Run(path, load_header(path), [])
        load_records(run)
    except RunLogError:
        return  # of a later version, or damaged: it tells nothing
    for record in run.records.values():
        cost = record.cost_usd
        if record.outcome == "errored" or cost is None:
            continue
        for kind, is_same_task in ((record.task_digest, True), (record.task, False)):
            of = record.model, asked_models(record.judges)
            known = found.setdefault((kind, *of), Experience(is_same_task))
            known.costs.append(cost)
            known.judge_costs.append(record.judge_cost_usd or 0.0)
            known.tokens.append(record.usage.total)
