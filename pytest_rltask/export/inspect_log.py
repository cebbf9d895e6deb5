"""Logs of Inspect AI, written by its own library: one ``.eval`` for each test and model, which ``inspect view`` opens.

A trial is a sample: its id names the seed, since another seed is another instance, and its epoch is the run. Of its two
scores, `passed` is as the gate counts it and `score` as the grader gave it. Verdict and interval are ours, in the
metadata: those of Inspect are over samples of a data set, and know no band.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_rltask import __version__
from pytest_rltask.export.inspect_sample import sample_of
from pytest_rltask.export.selection import Selection
from pytest_rltask.export.target import ExportError, file_name
from pytest_rltask.report.summary import Row, summarise
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Record

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog

__all__ = ["write_logs"]

INSTALL = 'pip install "pytest-rltask[inspect]"'


def write_logs(selection: Selection, folder: Path) -> list[Path]:
    """Write a log for each test and model, and return where they are.

    Raises:
        ExportError: Inspect AI is not installed.
    """
    try:
        from inspect_ai.log import write_eval_log
    except ImportError as error:
        raise ExportError(f"Inspect AI is needed to write its logs ({error}); write {INSTALL}") from None
    rows = {(row.test, row.model): row for row in summarise(selection.run, "point").rows}
    written = []
    for number, (test, model, trials) in enumerate(selection.groups()):
        log = _log(selection, rows[test, model], trials, number)
        # As Inspect names its own, from which its list reads time, task and identity.
        stamp = re.sub(r"[^0-9T+-]", "-", log.eval.created)
        path = folder / f"{stamp}_{file_name(rows[test, model].name).replace('_', '-')}_{log.eval.task_id}.eval"
        write_eval_log(log, str(path))
        written.append(path)
    return written


def _log(selection: Selection, row: Row, trials: list[tuple[PlannedTrial, Record]], number: int) -> EvalLog:
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalPlan, EvalSpec, EvalStats
    from inspect_ai.viewer import TaskSamplesColumn, TaskSamplesView, ViewerConfig

    header = selection.run.header
    samples = [sample_of(record) for _, record in trials]
    shown = ("sampleStatus", "epoch", "sampleId", "input", "tokens", "duration", "limit", "error")
    columns = [TaskSamplesColumn(id=name) for name in shown]
    columns[3:3] = [TaskSamplesColumn.score("passed"), TaskSamplesColumn.score("score")]
    columns += [TaskSamplesColumn(id=name, visible=False) for name in ("target", "answer", "retries", "sampleUuid")]
    spec = EvalSpec(
        created=_created(header, trials).isoformat(timespec="seconds"),
        task=row.name,
        task_id=f"{trials[0][1].task_digest}-{number}",
        run_id=str(header.get("id", "")),
        dataset=EvalDataset(name=row.task, samples=1),  # of as many epochs
        model=row.model,
        config=EvalConfig(epochs=len(samples)),
        packages={"pytest-rltask": __version__},
        metadata=_told(selection, row),
        viewer=ViewerConfig(task_samples_view=TaskSamplesView(name="runs", columns=columns, multiline=False)),
    )
    ended = [sample.completed_at for sample in samples if sample.completed_at]
    stats = EvalStats(started_at=min(record.started for _, record in trials), completed_at=max(ended, default=""))
    return EvalLog(status="success", eval=spec, plan=EvalPlan(), results=_results(trials), stats=stats, samples=samples)


def _created(header: dict[str, Any], trials: list[tuple[PlannedTrial, Record]]) -> datetime:
    try:
        return datetime.fromisoformat(str(header.get("created")))
    except ValueError:
        return datetime.fromisoformat(trials[0][1].started)


def _told(selection: Selection, row: Row) -> dict[str, Any]:
    """Return our own account of a test and model, of all its trials, exported or not."""
    verdict = row.verdict
    return {
        "verdict": verdict.word,
        "proven": verdict.proven,
        "pass_rate": verdict.rate,
        "interval": list(verdict.interval or ()),
        "band": [row.band.low, row.band.high],
        "passed": row.passed,
        "failed": row.failed,
        "cheated": row.cheated,
        "errored": row.errored,
        "not_played": row.planned - row.judged - row.errored,
        "exported": selection.told(),
        "test": row.test,
        "command": selection.run.header.get("command"),
        "run_directory": selection.run.path.name,
    }


def _results(trials: list[tuple[PlannedTrial, Record]]) -> Any:
    from inspect_ai.log import EvalMetric, EvalResults, EvalScore

    judged = [record for _, record in trials if record.outcome != "errored"]
    passed = [record.outcome == "passed" for record in judged]
    scores = [record.score for record in judged if record.score is not None]

    def metric(name: str, values: list[Any]) -> Iterator[EvalScore]:
        if values:
            value = EvalMetric(name="mean", value=sum(values) / len(values))
            yield EvalScore(name=name, scorer=name, scored_samples=len(values), metrics={"mean": value})

    shown = [*metric("passed", passed), *metric("score", scores)]
    return EvalResults(total_samples=len(trials), completed_samples=len(judged), scores=shown)
