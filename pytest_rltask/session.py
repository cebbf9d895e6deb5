"""What one pytest process knows of a run: its settings, its items' trials, the engine and the run directory.

The plugin's hooks are thin; what they do stands here. One object of this class lives in ``config.stash``, in the
controller of pytest-xdist as in each worker. Workers play and write; the controller reads what they wrote.
"""

from __future__ import annotations

import json
import os
import shlex
import uuid
import warnings
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rltask.ahead import Ahead
from pytest_rltask.items import TrialItems, TrialParam, is_trial, may_start_ahead, params_by_id, planned, put_in_order
from pytest_rltask.live import LiveRun
from pytest_rltask.models.named import parse_model
from pytest_rltask.options import Options, joined, without
from pytest_rltask.provenance import provenance
from pytest_rltask.record import SCHEMA_VERSION, Outcome, Record
from pytest_rltask.runlog import PlannedTrial, RunLogError, RunWriter, amend, choose_run_dir, find_run_dir, utc_now
from pytest_rltask.wording import assertion_text, explained, explained_amendment, oneline, properties

if TYPE_CHECKING:
    from pytest_rltask.engines.local import LocalEngine
    from pytest_rltask.report.summary import Summary
    from pytest_rltask.report.terminal import Line
    from pytest_rltask.resume import Resumption
    from pytest_rltask.runlock import RunLock
    from pytest_rltask.trial import Trial, TrialSpec

__all__ = ["Session"]

API_CONCURRENCY = 10
"""Trials of an API's model that are in flight at once, unless ``--concurrency`` says otherwise."""

RECORD_KEY = pytest.StashKey[Record]()
IN_TEST_KEY = pytest.StashKey[bool]()
MISSED_KEY = pytest.StashKey[bool]()


class Session:
    """One pytest process of a run.

    Args:
        config: pytest's configuration.

    Raises:
        pytest.UsageError: an option cannot be used.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.options = Options.read(config)
        self.items = TrialItems(config, self.options)
        self.broken = False
        """Whether a task is written wrongly, so that nothing is played."""
        self._headline_shown = False  # each worker of pytest-xdist gives occasion to
        self._writer: RunWriter | None = None
        self._plan: dict[str, PlannedTrial] = {}
        self._live: LiveRun | None = None
        self._later = Ahead(())
        self._recorded: dict[str, Record] = {}
        """Trials that are on disk already, by id: their items take these and play nothing."""
        self._engine: LocalEngine | None = None
        self._lock: RunLock | None = None
        self._resumption: Resumption | None = None
        self.checker = str(self._worker.get("rltask_checker", ""))
        """The worker of pytest-xdist that compares a resumed run with what it was, and writes its plan."""
        self._checked = False
        """Whether the plan that a run is resumed with has been accepted and written."""
        self.since = str(self._worker.get("rltask_since") or utc_now())
        """When this invocation began: a run that it resumes has older trials."""
        handed = self._worker.get("rltask")
        self.header: dict[str, Any] = json.loads(handed) if handed else self._old_header() or self._new_header()

    @property
    def is_worker(self) -> bool:
        """Whether this process is a worker of pytest-xdist."""
        return hasattr(self.config, "workerinput")

    @property
    def _worker(self) -> dict[str, Any]:
        return getattr(self.config, "workerinput", {})

    @property
    def run_dir(self) -> Path | None:
        """The run directory; None as long as no process of the run planned a trial."""
        if self._resumption and not self._checked:
            return None
        return self._writer.path if self._writer else find_run_dir(Path(self.header["path"]), self.header["id"])

    @property
    def command(self) -> str:
        """The command line that reproduces the run."""
        return str(self.header["command"])

    def plan(self, items: list[pytest.Item]) -> None:
        """Write down what is going to be played, before the first trial."""
        if self.options.sequential:
            put_in_order(items)
        trials = planned(items)
        if trials and not self._plays_nothing:
            header = self.header | provenance(self.config.rootpath)
            try:
                trials = self._joined(items, trials)
                self._writer = RunWriter(Path(self.header["path"]), self._writer_name, header)
                self._hold(self._writer.path)
                if self._resumption is None or self._is_checker:
                    self._writer.plan(trials)
                self._plan = {trial.trial_id: trial for trial in trials}
                self._later = Ahead(items)
                self._live = LiveRun(self._writer.path, since=self.since)
                self._checked = True
            except (OSError, RunLogError) as error:
                if self._resumption is not None:
                    raise pytest.UsageError(f"--resume {self._resumption.shown}: {error}") from None
                raise pytest.UsageError(_unwritable(self.options.log_dir, str(error))) from None

    def _hold(self, run_dir: Path) -> None:
        """Keep others from going on with the run as long as this process is at it."""
        from pytest_rltask.runlock import RunLock

        if self._lock is None and not self._plays_nothing:
            self._lock = RunLock(run_dir, self._writer_name)
            self.config.add_cleanup(self._lock.release)

    def _hold_alone(self, run_dir: Path) -> None:
        self._hold(run_dir)
        if self._lock is not None:
            self._lock.check_alone()

    @property
    def _plays_nothing(self) -> bool:
        return self.broken or self.config.option.collectonly or self.config.option.setupplan

    def _joined(self, items: list[pytest.Item], trials: list[PlannedTrial]) -> list[PlannedTrial]:
        """Return what is planned with the trials of the run that is resumed, and note those that count already."""
        if self.options.resume is None:
            return trials
        from pytest_rltask.resume import Resumption, united

        self._resumption = resumption = self._resumption or Resumption(Path(self.header["path"]))
        if self._is_checker:
            refusal = resumption.refusal(trials, params_by_id(items), sequential=self.options.sequential)
            if refusal:
                raise pytest.UsageError(refusal)
        self._recorded = resumption.reused(trials)
        return united(resumption.run.plan, trials)

    @property
    def _is_checker(self) -> bool:
        return self._writer_name == (self.checker or "main")

    @property
    def _writer_name(self) -> str:
        return str(self._worker.get("workerid", "main"))

    def headline(self, collected: Iterable[str], worker: str = "") -> str:
        """Return, the first time, the lines that reproduce the run; empty if there are no trials.

        Args:
            collected: node ids of the items.
            worker: of pytest-xdist that collected them; what is resumed is known once it has been compared.
        """
        going_on = self._resumption.headline(collected) if self._resumption else ""
        if going_on and worker and worker == self.checker and not self._plays_nothing:
            self._checked = True
        run_dir = self.run_dir
        if run_dir is None or self._headline_shown:
            return ""
        self._headline_shown = True
        self._hold(run_dir)
        return f"rltask: {self.command}\nrltask: records in {run_dir}" + (going_on and f"\n{going_on}")

    def play(self, item: pytest.Item, param: object) -> Trial:
        """Wait for an item's trial, which is on disk then, and return it; an errored one errors the item."""
        from pytest_rltask.trial import Trial

        if not isinstance(param, TrialParam):
            pytest.fail("the fixture trial needs a task: @pytest.mark.rltask(task=MyTask())", pytrace=False)
        record = self._recorded.get(item.nodeid) or self._played(item, param)
        transcript = self._write_transcript(record)
        item.stash[RECORD_KEY] = record
        item.add_report_section("setup", "trial", f"{oneline(record)}\ntranscript: {transcript}")
        if record.fault is not None:
            if record.fault.fatal:
                item.session.shouldstop = f"no trial can be played by {record.model}: {record.fault.message}"
            pytest.fail(explained(record.fault), pytrace=False)
        return Trial(param.task, record)

    def _played(self, item: pytest.Item, param: TrialParam) -> Record:
        engine = self._local_engine()
        if not engine.knows(item.nodeid):
            if record := self._taken_over(item.nodeid):
                return record
            engine.submit([self._spec(item, param), *self._ahead(item)])
        return engine.result(item.nodeid)

    def _taken_over(self, trial_id: str) -> Record | None:
        """Return the record of a trial that another worker finished before it died, which could not report it."""
        is_for_any = self._worker.get("rltask_dist", "each") != "each"
        return self._live_run.read().record(trial_id) if is_for_any else None

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
        )

    def _ahead(self, item: pytest.Item) -> Iterator[TrialSpec]:
        """Yield the trials of later items that may start before their item's turn."""
        live = self._live_run
        shares = live.shares if self.is_worker else 1
        if self.options.sequential or not shares:
            return  # or a worker that cannot know what it will be given
        for other in self._later.of(item.nodeid, shares=shares, is_suspect=live.is_suspect):
            is_there = other.nodeid in self._recorded or live.is_finished(other.nodeid)
            if not is_there and (param := may_start_ahead(other)):
                yield self._spec(other, param)

    @property
    def _live_run(self) -> LiveRun:
        assert self._live is not None, "items were planned"
        return self._live

    def _history(self, trial_id: str) -> tuple[str, ...]:
        """Return what earlier runs of a trial's task by its model tried, in their order; nothing unless sequential.

        It is read from disk: the process that played them may have died.
        """
        if not self.options.sequential:
            return ()
        tried, this = self._live_run.read().tried, self._plan[trial_id]
        runs = [trial for trial in self._plan.values() if (trial.test, trial.model) == (this.test, this.model)]
        earlier = [tried.get(trial.trial_id, "") for trial in runs if trial.run < this.run]
        return tuple(line for line in earlier if line)

    def scheduler(self, log: Any, own: Any) -> Any:
        """Return what gives workers of pytest-xdist their items, in place of or around its own."""
        if self.options.sequential:
            from pytest_rltask.scheduling import make_scheduler

            return make_scheduler(self.config, log, lambda: self.run_dir) or own
        from pytest_rltask.shares import deal_out

        return deal_out(self.config, log, own, self._join)

    def _join(self) -> RunWriter | None:
        """Return the run directory that workers have created; None if they planned no trial."""
        if self._writer is None and (path := self.run_dir):
            self._writer = RunWriter(path, self._writer_name, self.header)
        return self._writer

    def lose(self, nodeid: str, report: pytest.TestReport) -> None:
        """Put on disk that the worker of pytest-xdist which played a trial died, for the last time."""
        from pytest_rltask.runlog import load_run

        run = load_run(self.run_dir) if self.run_dir else None
        planned = next((trial for trial in run.plan if trial.trial_id == nodeid), None) if run else None
        writer = self._join()
        if run is None or planned is None or writer is None:
            return  # another test, whose crash is a failure
        record = run.records.get(nodeid)
        if record is not None and record.graded:
            writer.amend(nodeid, "errored", "the test did not judge the trial: its process died")
        else:
            writer.append(planned.lost())
        vars(report)["rltask_errored"] = True

    def enter_test(self, item: pytest.Item) -> None:
        """Note that the item's test function runs."""
        item.stash[IN_TEST_KEY] = True

    def leave_test(self, item: pytest.Item) -> None:
        """Note that it has ended."""
        item.stash[IN_TEST_KEY] = False

    def settle(self, item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport) -> None:
        """Turn what became of an item into the outcome of its trial, and a miss into a report of its own."""
        record = item.stash.get(RECORD_KEY, None)
        if record is None:
            if report.skipped and is_trial(item) and self._writer is not None:
                self._writer.skip(item.nodeid)
        elif record.fault is not None:
            if report.failed and call.when == "setup":
                vars(report)["rltask_errored"] = True
        elif item.stash.get(IN_TEST_KEY, False):
            # A subtest: its failure stays pytest's own, and its trial has missed.
            item.stash[MISSED_KEY] = item.stash.get(MISSED_KEY, False) or _missed(call)
        elif call.when == "call":
            self._judge(item, call, report, record)

    def _judge(self, item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport, record: Record) -> None:
        """Let the test decide: it held, an assertion failed, or it ended otherwise and nobody has judged the trial."""
        held = call.excinfo is None and not item.stash.get(MISSED_KEY, False)
        missed = _missed(call) or (call.excinfo is None and not held)
        if record.outcome == "cheated":
            missed = missed or held  # no assertion can turn cheating into a pass
        elif held or missed:
            self._amend(record, "passed" if held else "failed", assertion_text(call))
        else:
            how = call.excinfo.typename if call.excinfo else ""
            self._amend(record, "errored", f"the test did not judge the trial: {how}: {assertion_text(call)}")
        item.user_properties += properties(record)
        if missed:
            report.outcome = "skipped"
            report.wasxfail = record.reason or assertion_text(call)
            report.longrepr = (str(item.path), item.location[1] or 0, report.wasxfail)
        if missed or report.passed:
            # One plain string: whatever else crosses to the controller may not be serialisable.
            vars(report)["rltask_outcome"] = str(record.outcome)

    def _amend(self, record: Record, outcome: Outcome, said: str) -> None:
        """Let the test's assertion overrule the grader, and say so on disk."""
        if record.outcome == outcome:
            return
        why = explained_amendment(record, outcome, said)
        amend(record, outcome, why)
        assert self._writer is not None
        self._writer.amend(record.trial_id, outcome, why)
        self._write_transcript(record)

    def _write_transcript(self, record: Record) -> Path:
        from pytest_rltask.report.transcript import render

        assert self._writer is not None
        try:
            return self._writer.write_transcript(record, render(record))
        except OSError as error:  # the record is on disk, and that is what counts
            return Path(f"(not written: {error.strerror})")

    def _local_engine(self) -> LocalEngine:
        if self._engine is None:
            from pytest_rltask.engines.local import LocalEngine
            from pytest_rltask.models.named import make_model

            assert self._writer is not None, "items were planned"
            self._engine = LocalEngine(
                lambda name: make_model(parse_model(name)),
                concurrency=self._concurrency,
                cores=self._cores,
                started=self._writer.start,
                finished=self._writer.append,
            )
        return self._engine

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

    def summarise(self) -> Summary | None:
        """Summarise what is on disk and write the report files; None if no trial was planned."""
        from pytest_rltask.report.files import write_reports
        from pytest_rltask.report.summary import summarise
        from pytest_rltask.runlog import load_run

        if self.run_dir is None or not (self.run_dir / "plan.json").exists():
            return None
        run = load_run(self.run_dir)
        if not run.plan:
            return None
        summary = summarise(run, self.options.gate)
        try:
            write_reports(run, summary)
        except OSError as error:
            warnings.warn(f"the report files could not be written: {error}", stacklevel=1)
        return summary

    def summary_lines(self, summary: Summary, width: int, *, unicode: bool, interrupted: bool) -> Iterator[Line]:
        """Return the lines of the terminal's summary."""
        from pytest_rltask.report.terminal import summary_lines

        assert self.run_dir is not None, "a summary is of a run directory"
        return summary_lines(
            summary,
            run_dir=self.run_dir,
            command=self._reproduction(),
            width=width,
            unicode=unicode,
            interrupted=interrupted,
        )

    def close(self) -> None:
        """Give back the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    def _old_header(self) -> dict[str, Any] | None:
        """Return the header of the run that is to be resumed."""
        if self.options.resume is None:
            return None
        from pytest_rltask.resume import resumption

        cwd = self.config.invocation_params.dir
        self._resumption = resumption(self.options.resume, self.options.log_dir, cwd, hold=self._hold_alone)
        return self._resumption.header

    def _new_header(self) -> dict[str, Any]:
        log_dir = Path(self.config.invocation_params.dir, self.options.log_dir)
        existing = next(path for path in (log_dir, *log_dir.parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise pytest.UsageError(_unwritable(self.options.log_dir, f"{existing} is no writable folder"))
        return {
            "schema": SCHEMA_VERSION,
            "id": uuid.uuid4().hex,
            "path": str(choose_run_dir(log_dir, datetime.now())),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": self._reproduction(),
            "gate": self.options.gate,
            "sequential": self.options.sequential,
        }

    def _reproduction(self) -> str:
        """Return the command as typed, with every setting that it left to a default."""
        typed = joined(without(map(str, self.config.invocation_params.args), "--resume"), "--log-dir")
        flags = {word.partition("=")[0] for word in typed}
        missing = [word for words in self.options.command_line() if words[0] not in flags for word in words]
        return shlex.join(["pytest", *typed, *missing])


def _missed(call: pytest.CallInfo[Any]) -> bool:
    return call.excinfo is not None and call.excinfo.errisinstance(AssertionError)


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _unwritable(log_dir: str, why: str) -> str:
    return f"--log-dir {log_dir}: no run directory can be created in it ({why}); write --log-dir=DIR"
