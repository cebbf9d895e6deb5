"""This process's hold on the run directory: which one it is, who may write there, and what a resumed one holds."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rltask.clock import utc_now
from pytest_rltask.graders.fingerprint import Graders
from pytest_rltask.run.files import RunLogError, find_run_dir
from pytest_rltask.run.load import load_plan
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.media_files import store_media
from pytest_rltask.run.planned import PlannedTrial, split_trial_id
from pytest_rltask.run.provenance import provenance
from pytest_rltask.run.record import Record
from pytest_rltask.suite.command import new_header, unwritable
from pytest_rltask.suite.options import Options
from pytest_rltask.suite.plan import Plan

if TYPE_CHECKING:
    from pytest_rltask.run.lock import RunLock
    from pytest_rltask.suite.resume import Resumption

__all__ = ["Directory"]


class Directory:
    """The run directory as one process of the run holds it.

    Args:
        config: pytest's configuration.
        options: of the run.
        graders: finds out what grades the trials.
        plays_nothing: says whether nothing is going to be played, so that nothing may be written.

    Raises:
        pytest.UsageError: there can be none, or ``--resume`` names none.
    """

    def __init__(
        self, config: pytest.Config, options: Options, graders: Graders, plays_nothing: Callable[[], bool]
    ) -> None:
        self._config, self._options, self._graders = config, options, graders
        self._plays_nothing = plays_nothing
        self.worker: dict[str, Any] = getattr(config, "workerinput", {})
        """What the controller of pytest-xdist told this worker; empty in a process of its own."""
        self.checker = str(self.worker.get("rltask_checker", ""))
        """The worker of pytest-xdist that compares a resumed run with what it was, and writes its plan."""
        self.since = str(self.worker.get("rltask_since") or utc_now())
        """When this invocation began: a run that it resumes has older trials."""
        self.resumption: Resumption | None = None
        """The run that is gone on with; None: it is a new one."""
        self.writer: RunWriter | None = None
        """Where this process writes; None as long as it has planned no trial."""
        self.is_checked = False
        """Whether the plan that a run is resumed with has been accepted and written."""
        self.part: dict[str, Any] = {}
        """Which shard of what whole it is to hold; empty: it is to hold all."""
        self._lock: RunLock | None = None
        handed = self.worker.get("rltask")
        self.header: dict[str, Any] = (
            json.loads(handed) if handed else (self._old_header() or new_header(config, options, self.log_dir))
        )
        """What ``run.json`` says."""

    @property
    def log_dir(self) -> Path:
        """Where the runs are."""
        return Path(self._config.invocation_params.dir, self._options.log_dir)

    @property
    def path(self) -> Path | None:
        """The run directory; None as long as no process of the run planned a trial."""
        if self.resumption and not self.is_checked:
            return None
        return self.writer.path if self.writer else find_run_dir(Path(self.header["path"]), self.header["id"])

    @cached_property
    def plan(self) -> list[PlannedTrial]:
        """All trials of the run, as they are on disk once they are planned."""
        return load_plan(self.path) if self.path else []

    @cached_property
    def unnamed(self) -> set[tuple[str, str]]:
        """Tests, each with a model, whose trials an earlier version named without the model: these names stay."""
        if self._options.resume is None:
            return set()
        with contextlib.suppress(OSError, RunLogError):  # which is told where the run is looked at
            plan = load_plan(Path(self.header["path"]))
            return {(split_trial_id(trial.trial_id)[0], trial.model) for trial in plan if not trial.names_its_model}
        return set()

    @contextlib.contextmanager
    def refusing(self) -> Iterator[None]:
        """Say that the run directory cannot be used, where a block finds that out."""
        try:
            yield
        except (OSError, RunLogError) as error:
            if self.resumption is not None:
                raise pytest.UsageError(f"--resume {self.resumption.shown}: {error}") from None
            raise pytest.UsageError(unwritable(self._options.log_dir, str(error))) from None

    def begin(self, plan: Plan) -> RunWriter:
        """Write down what is going to be played, once it goes together with what the run holds.

        Returns:
            Where this process writes.

        Raises:
            pytest.UsageError: it does not, and the user has not said what is to become of that.
            OSError: it cannot be written.
            RunLogError: what is there cannot be read, or others are at it.
        """
        header = (
            self.header
            | provenance(self._config.rootpath)
            | ({"shard": self.part} if self.part and not self._options.resume else {})
        )
        self._check_part()
        decide = self._checked_changes(plan)
        trials = plan.trials
        if self.resumption:
            from pytest_rltask.suite.resume import united

            trials = united(self.resumption.run.plan, trials)
        self.writer = RunWriter(Path(self.header["path"]), self.writer_name, header)
        self._config.add_cleanup(self.writer.close)
        self.hold(self.writer.path)
        for digest, grader in self._graders.by_digest.items():
            self.writer.note_grader(digest, grader.to_json())
        decide(self.writer)
        if self.resumption is None or self.is_checker:
            self.writer.plan(trials)
        self.plan = trials
        return self.writer

    def _check_part(self) -> None:
        """Make sure that a run is gone on with as the shard, or the whole, that it was started as."""
        if self._options.resume is None:
            return
        was = self.header.get("shard") or {}
        started, now = (f"{shard['index']}/{shard['of']}" if shard else "" for shard in (was, self.part))
        if started != now:
            told = f"it is shard {started} of a run; write --shard {started}" if started else "it is a whole run"
            raise pytest.UsageError(
                f"--resume {self._options.resume}: {told}{'' if started else '; leave out --shard'}"
            )

    def _checked_changes(self, plan: Plan) -> Callable[[RunWriter], None]:
        """Compare a run that is resumed with what is planned, and return what brings its records up to date."""
        options = self._options
        if options.resume is None:
            return lambda writer: None
        from pytest_rltask.suite.resume import Resumption

        self.resumption = resumption = self.resumption or Resumption(Path(self.header["path"]), since=self.since)
        if not self.is_checker:
            return lambda writer: None
        changed = resumption.changed(plan.trials, self._graders.by_digest, options.changed)
        refusal = resumption.refusal(
            plan, changed, way=options.changed, sequential=options.sequential, sandbox=options.sandbox
        )
        if refusal:
            raise pytest.UsageError(refusal)
        return lambda writer: resumption.decide(options.changed, changed, plan, writer, options.sandbox)

    def hold(self, run_dir: Path) -> RunLock:
        """Keep others from going on with the run as long as this process is at it."""
        from pytest_rltask.run.lock import RunLock

        if self._lock is None:
            self._lock = RunLock(run_dir, self.writer_name)
            self._config.add_cleanup(self._lock.release)
        return self._lock

    def join(self) -> RunWriter | None:
        """Return where to write in a run that workers have created; None if they planned no trial."""
        if self.writer is None and (path := self.path):
            self.writer = RunWriter(path, self.writer_name, self.header)
        return self.writer

    def keep(self, record: Record) -> None:
        """Put a trial on disk, with what graded it: a file that is read late may have changed while the run went on."""
        assert self.writer is not None, "what is played was planned"
        grader = self._graders.now(record.grader)
        if grader is not None:
            record.grader = grader.digest
            self.writer.note_grader(grader.digest, grader.to_json())
        try:
            store_media(self.writer.path, record)
        except OSError as error:  # the record is dearer
            record.artifacts_left_out["(images and documents)"] = f"could not be written: {error.strerror}"
        self.writer.append(record)
        record.media = {}

    def recorded(self, plan: Plan) -> dict[str, Record]:
        """Return the records that count already; asked once the first item is due, when they are up to date."""
        if self.resumption is None:
            return {}
        if self._options.changed and not self.is_checker:
            self.resumption.read_again()
        return self.resumption.reused(plan.trials)

    @property
    def is_checker(self) -> bool:
        """Whether this process compares a resumed run with what it was."""
        return self.writer_name == (self.checker or "main")

    @property
    def writer_name(self) -> str:
        """Name of this process within the run."""
        return str(self.worker.get("workerid", "main"))

    def _old_header(self) -> dict[str, Any] | None:
        """Return the header of the run that is to be resumed."""
        if self._options.resume is None:
            return None
        from pytest_rltask.suite.resume import resumption

        cwd = self._config.invocation_params.dir
        self.resumption = resumption(
            self._options.resume, self._options.log_dir, cwd, since=self.since, hold=self._hold_alone
        )
        return self.resumption.header

    def _hold_alone(self, run_dir: Path) -> None:
        if not self._plays_nothing():
            self.hold(run_dir).check_alone()
