"""The trials of a run by task and model, as questions about it need them: the judged ones, and how many are not."""

from __future__ import annotations

from dataclasses import dataclass, field

from pytest_rltask.report.visible import visible
from pytest_rltask.run.load import Run
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Record
from pytest_rltask.task import Band

__all__ = ["Row", "command_words", "printable", "rows_of"]


@dataclass
class Row:
    """The trials of one test and model of a run."""

    planned: list[PlannedTrial]
    judged: list[Record] = field(default_factory=list)
    """Trials with a grade that counts, in the order of the plan."""
    errored: list[Record] = field(default_factory=list)
    left_out: int = 0
    """Recorded trials that other code graded than the plan says."""
    cut_off: int = 0
    """Trials that were begun and have no record."""

    @property
    def test(self) -> str:
        """Node id of the test function."""
        return self.planned[0].test

    @property
    def task(self) -> str:
        """The task's name."""
        return self.planned[0].task

    @property
    def name(self) -> str:
        """The task's name, with the test's other parameters where it has any."""
        return self.planned[0].row_name

    @property
    def model(self) -> str:
        """The model as named by ``--model``."""
        return self.planned[0].model

    @property
    def band(self) -> Band:
        """Where the pass rate should lie."""
        return Band(*self.planned[0].band)

    @property
    def passed(self) -> int:
        """Judged trials that passed."""
        return sum(record.outcome == "passed" for record in self.judged)


def rows_of(run: Run) -> list[Row]:
    """Return a run's rows in the order of its plan."""
    rows: dict[tuple[str, str], Row] = {}
    for trial in run.plan:
        row = rows.setdefault((trial.test, trial.model), Row([]))
        row.planned.append(trial)
        record = run.records.get(trial.trial_id)
        if record is None:
            row.cut_off += trial.trial_id in run.starts and trial.trial_id not in run.not_started
        elif not trial.is_graded_as_planned(record):
            row.left_out += 1
        else:
            (row.errored if record.outcome == "errored" else row.judged).append(record)
    return list(rows.values())


def command_words(run: Run) -> list[str]:
    """Return the command line that began a run, as words; empty if the run does not tell it in a form to be read."""
    import shlex

    try:
        return shlex.split(str(run.header.get("command", "")))
    except ValueError:
        return []


def printable(text: object, most: int = 200) -> str:
    """Return what a record, and so maybe a model, says, as one line that no terminal takes for a command.

    Example:
        >>> printable("a" + chr(27) + "[31m" + chr(10) + "b")
        'a␛[31m b'
    """
    line = visible(" ".join(str(text).split()))
    return line if len(line) <= most else f"{line[: most - 3]}..."
