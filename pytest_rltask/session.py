"""What one pytest process knows of a run: its settings, its items' trials, the engine and the run directory.

The plugin's hooks are thin; what they do stands here. One object of this class lives in ``config.stash``, in the
controller of pytest-xdist as in each worker. Workers play and write; the controller reads what they wrote.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rltask.clock import utc_now
from pytest_rltask.command import new_header, reproduction, unwritable
from pytest_rltask.grader import Graders
from pytest_rltask.interrupt import Interrupts
from pytest_rltask.isolation import check_allowed, sandbox_line, settled
from pytest_rltask.items import (
    TrialItems,
    TrialParam,
    check_markers,
    is_trial,
    params_by_id,
    planned,
    plugin_files,
    put_in_order,
    spare_waiting,
)
from pytest_rltask.judging import Judge, lose
from pytest_rltask.options import Options
from pytest_rltask.playing import Playing
from pytest_rltask.provenance import provenance
from pytest_rltask.record import Record
from pytest_rltask.runlog import NotStarted, PlannedTrial, RunLogError, RunWriter, find_run_dir, load_plan
from pytest_rltask.setups import alone_lines, bring_together
from pytest_rltask.tools import DefinitionError
from pytest_rltask.wording import explained

if TYPE_CHECKING:
    from pytest_rltask.audit.plays import Plays
    from pytest_rltask.report.statusline import StatusLine
    from pytest_rltask.report.summary import Summary
    from pytest_rltask.report.terminal import Line
    from pytest_rltask.resume import Resumption
    from pytest_rltask.runlock import RunLock
    from pytest_rltask.trial import Trial

__all__ = ["Session"]


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
        check_allowed(config, self.options.sandbox)
        self.items = self._make_items()
        self.broken = False
        """Whether a task is written wrongly, so that nothing is played."""
        self._headline_shown = False  # each worker of pytest-xdist gives occasion to
        self._writer: RunWriter | None = None
        self._planned: list[PlannedTrial] = []
        self._graders = Graders(config.rootpath, plugin_files(config))
        self._playing: Playing | None = None
        self._is_dealt = True
        """Whether each process knows which trials it will be given."""
        self.judge = Judge(lambda: self._writer)
        """Turns what becomes of items into outcomes of trials."""
        self._status: StatusLine | None = None
        self._plays: Plays | None = None
        """What the audit has played in this process."""
        self._audited_in = ""
        """What isolates what it plays, if that needs it."""
        self._lock: RunLock | None = None
        self._resumption: Resumption | None = None
        self.checker = str(self._worker.get("rltask_checker", ""))
        """The worker of pytest-xdist that compares a resumed run with what it was, and writes its plan."""
        self._checked = False
        """Whether the plan that a run is resumed with has been accepted and written."""
        self.since = str(self._worker.get("rltask_since") or utc_now())
        """When this invocation began: a run that it resumes has older trials."""
        self._interrupts = Interrupts(config, self.since)
        handed = self._worker.get("rltask")
        self.header: dict[str, Any] = (
            json.loads(handed) if handed else (self._old_header() or new_header(config, self.options, self._log_dir))
        )

    def _make_items(self) -> TrialItems:
        if not self.options.audit:
            return TrialItems(self.config, self.options)
        from pytest_rltask.audit import AuditItems

        return AuditItems(self.config, self.options)

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
        check_markers(items)
        if self.options.audit and not self._plays_nothing:
            from pytest_rltask.audit import runs_agents_code

            self._audited_in = settled(self.options.sandbox) if runs_agents_code(items) else ""
        if self.options.sequential:
            put_in_order(items)
        else:
            bring_together(items, is_trial)
        spare_waiting(items, self.config)
        wants_graders = self.options.plan or not self._plays_nothing
        try:
            trials = self._planned = planned(items, self._graders if wants_graders else None)
        except DefinitionError as error:
            raise pytest.UsageError(str(error)) from None
        if trials and not self._plays_nothing:
            header = self.header | provenance(self.config.rootpath)
            if any(trial.sandbox for trial in trials):
                backend = settled(self.options.sandbox)
                trials = [dataclasses.replace(trial, sandbox=trial.sandbox and backend) for trial in trials]
            try:
                decide, ours = self._checked_changes(items, trials), trials
                if self._resumption:
                    from pytest_rltask.resume import united

                    trials = united(self._resumption.run.plan, trials)
                self._writer = RunWriter(Path(self.header["path"]), self._writer_name, header)
                lock = self._hold(self._writer.path)
                for digest, grader in self._graders.by_digest.items():
                    self._writer.note_grader(digest, grader.to_json())
                decide(self._writer)
                if self._resumption is None or self._is_checker:
                    self._writer.plan(trials)
                self._playing = Playing(
                    self.options,
                    items,
                    trials,
                    lambda: self._recorded(ours),
                    finished=self._finished,
                    writer=self._writer,
                    worker=self._worker,
                    since=self.since,
                    log_dir=self._log_dir,
                    is_alive=lock.is_alive,
                )
                self._checked = True
                self._interrupts.install(self._writer.path)
            except (OSError, RunLogError) as error:
                if self._resumption is not None:
                    raise pytest.UsageError(f"--resume {self._resumption.shown}: {error}") from None
                raise pytest.UsageError(unwritable(self.options.log_dir, str(error))) from None

    def _hold(self, run_dir: Path) -> RunLock:
        """Keep others from going on with the run as long as this process is at it."""
        from pytest_rltask.runlock import RunLock

        if self._lock is None:
            self._lock = RunLock(run_dir, self._writer_name)
            self.config.add_cleanup(self._lock.release)
        return self._lock

    def _hold_alone(self, run_dir: Path) -> None:
        if not self._plays_nothing:
            self._hold(run_dir).check_alone()

    @property
    def _plays_nothing(self) -> bool:
        config = self.config.option
        return self.broken or config.collectonly or config.setupplan or self.options.plan

    def _checked_changes(self, items: list[pytest.Item], trials: list[PlannedTrial]) -> Callable[[RunWriter], None]:
        """Compare a run that is resumed with what is planned, and return what brings its records up to date.

        Raises:
            pytest.UsageError: they do not go together, and the user has not said what is to become of that.
        """
        if self.options.resume is None:
            return lambda writer: None
        from pytest_rltask.resume import Resumption

        self._resumption = resumption = self._resumption or Resumption(Path(self.header["path"]), since=self.since)
        if not self._is_checker:
            return lambda writer: None
        options, params = self.options, params_by_id(items)
        changed = resumption.changed(trials, self._graders.by_digest, options.changed)
        refusal = resumption.refusal(
            trials, params, changed, way=options.changed, sequential=options.sequential, sandbox=options.sandbox
        )
        if refusal:
            raise pytest.UsageError(refusal)
        return lambda writer: resumption.decide(options.changed, changed, params, writer, options.sandbox)

    def _finished(self, record: Record) -> None:
        """Put a trial on disk, with what graded it: a file that is read late may have changed while the run went on."""
        assert self._writer is not None, "what is played was planned"
        grader = self._graders.now(record.grader)
        if grader is not None:
            record.grader = grader.digest
            self._writer.note_grader(grader.digest, grader.to_json())
        self._writer.append(record)

    def _recorded(self, trials: list[PlannedTrial]) -> dict[str, Record]:
        """Return the records that count already; asked once the first item is due, when they are up to date."""
        if self._resumption is None:
            return {}
        if self.options.changed and not self._is_checker:
            self._resumption.read_again()
        return self._resumption.reused(trials)

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
        if self._resumption and self.options.changed and worker == self.checker:
            self._resumption.read_again()  # the worker has decided what becomes of the recorded trials
        going_on = self._resumption.headline(collected) if self._resumption else ""
        if going_on and worker and worker == self.checker and not self._plays_nothing:
            self._checked = True
        from pytest_rltask.report.statusline import status_line

        run_dir = self.run_dir
        if run_dir is None or self._headline_shown:
            return sandbox_line(self.config, [self._audited_in])
        self._headline_shown = True
        if not self._plays_nothing:
            self._hold(run_dir)
            self._interrupts.install(run_dir)
            self._status = status_line(self.config, run_dir, since=self.since)
        isolated_by = sandbox_line(self.config, (trial.sandbox for trial in load_plan(run_dir)))
        alone = [f"rltask: {line}" for line in self._alone_lines(run_dir)]
        lines = [f"rltask: {self.command}", f"rltask: records in {run_dir}", isolated_by, *alone, going_on]
        return "\n".join(line for line in lines if line)

    def audit(self, item: pytest.Function) -> bool | None:
        """Run an item of ``--audit``; return None, and do nothing, for any other."""
        if not self.options.audit:
            return None
        from pytest_rltask.audit import run_check
        from pytest_rltask.audit.plays import Plays

        self._plays = self._plays or Plays(self.options.sandbox)
        return run_check(item, self._plays)

    def play(self, item: pytest.Item, param: object) -> Trial | None:
        """Wait for an item's trial, which is on disk then, and return it; an errored one errors the item.

        Returns:
            None for an item of ``--audit``, which plays its trials once the test is called.
        """
        from pytest_rltask.trial import Trial

        if self.options.audit and param is not None:
            return None
        if not isinstance(param, TrialParam):
            pytest.fail("the fixture trial needs a task: @pytest.mark.rltask(task=MyTask())", pytrace=False)
        assert self._playing is not None, "items were planned"
        with self._status.shown() if self._status else contextlib.nullcontext():
            record = self._playing.record(item, param)
        if isinstance(record, NotStarted):
            self.judge.note_not_started(item, record)
            pytest.skip(record.reason)
        self.judge.note_record(item, record)
        if record.fault is not None:
            if record.fault.fatal:
                item.session.shouldstop = f"no trial can be played by {record.model}: {record.fault.message}"
            pytest.fail(explained(record.fault), pytrace=False)
        return Trial(param.task, record)

    def scheduler(self, log: Any, own: Any) -> Any:
        """Return what gives workers of pytest-xdist their items, in place of or around its own."""
        if self.options.sequential:
            from pytest_rltask.scheduling import make_scheduler

            return make_scheduler(self.config, log, lambda: self.run_dir) or own
        from pytest_rltask.shares import deal_out

        scheduler = deal_out(self.config, log, own, self._join)
        self._is_dealt = scheduler is not own
        return scheduler

    def _join(self) -> RunWriter | None:
        """Return the run directory that workers have created; None if they planned no trial."""
        if self._writer is None and (path := self.run_dir):
            self._writer = RunWriter(path, self._writer_name, self.header)
        return self._writer

    def lose(self, nodeid: str, report: pytest.TestReport) -> None:
        """Put on disk that the worker of pytest-xdist which played a trial died, for the last time."""
        from pytest_rltask.runlog import load_run

        writer = self._join()
        if writer is not None and lose(nodeid, load_run(writer.path), writer):
            vars(report)["rltask_errored"] = True

    def summarise(self) -> Summary | None:
        """Summarise what is on disk and write the report files; None if no trial was planned."""
        from pytest_rltask.report.files import report_on

        return report_on(self.run_dir, self.options.gate, stop_early=self.options.stop_early)

    def summary_lines(self, summary: Summary, width: int, *, unicode: bool, interrupted: bool) -> Iterator[Line]:
        """Return the lines of the terminal's summary."""
        from pytest_rltask.report.terminal import summary_lines

        assert self.run_dir is not None, "a summary is of a run directory"
        return summary_lines(
            summary,
            run_dir=self.run_dir,
            command=reproduction(self.config, self.options),
            width=width,
            unicode=unicode,
            interrupted=interrupted,
            notes=self._alone_lines(self.run_dir),
        )

    def _alone_lines(self, run_dir: Path) -> Iterator[str]:
        if not self.options.sequential:
            yield from alone_lines(load_plan(run_dir), is_dealt=self._is_dealt)

    def plan_lines(self) -> Iterator[str]:
        """Return what ``--plan`` shows."""
        from pytest_rltask.plan import plan_lines

        args = map(str, self.config.invocation_params.args)
        yield from plan_lines(self._planned, self.options, self._log_dir, self._resumption, self._graders.by_digest)
        yield f"next: {shlex.join(['pytest', *(word for word in args if word != '--plan')])}"

    def close(self, session: pytest.Session, exitstatus: int) -> int:
        """Give back the engine, the terminal and what the audit holds; return the exit status as it is then."""
        is_whole = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if self._playing is not None:
            try:
                with self._status.shown() if self._status else contextlib.nullcontext():
                    self._playing.close(finish=is_whole and not (session.shouldfail or session.shouldstop))
            except KeyboardInterrupt:
                exitstatus = session.exitstatus = pytest.ExitCode.INTERRUPTED
        if self._status is not None:
            self._status.stop()
        if self._plays is not None:
            self._plays.close()
        return exitstatus

    def _old_header(self) -> dict[str, Any] | None:
        """Return the header of the run that is to be resumed."""
        if self.options.resume is None:
            return None
        from pytest_rltask.resume import resumption

        cwd = self.config.invocation_params.dir
        self._resumption = resumption(
            self.options.resume, self.options.log_dir, cwd, since=self.since, hold=self._hold_alone
        )
        return self._resumption.header

    @property
    def _log_dir(self) -> Path:
        return Path(self.config.invocation_params.dir, self.options.log_dir)
