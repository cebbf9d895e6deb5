"""Plays the trials of one process's items: which start now, which ahead of their items, on how many cores."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rltask.ahead import Ahead
from pytest_rltask.interrupt import StopFile
from pytest_rltask.items import TrialParam, may_start_ahead
from pytest_rltask.live import LiveRun
from pytest_rltask.models.named import parse_model
from pytest_rltask.options import Options
from pytest_rltask.record import Record
from pytest_rltask.runlog import NotStarted, PlannedTrial, RunWriter

if TYPE_CHECKING:
    from pytest_rltask.engines.local import Admit, LocalEngine
    from pytest_rltask.trial import TrialSpec

__all__ = ["Playing"]

API_CONCURRENCY = 10
"""Trials of an API's model that are in flight at once, unless ``--concurrency`` says otherwise."""


class Playing:
    """The engine of a process, and what decides when each of its trials starts.

    Args:
        options: of the run.
        items: of the session, in their order.
        plan: all trials of the run.
        recorded: trials of a resumed run that count already, by id: their items take these and play nothing.
        writer: where this process writes.
        worker: what the controller of pytest-xdist told this worker; empty in a process of its own.
        since: when this invocation began.
        log_dir: where earlier runs are, which tell what a trial may cost.
        is_alive: says of a process of the run, by its name, whether it is alive.
    """

    def __init__(
        self,
        options: Options,
        items: list[pytest.Item],
        plan: list[PlannedTrial],
        recorded: Mapping[str, Record],
        *,
        writer: RunWriter,
        worker: Mapping[str, Any],
        since: str,
        log_dir: Path,
        is_alive: Callable[[str], bool],
    ) -> None:
        self.options = options
        self._plan = {trial.trial_id: trial for trial in plan}
        self._recorded = recorded
        self._writer = writer
        self._worker = worker
        self._since = since
        self._log_dir = log_dir
        self._is_alive = is_alive
        self._later = Ahead(items)
        self._live = LiveRun(writer.path, since=since)
        self._engine: LocalEngine | None = None

    def record(self, item: pytest.Item, param: TrialParam) -> Record | NotStarted:
        """Wait for an item's trial, and return its record, which is on disk then; or why it was not started."""
        if record := self._recorded.get(item.nodeid):
            return record
        engine = self._local_engine()
        if not engine.knows(item.nodeid):
            if record := self._taken_over(item.nodeid):
                return record
            engine.submit([self._spec(item, param), *self._ahead(item)])
        result = engine.result(item.nodeid)
        if isinstance(result, NotStarted):  # before its turn; a test's assertion may have overruled a grader since
            engine.submit([self._spec(item, param)])
            result = engine.result(item.nodeid)
        return result

    def close(self) -> None:
        """Give back the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _taken_over(self, trial_id: str) -> Record | None:
        """Return the record of a trial that another worker finished before it died, which could not report it."""
        is_for_any = self._worker.get("rltask_dist", "each") != "each"
        return self._live.read().record(trial_id) if is_for_any else None

    def _spec(self, item: pytest.Item, param: TrialParam) -> TrialSpec:
        from pytest_rltask.trial import TrialSpec

        return TrialSpec(
            trial_id=item.nodeid,
            task=param.task,
            task_name=param.task_name,
            model=param.model.name,
            run=param.run,
            seed=param.seed,
            limits=param.limits,
            history=self._history(item.nodeid),
            sandbox=self.options.sandbox,
        )

    def _ahead(self, item: pytest.Item) -> Iterator[TrialSpec]:
        """Yield the trials of later items that may start before their item's turn."""
        live = self._live
        shares = live.shares if self._worker else 1
        if self.options.sequential or not shares:
            return  # or a worker that cannot know what it will be given
        for other in self._later.of(item.nodeid, shares=shares, is_suspect=live.is_suspect):
            is_there = other.nodeid in self._recorded or live.is_finished(other.nodeid)
            if not is_there and (param := may_start_ahead(other)):
                yield self._spec(other, param)

    def _history(self, trial_id: str) -> tuple[str, ...]:
        """Return what earlier runs of a trial's task by its model tried, in their order; nothing unless sequential.

        It is read from disk: the process that played them may have died.
        """
        if not self.options.sequential:
            return ()
        tried, this = self._live.read().tried, self._plan[trial_id]
        runs = [trial for trial in self._plan.values() if (trial.test, trial.model) == (this.test, this.model)]
        earlier = [tried.get(trial.trial_id, "") for trial in runs if trial.run < this.run]
        return tuple(line for line in earlier if line)

    def _local_engine(self) -> LocalEngine:
        if self._engine is None:
            from pytest_rltask.engines.local import LocalEngine
            from pytest_rltask.models.named import make_model

            self._engine = LocalEngine(
                lambda name: make_model(parse_model(name)),
                concurrency=self._concurrency,
                cores=self._cores,
                admit=self._admits(),
                finished=self._writer.append,
                is_stopped=StopFile(self._writer.path, self._since).is_there if self._worker else None,
            )
        return self._engine

    def _admits(self) -> Admit:
        """Return what lets trials start, and notes that they do."""
        from pytest_rltask.stopping import Admission

        admission = Admission(
            self._writer,
            self._plan.values(),
            since=self._since,
            stop_early=self.options.stop_early,
            max_cost=self.options.max_cost,
            log_dir=self._log_dir,
            is_alive=self._is_alive,
        )
        return admission.ask

    def _concurrency(self, model: str) -> int:
        """Return how many trials of a model this process has in flight at once."""
        if self.options.concurrency is not None:
            return self.options.concurrency
        return API_CONCURRENCY if parse_model(model).kind == "claude" else self._cores

    @property
    def _cores(self) -> int:
        """How many cores this process has to itself: those of the machine, shared with the workers of -n."""
        workers = int(self._worker.get("workercount", 1))
        return max(1, usable_cores() // workers)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
