"""What one pytest process knows of a run: its settings, its items' trials, the engine and the run directory.

The plugin's hooks are thin; what they do stands here. One object of this class lives in ``config.stash``, in the
controller of pytest-xdist as in each worker. Workers play and write; the controller reads what they wrote.
"""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rltask.clock import monotonic_s
from pytest_rltask.graders.fingerprint import Graders
from pytest_rltask.report.command_line import joined
from pytest_rltask.report.sweep import same_trials
from pytest_rltask.run.bulletin import cleared
from pytest_rltask.run.load import load_run
from pytest_rltask.run.planned import NotStarted
from pytest_rltask.run.record import Record
from pytest_rltask.suite.command import typed
from pytest_rltask.suite.directory import Directory
from pytest_rltask.suite.interrupt import Interrupts
from pytest_rltask.suite.isolation import check_allowed, sandbox_line, settled, settling
from pytest_rltask.suite.items import TrialItems, TrialParam, param_of, plugin_files
from pytest_rltask.suite.judging import Judge, lose
from pytest_rltask.suite.option_names import names_of
from pytest_rltask.suite.options import Options
from pytest_rltask.suite.person import at_terminal
from pytest_rltask.suite.plan import Plan, make_plan
from pytest_rltask.suite.playing import Playing
from pytest_rltask.suite.remote import LOCAL, Remote, check_engine
from pytest_rltask.suite.setups import alone_lines, missing_fixture
from pytest_rltask.suite.telling import Telling
from pytest_rltask.suite.wording import explained, is_skipped_in_junit
from pytest_rltask.tools import DefinitionError

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_rltask.audit.plays import Plays
    from pytest_rltask.report.html_live import LivePage
    from pytest_rltask.report.statusline import StatusLine
    from pytest_rltask.report.summary import Summary
    from pytest_rltask.report.terminal import Line
    from pytest_rltask.suite.shard import Shard
    from pytest_rltask.trial.play import Trial

__all__ = ["Session"]


class Session:
    """One pytest process of a run: the parts that its hooks call, put together.

    Args:
        config: pytest's configuration.

    Raises:
        pytest.UsageError: an option cannot be used.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.options = Options.read(config)
        check_allowed(config, self.options.sandbox)
        check_engine(config, self.options)
        is_skipped_in_junit(config)  # a wrong setting is told now
        self.items = self._make_items()
        self.broken = False
        """Whether a task is written wrongly, so that nothing is played."""
        self._graders = Graders(config.rootpath, plugin_files(config))
        self.directory = Directory(config, self.options, self._graders, lambda: self._plays_nothing)
        """What this process knows of the run directory, and does there."""
        self.judge = Judge(lambda: self.directory.writer)
        """Turns what becomes of items into outcomes of trials."""
        self._telling = Telling(config)
        self._interrupts = Interrupts(config, self.directory.since)
        self._plan: Plan | None = None
        self._playing: Playing | None = None
        self._remote: Remote | None = None
        self._isolated_by: Callable[[], str] | None = None
        self._status: StatusLine | None = None
        self._page: LivePage | None = None
        self._headline_shown = False  # each worker of pytest-xdist gives occasion to
        self._is_dealt = True
        """Whether each process knows which trials it will be given."""
        self._plays: Plays | None = None
        """What the audit has played in this process."""
        self._audited_in = ""
        """What isolates what it plays, if that needs it."""

    def _make_items(self) -> TrialItems:
        if not self.options.audit:
            return TrialItems(self.config, self.options, lambda: self.directory.unnamed)
        from pytest_rltask.suite.audit_items import AuditItems

        return AuditItems(self.config, self.options)

    @property
    def is_worker(self) -> bool:
        """Whether this process is a worker of pytest-xdist."""
        return hasattr(self.config, "workerinput")

    @property
    def _plays_nothing(self) -> bool:
        config = self.config.option
        return self.broken or config.collectonly or config.setupplan or self.options.plan

    def plan(self, items: list[pytest.Item]) -> None:
        """Write down what is going to be played, before the first trial.

        Raises:
            pytest.UsageError: it cannot be played.
        """
        params = [param for item in items if (param := param_of(item))]
        if not self._plays_nothing and self.options.engine == LOCAL and any(p.task.needs_sandbox for p in params):
            self._isolated_by = settling(self.options.sandbox)
        wants_graders = self.options.plan or not self._plays_nothing
        try:
            self._plan = plan = make_plan(items, self.options, self._graders if wants_graders else None)
        except DefinitionError as error:
            raise pytest.UsageError(str(error)) from None
        if self.options.shard:
            self._plan = plan = self._dealt(plan, items, self.options.shard)
        played = [entry for entry in plan.entries.values() if not entry.is_skipped]
        for entry in played:
            if name := missing_fixture(entry.item):
                raise pytest.UsageError(
                    f"{entry.trial.test}: there is no fixture {name!r}, so that the test could judge none of its "
                    "trials; `pytest --fixtures` lists those that there are"
                )
        try:
            self.items.check_playable(entry.param for entry in played)
        except DefinitionError as error:
            raise pytest.UsageError(str(error)) from None
        if self._plays_nothing:
            return
        if self.options.audit:
            from pytest_rltask.suite.audit_items import runs_agents_code

            self._audited_in = settled(self.options.sandbox) if runs_agents_code(items) else ""
        if plan.entries:
            self._begin(plan.isolated_by(self._isolation(plan)), items)

    def _isolation(self, plan: Plan) -> Callable[[], str]:
        """Return what says by what agents' code is isolated: where it will be played, which is known after that."""
        if self.options.engine == LOCAL:
            return self._isolated_by or (lambda: settled(self.options.sandbox))
        self._remote = remote = Remote(self.config, self.options, plan)
        return lambda: remote.cluster.isolation

    def _dealt(self, plan: Plan, items: list[pytest.Item], shard: Shard) -> Plan:
        """Keep the items of a shard, and have the run directory say of what whole."""
        from pytest_rltask.suite.shard import deal, described

        rows = {trial_id: (entry.trial.test, entry.trial.model) for trial_id, entry in plan.entries.items()}
        kept, left = deal(items, rows, shard, by_row=self.options.sequential)
        self.directory.part = described(shard, plan.trials, by_row=self.options.sequential)
        if left:
            items[:] = kept
            self.config.hook.pytest_deselected(items=left)
        return plan.of(kept)

    def _begin(self, plan: Plan, items: list[pytest.Item]) -> None:
        directory = self.directory
        with directory.refusing():
            writer = directory.begin(plan)
            if self.options.regrade_only:  # the tests judge what was graded anew, and nothing else is left to do
                recorded = directory.recorded(plan)
                items[:] = [item for item in items if item.nodeid in recorded]
                plan = plan.of(items)
            self._playing = Playing(
                self.options,
                plan,
                directory.plan,
                lambda: directory.recorded(plan),
                finished=directory.keep,
                writer=writer,
                worker=directory.worker,
                since=directory.since,
                log_dir=directory.log_dir,
                is_alive=directory.hold(writer.path).is_alive,
                tell=self._telling.tell,
                remote=self._remote,
            )
            directory.is_checked = True
            self._interrupts.install(writer.path)

    def headline(self, collected: Iterable[str], worker: str = "") -> str:
        """Return, the first time, the lines that reproduce the run; empty if there are no trials.

        Args:
            collected: node ids of the items.
            worker: of pytest-xdist that collected them; what is resumed is known once it has been compared.
        """
        directory = self.directory
        resumption, is_checker = directory.resumption, worker == directory.checker
        if resumption and self.options.changed and is_checker:
            resumption.read_again()  # the worker has decided what becomes of the recorded trials
        going_on = resumption.headline(collected) if resumption else ""
        if going_on and worker and is_checker and not self._plays_nothing:
            directory.is_checked = True
        run_dir = directory.path
        if run_dir is None or self._headline_shown:
            return sandbox_line(self.config, [self._audited_in])
        self._headline_shown = True
        if not self._plays_nothing:
            directory.hold(run_dir)
            self._interrupts.install(run_dir)
            self.config.add_cleanup(lambda: cleared(run_dir))
            if not self.is_worker:
                self._show(run_dir)
        isolated_by = sandbox_line(self.config, (trial.sandbox for trial in directory.plan))
        alone = [f"rltask: {line}" for line in self._notes()]
        command = str(directory.header["command"])
        claimed = names_of(self.config).line
        cluster = self._remote.headline if self._remote else ""
        lines = [f"rltask: {command}", f"rltask: records in {run_dir}", cluster, isolated_by, *alone, claimed, going_on]
        return "\n".join(line for line in lines if line)

    def _show(self, run_dir: Path) -> None:
        """Show the progress of the run, in a line and in its page, from now on."""
        from pytest_rltask.report.html_live import LivePage
        from pytest_rltask.report.statusline import status_line

        self._status = status_line(self.config, run_dir, since=self.directory.since)
        self._page = LivePage(run_dir, self.options.gate, stop_early=self.options.stop_early)
        self.config.add_cleanup(self._page.stop)

    def audit(self, item: pytest.Function) -> bool | None:
        """Run an item of ``--audit``; return None, and do nothing, for any other."""
        if not self.options.audit:
            return None
        from pytest_rltask.audit.plays import Plays
        from pytest_rltask.suite.audit_items import run_check

        self._plays = self._plays or Plays(self.options.sandbox)
        return run_check(item, self._plays)

    def play(self, item: pytest.Item, param: object) -> Trial | None:
        """Wait for an item's trial, which is on disk then, and return it; an errored one errors the item.

        Returns:
            None for an item of ``--audit``, which plays its trials once the test is called.
        """
        from pytest_rltask.trial.play import Trial

        if self.options.audit and param is not None:
            return None
        param = param_of(item)
        if param is None:
            pytest.fail("the fixture trial needs a task: @pytest.mark.rltask(task=MyTask())", pytrace=False)
        assert self._playing is not None, "items were planned"
        began_s = monotonic_s()
        with self._waiting(param):
            record = self._playing.record(item)
            waited_s = monotonic_s() - began_s
            if param.model.kind == "human" and isinstance(record, Record):
                from pytest_rltask.models.human import show_end

                show_end(record)
        if isinstance(record, NotStarted):
            self.judge.note_not_started(item, record)
            pytest.skip(record.reason)
        self.judge.note_record(item, param, record, self.items.recorded, waited_s=waited_s)
        if record.fault is not None:
            if record.fault.fatal:
                item.session.shouldstop = f"no trial can be played by {record.model}: {record.fault.message}"
            pytest.fail(explained(record.fault), pytrace=False)
        return Trial(param.task, record)

    def _waiting(self, param: TrialParam) -> contextlib.AbstractContextManager[None]:
        """Return what to do while a trial is waited for: show how far the run is, or give a person the terminal."""
        if param.model.kind == "human":
            return at_terminal(self.config)
        return self._status.shown() if self._status else contextlib.nullcontext()

    def hear(self, warning: object) -> None:
        """Show at once what a process of the run tells of its server, be it this one or a worker of pytest-xdist."""
        self._telling.show(warning, self._status.hidden if self._status else contextlib.nullcontext)

    def scheduler(self, log: Any, own: Any) -> Any:
        """Return what gives workers of pytest-xdist their items, in place of or around its own."""
        if self.options.sequential:
            from pytest_rltask.suite.scheduling import make_scheduler

            return make_scheduler(self.config, log, lambda: self.directory.path) or own
        from pytest_rltask.suite.shares import deal_out

        scheduler = deal_out(self.config, log, own, self.directory.join)
        self._is_dealt = scheduler is not own
        return scheduler

    def lose(self, nodeid: str, report: pytest.TestReport) -> None:
        """Put on disk that the worker of pytest-xdist which played a trial died, for the last time."""
        writer = self.directory.join()
        if writer is not None and lose(nodeid, load_run(writer.path), writer):
            vars(report)["rltask_errored"] = True

    def summarise(self) -> Summary | None:
        """Summarise what is on disk and write the report files; None if no trial was planned."""
        from pytest_rltask.report.files import report_on

        return report_on(self.directory.path, self.options.gate, stop_early=self.options.stop_early)

    def summary_lines(self, summary: Summary, width: int, *, unicode: bool, interrupted: bool) -> Iterator[Line]:
        """Return the lines of the terminal's summary."""
        from pytest_rltask.report.terminal import summary_lines

        run_dir = self.directory.path
        assert run_dir is not None, "a summary is of a run directory"
        return summary_lines(
            summary,
            run_dir=run_dir,
            command=typed(self.config),
            width=width,
            unicode=unicode,
            interrupted=interrupted,
            flag=names_of(self.config).flag,
            notes=self._notes(),
        )

    def _notes(self) -> Iterator[str]:
        if self.options.shard:
            shard = self.options.shard
            yield f"shard {shard}: its pass rates are not judged; `rltask merge RUN...` makes one run of all"
        yield from same_trials(self.directory.plan)
        if not self.options.sequential:
            yield from alone_lines(self.directory.plan, is_dealt=self._is_dealt)

    def plan_lines(self, width: int) -> Iterator[str]:
        """Return what ``--plan`` shows on a terminal of a width."""
        from pytest_rltask.suite.outlook import plan_lines

        names = names_of(self.config)
        args = joined(map(str, self.config.invocation_params.args), *names.ours("--resume"), *names.ours("--log-dir"))
        trials = self._plan.trials if self._plan else []
        directory, graders = self.directory, self._graders.by_digest
        yield from same_trials(trials)
        yield from plan_lines(trials, self.options, directory.log_dir, directory.resumption, graders, width)
        yield f"next: {shlex.join(['pytest', *(word for word in args if word not in names.ours('--plan'))])}"

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
        if self._page is not None:
            self._page.stop()
        if self._plays is not None:
            self._plays.close()
        return exitstatus
