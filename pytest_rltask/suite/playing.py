"""Plays the trials of one process's items: which start now, which ahead of their items, on how many cores."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rltask.models.named import parse_model
from pytest_rltask.report.command_line import short_path
from pytest_rltask.report.growing import GrowingTranscripts
from pytest_rltask.run.brief import with_conversation
from pytest_rltask.run.bulletin import Bulletin
from pytest_rltask.run.live import LiveRun
from pytest_rltask.run.load import load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import NotStarted, PlannedTrial, split_trial_id
from pytest_rltask.run.record import Record
from pytest_rltask.suite.ahead import Ahead
from pytest_rltask.suite.chosen import prices_of
from pytest_rltask.suite.interrupt import StopFile
from pytest_rltask.suite.option_names import names_of
from pytest_rltask.suite.options import Options
from pytest_rltask.suite.plan import Entry, Plan
from pytest_rltask.suite.setups import process_state
from pytest_rltask.trial.event_loop import SteadyLoop

if TYPE_CHECKING:
    from pytest_rltask.engines.engine import Admit, Engine
    from pytest_rltask.engines.player import Player
    from pytest_rltask.suite.remote import Remote
    from pytest_rltask.trial.play import TrialSpec

__all__ = ["Playing"]

API_CONCURRENCY = 10
"""Trials of an API's model that are in flight at once, unless ``--concurrency`` says otherwise."""
ROUNDS = 4
"""How often each place in flight is filled while one item waits for its fellows: more would leave fewer places empty
towards their end, and the terminal without news for longer."""


class Playing:
    """The engine of a process, and what decides when each of its trials starts.

    Args:
        options: of the run.
        plan: of this process.
        trials: all trials of the run, those of earlier invocations too.
        recorded: returns the trials of a resumed run that count already, by id: their items take these and play
            nothing. Asked once, when the first item is due.
        finished: puts each trial on disk that has ended.
        writer: where this process writes.
        worker: what the controller of pytest-xdist told this worker; empty in a process of its own.
        since: when this invocation began.
        log_dir: where earlier runs are, which tell what a trial may cost.
        is_alive: says of a process of the run, by its name, whether it is alive.
        tell: tells whoever watches the run something, in pytest's thread.
        remote: the cluster that plays; None: this process does.
    """

    def __init__(
        self,
        options: Options,
        plan: Plan,
        trials: list[PlannedTrial],
        recorded: Callable[[], Mapping[str, Record]],
        *,
        finished: Callable[[Record], None],
        writer: RunWriter,
        worker: Mapping[str, Any],
        since: str,
        log_dir: Path,
        is_alive: Callable[[str], bool],
        tell: Callable[[str], None],
        remote: Remote | None = None,
    ) -> None:
        self.options = options
        self._plan = plan
        self._trials = {trial.trial_id: trial for trial in trials}
        self._read_recorded = recorded
        self._finished = finished
        self._transcripts = GrowingTranscripts(writer.path)
        self._writer = writer
        self._worker = worker
        self._since = since
        self._log_dir = log_dir
        self._is_alive = is_alive
        self._tell = tell
        self._remote = remote
        self._bulletin = Bulletin(writer.path, str(os.getpid()), since)
        self._later = Ahead(plan)
        self._live = LiveRun(writer.path, since=since)
        # As it is before any fixture or test changes it, or blocks the sockets that a loop needs.
        self._folder, self._loop = os.getcwd(), SteadyLoop()
        self._engine: Engine | None = None
        self._found: dict[str, str] = {}
        """What trials found of the process that are played while one item waits."""
        self._told: set[str] = set()

    @cached_property
    def _recorded(self) -> Mapping[str, Record]:
        return self._read_recorded()

    def record(self, item: pytest.Item) -> Record | NotStarted:
        """Wait for an item's trial, and return its record, which is on disk then; or why it was not started."""
        if record := self._recorded.get(item.nodeid):
            return record
        entry = self._plan.entries[item.nodeid]
        engine, setup = self._running_engine(), self._later.setup(item)
        if not engine.knows(item.nodeid):
            if record := self._taken_over(item.nodeid):
                return record
            if setup.is_apart:
                engine.settle()  # those whose items were skipped after all
                self._found = process_state()
            engine.submit([self._spec(entry), *self._ahead(entry)])
        if setup.fellows is not None:
            engine.settle()
            self._compare(item)
        result = self._awaited(engine, item)
        if isinstance(result, NotStarted):  # before its turn; a test's assertion may have overruled a grader since
            engine.submit([self._spec(entry)])
            result = self._awaited(engine, item)
        return result

    def _awaited(self, engine: Engine, item: pytest.Item) -> Record | NotStarted:
        """Wait for a trial; where no record can be written any more, that ends the run."""
        from pytest_rltask.engines.engine import Unwritable

        try:
            return engine.result(item.nodeid)
        except Unwritable as error:
            said = (
                f"no record can be written to {self._writer.path}: {error}; what was written counts: make room, and go "
                f"on with {names_of(item.config).flag('--resume')}={short_path(self._writer.path)}"
            )
        item.session.shouldstop = said
        pytest.fail(said, pytrace=False)

    def close(self, *, finish: bool) -> None:
        """Give back the engine.

        Args:
            finish: let the trials first come to their end whose items waited for them in vain.
        """
        if self._engine is not None:
            self._engine.close(finish=finish)
            self._engine = None
        elif not self._loop.is_closed():
            self._loop.close()

    def _compare(self, item: pytest.Item) -> None:
        """Warn, once a test, if an item's trial found what was set for another, and the item has something else."""
        now, test = process_state(), split_trial_id(item.nodeid)[0]
        names = sorted(name for name in now.keys() | self._found.keys() if now.get(name) != self._found.get(name))
        if names and test not in self._told:
            self._told.add(test)
            said = (
                f"{test}: fixtures set {', '.join(names)} to something else for each test, and its trials found "
                "what was set for one of them; if each needs its own, have trial ask for the fixture"
            )
            item.warn(pytest.PytestWarning(said))

    def _taken_over(self, trial_id: str) -> Record | None:
        """Return the record of a trial that another worker finished before it died, which could not report it."""
        is_for_any = self._worker.get("rltask_dist", "each") != "each"
        return self._live.read().record(trial_id) if is_for_any else None

    def _spec(self, entry: Entry) -> TrialSpec:
        return entry.spec(self.options.sandbox, self._history(entry.item.nodeid))

    def _ahead(self, entry: Entry) -> Iterator[TrialSpec]:
        """Yield the trials of later items that may start before their item's turn."""
        item = entry.item
        later = self._startable(item)
        if self._later.setup(item).fellows is None:
            return later
        rounds = 1 if item.config.getoption("maxfail") else ROUNDS
        return itertools.islice(later, rounds * self._concurrency(entry.param.model.name) - 1)

    def _startable(self, item: pytest.Item) -> Iterator[TrialSpec]:
        live = self._live
        shares = live.shares if self._worker else 1
        if self.options.sequential or not shares:
            return  # or a worker that cannot know what it will be given
        for other in self._later.of(item, shares=shares, is_suspect=live.is_suspect):
            trial_id = other.item.nodeid
            is_there = trial_id in self._recorded or live.is_finished(trial_id)
            if not is_there and other.param.model.kind != "human":  # who has the terminal in their item's turn
                yield self._spec(other)

    def _history(self, trial_id: str) -> tuple[str, ...]:
        """Return what earlier runs of a trial's task by its model tried, in their order; nothing unless sequential.

        It is read from disk: the process that played them may have died.
        """
        if not self.options.sequential:
            return ()
        tried, this = self._live.read().tried, self._trials[trial_id]
        runs = [trial for trial in self._trials.values() if (trial.test, trial.model) == (this.test, this.model)]
        earlier = [tried.get(trial.trial_id, "") for trial in runs if trial.run < this.run]
        return tuple(line for line in earlier if line)

    def _running_engine(self) -> Engine:
        if self._engine is None:
            from pytest_rltask.engines.engine import Engine

            self._engine = Engine(
                self._player(),
                concurrency=self._concurrency,
                admit=self._admits(),
                finished=self._keep,
                paid=self._writer.pay,
                paid_at_once=self._writer.pay_at_once,
                turned=self._transcripts.turn,
                is_stopped=StopFile(self._writer.path, self._since).is_there if self._worker else None,
                folder=self._folder,
                waits=self._tell_news,
                reread=self._reread,
                loop=self._loop,
            )
        return self._engine

    def _player(self) -> Player:
        from pytest_rltask.engines.local import LocalPlayer
        from pytest_rltask.models.named import make_model
        from pytest_rltask.trial.keeping import keep

        here = LocalPlayer(
            lambda name: make_model(
                parse_model(name),
                reply_timeout_s=self.options.reply_timeout,
                news=self._bulletin,
                prices=prices_of(self.options),
            ),
            cores=self._cores,
            keep=partial(keep, self._writer.path),
        )
        if self._remote is None:
            return here
        return self._remote.player(self._writer.path, self._since, most=self._concurrency, here=here)

    def _keep(self, record: Record) -> None:
        self._finished(record)
        self._transcripts.end(record)

    def _reread(self, trial_id: str) -> Record:
        """Return the record of a trial as it counts by now: other plugins may have its item played once more."""
        run_dir = self._writer.path
        return with_conversation(run_dir, load_run(run_dir, conversations=False).records[trial_id])

    def _tell_news(self) -> None:
        for line in self._bulletin.taken():
            self._tell(line)

    def _admits(self) -> Admit:
        """Return what lets trials start, and notes that they do."""
        from pytest_rltask.engines.engine import ATTEMPTS
        from pytest_rltask.suite.stopping import Admission

        admission = Admission(
            self._writer,
            self._trials.values(),
            since=self._since,
            stop_early=self.options.stop_early,
            max_cost=self.options.max_cost,
            prices=prices_of(self.options),
            log_dir=self._log_dir,
            is_alive=self._is_alive,
            attempts=ATTEMPTS if self._remote else 1,
        )
        return admission.ask

    def _concurrency(self, model: str) -> int:
        """Return how many trials of a model this process has in flight at once."""
        if parse_model(model).kind == "human":
            return 1
        if self.options.concurrency is not None:
            return self.options.concurrency
        return API_CONCURRENCY if parse_model(model).is_remote else self._cores

    @property
    def _cores(self) -> int:
        """How many cores this run has: the cluster's, or those of the machine, shared with the workers of -n."""
        if self._remote is not None:
            return self._remote.cluster.cores
        workers = int(self._worker.get("workercount", 1))
        return max(1, usable_cores() // workers)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
