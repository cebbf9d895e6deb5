"""What one pytest process knows of a run: its settings, its items' trials, the engine and the run directory.

The plugin's hooks are thin; what they do stands here. One object of this class lives in ``config.stash``, in the
controller of pytest-xdist as in each worker. Workers play and write; the controller reads what they wrote.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_rltask.models.named import ModelName, load_replay, missing_key, parse_model
from pytest_rltask.options import Options
from pytest_rltask.record import SCHEMA_VERSION, Fault, Outcome, Record
from pytest_rltask.runlog import PlannedTrial, RunWriter, choose_run_dir, find_run_dir
from pytest_rltask.task import Band, Limits, Task
from pytest_rltask.tools import DefinitionError

if TYPE_CHECKING:
    from pytest_rltask.engines.local import LocalEngine
    from pytest_rltask.report.summary import Summary
    from pytest_rltask.report.terminal import Line
    from pytest_rltask.trial import Trial

__all__ = ["Session"]

RECORD_KEY = pytest.StashKey[Record]()


@dataclass(frozen=True)
class TrialParam:
    """The parameter of one item: which run of which task by whom."""

    task: Task
    task_name: str
    model: ModelName
    run: int
    seed: int
    limits: Limits
    band: Band

    @property
    def id(self) -> str:
        """The part of the node id that names the run."""
        return f"run-{self.run:02d}"


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
        self.models = [_checked_model(name) for name in self.options.model]
        self.tests_by_task: dict[str, str] = {}
        self.replays: dict[str, dict[tuple[str, int], Record]] = {}
        self.fatal: str | None = None
        self._headline_shown = False  # each worker of pytest-xdist gives occasion to
        self._writer: RunWriter | None = None
        self._engine: LocalEngine | None = None
        handed = getattr(config, "workerinput", {}).get("rltask")
        self.header: dict[str, Any] = json.loads(handed) if handed else self._new_header()

    @property
    def is_worker(self) -> bool:
        """Whether this process is a worker of pytest-xdist."""
        return hasattr(self.config, "workerinput")

    @property
    def run_dir(self) -> Path | None:
        """The run directory; None as long as no process of the run planned a trial."""
        return self._writer.path if self._writer else find_run_dir(Path(self.header["path"]), self.header["id"])

    @property
    def command(self) -> str:
        """The command line that reproduces the run."""
        return str(self.header["command"])

    # Collection: marker -> parameters -> plan

    def parametrize(self, metafunc: pytest.Metafunc, marker: pytest.Mark) -> None:
        """Give a marked test one item for each model and run.

        Raises:
            DefinitionError: the marker or its task cannot be used.
        """
        where = metafunc.definition.nodeid
        if "trial" not in metafunc.fixturenames:
            raise DefinitionError(
                f"{where} has the marker rltask but does not use its trial; "
                f"write `def {metafunc.function.__name__}(trial):`"
            )
        task = self._task(marker, where)
        name = marker.kwargs.get("name") or task.name
        if self.tests_by_task.setdefault(name, where) != where:
            raise DefinitionError(
                f"task name {name!r} is used by {self.tests_by_task[name]} and {where}; "
                f'name one of them: @pytest.mark.rltask(task=..., name="another")'
            )
        params = list(self._params(task, name, marker, where))
        ids = [param.id if len(self.models) == 1 else f"{param.model.label}-{param.id}" for param in params]
        metafunc.parametrize("trial", params, ids=ids, indirect=True)

    def plan(self, items: Iterable[pytest.Item]) -> None:
        """Write down what is going to be played, before the first trial."""
        planned = [_planned(item, param) for item in items if (param := _param(item))]
        if planned and not self.config.option.collectonly:
            header = self.header | _facts(self.config.rootpath)
            self._writer = RunWriter(Path(self.header["path"]), self._writer_name, header)
            self._writer.plan(planned)

    @property
    def _writer_name(self) -> str:
        return str(getattr(self.config, "workerinput", {}).get("workerid", "main"))

    def _task(self, marker: pytest.Mark, where: str) -> Task:
        example = "@pytest.mark.rltask(task=MyTask())"
        if marker.args or "task" not in marker.kwargs:
            raise DefinitionError(f"{where}: the marker rltask takes keywords and needs a task; write {example}")
        unknown = set(marker.kwargs) - {"task", "runs", "band", "name"}
        if unknown:
            raise DefinitionError(
                f"{where}: the marker rltask knows no {', '.join(sorted(unknown))}; it takes task, runs, band and name"
            )
        task = marker.kwargs["task"]
        if isinstance(task, type) and issubclass(task, Task):
            raise DefinitionError(f"{where}: task is the class {task.__name__}; write task={task.__name__}()")
        if not isinstance(task, Task) and callable(task):
            task = task(self.config)
        if not isinstance(task, Task):
            raise DefinitionError(f"{where}: task is {task!r}, which is no Task; write {example}")
        return task

    def _params(self, task: Task, name: str, marker: pytest.Mark, where: str) -> Iterable[TrialParam]:
        options = self.options
        runs = options.runs if "runs" in options.given else _marked_runs(marker, where) or options.runs
        band = options.band if "band" in options.given else _marked_band(marker, where) or options.band or task.band
        limits = replace(
            task.limits,
            turns=options.conv_steps or task.limits.turns,
            wall_s=options.trial_timeout or task.limits.wall_s,
        )
        seeds = [options.seed + run for run in range(runs)]
        for model in self.models:
            self._check_playable(model, task, name, seeds)
            for run, seed in enumerate(seeds):
                yield TrialParam(task, name, model, run, seed, limits, band or Band())

    def _check_playable(self, model: ModelName, task: Task, name: str, seeds: list[int]) -> None:
        if model.kind == "policy" and model.argument not in task.policies:
            ships = ", ".join(f"policy:{policy}" for policy in task.policies) or "none"
            raise DefinitionError(f"--model {model.name}: task {name} ships no such policy; it ships {ships}")
        if model.kind == "replay":
            missing = [seed for seed in seeds if (name, seed) not in self._replay(model)]
            if missing:
                recorded = sorted(seed for task_name, seed in self._replay(model) if task_name == name)
                has = f"seeds {recorded[0]} to {recorded[-1]}" if recorded else "no trial of it"
                raise DefinitionError(
                    f"--model {model.name}: no recorded trial of task {name} with seed {missing[0]}; it has {has}: "
                    "give its --seed and --runs"
                )
        if not self.config.option.collectonly and (problem := missing_key(model, os.environ)):
            raise DefinitionError(problem)

    def _replay(self, model: ModelName) -> dict[tuple[str, int], Record]:
        if model.name not in self.replays:
            try:
                self.replays[model.name] = load_replay(model.argument)
            except ValueError as error:
                raise DefinitionError(str(error)) from None
        return self.replays[model.name]

    def headline(self) -> str:
        """Return, the first time, the lines that reproduce the run; empty if there are no trials."""
        run_dir = self.run_dir
        if run_dir is None or self._headline_shown:
            return ""
        self._headline_shown = True
        return f"rltask: {self.command}\nrltask: records in {run_dir}"

    # Running: parameter -> record -> outcome of the item

    def play(self, item: pytest.Item, param: TrialParam) -> Trial:
        """Play an item's trial, put it on disk, and return it; an errored one errors the item."""
        from pytest_rltask.report.transcript import render
        from pytest_rltask.trial import Trial, TrialSpec

        spec = TrialSpec(
            trial_id=item.nodeid,
            task=param.task,
            task_name=param.task_name,
            model=param.model.name,
            run=param.run,
            seed=param.seed,
            limits=param.limits,
        )
        writer = self._writer
        assert writer is not None, "items were planned"
        record = self._local_engine().play(spec)
        writer.append(record)
        transcript = writer.write_transcript(record, render(record))
        item.stash[RECORD_KEY] = record
        item.add_report_section("setup", "trial", f"{_oneline(record)}\ntranscript: {transcript}")
        if record.fault is not None:
            if record.fault.fatal:
                self.fatal = f"{param.model.name}: {record.fault.message}"
                item.session.shouldstop = f"no trial can be played: {self.fatal}"
            pytest.fail(_explained(record.fault), pytrace=False)
        return Trial(param.task, record)

    def settle(self, item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport) -> None:
        """Turn the outcome of a judged trial's test into the trial's outcome, and a miss into its own report."""
        record = item.stash.get(RECORD_KEY, None)
        if record is None or record.fault is not None or call.when != "call":
            return
        missed = call.excinfo is not None and call.excinfo.errisinstance(AssertionError)
        if record.outcome == "cheated":
            missed = missed or call.excinfo is None  # no assertion can turn cheating into a pass
        elif missed or call.excinfo is None:
            self._amend(record, "failed" if missed else "passed", _said(call))
        item.user_properties += _properties(record)
        if missed:
            report.outcome = "skipped"
            report.wasxfail = record.reason or _said(call)
        if missed or report.passed:
            # One plain string: whatever else crosses to the controller may not be serialisable.
            vars(report)["rltask_outcome"] = str(record.outcome)

    def _amend(self, record: Record, outcome: Outcome, said: str) -> None:
        """Let the test's assertion overrule the grader, and say so on disk."""
        if record.outcome == outcome:
            return
        if record.grade_passed is None:
            why = said
        else:
            why = f"the test's assertion overruled the grader, which said {record.outcome}" + (said and f": {said}")
        record.outcome, record.reason = outcome, why
        assert self._writer is not None
        self._writer.amend(record.trial_id, outcome, why)

    def _local_engine(self) -> LocalEngine:
        if self._engine is None:
            from pytest_rltask.engines.local import LocalEngine
            from pytest_rltask.models.named import make_model

            self._engine = LocalEngine(lambda name: make_model(parse_model(name)))
        return self._engine

    # The end of the run: records on disk -> summary -> reports, gate

    def summarise(self) -> Summary | None:
        """Summarise what is on disk and write the report files; None if no trial was planned."""
        from pytest_rltask.report.files import write_reports
        from pytest_rltask.report.summary import summarise
        from pytest_rltask.runlog import load_run

        if self.run_dir is None or not (self.run_dir / "plan.json").exists():
            return None
        run = load_run(self.run_dir)
        summary = summarise(run, self.options.gate)
        write_reports(run, summary)
        return summary

    def summary_lines(self, summary: Summary, width: int, *, unicode: bool, interrupted: bool) -> Iterator[Line]:
        """Return the lines of the terminal's summary."""
        from pytest_rltask.report.terminal import summary_lines

        assert self.run_dir is not None, "a summary is of a run directory"
        return summary_lines(
            summary,
            run_dir=self.run_dir,
            command=self.command,
            width=width,
            unicode=unicode,
            interrupted=interrupted,
        )

    def close(self) -> None:
        """Give back the engine."""
        if self._engine is not None:
            self._engine.close()
            self._engine = None

    # Identity of the run

    def _new_header(self) -> dict[str, Any]:
        log_dir = Path(self.config.invocation_params.dir, self.options.log_dir)
        return {
            "schema": SCHEMA_VERSION,
            "id": uuid.uuid4().hex,
            "path": str(choose_run_dir(log_dir, datetime.now())),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": self._reproduction(),
            "gate": self.options.gate,
        }

    def _reproduction(self) -> str:
        """Return the command as typed, with every setting that it left to a default."""
        typed = [str(argument) for argument in self.config.invocation_params.args]
        flags = {word.partition("=")[0] for word in typed}
        words = iter(self.options.command_line())
        missing = [word for pair in zip(words, words, strict=True) if pair[0] not in flags for word in pair]
        return shlex.join(["pytest", *typed, *missing])


def _checked_model(name: str) -> ModelName:
    try:
        return parse_model(name)
    except ValueError as error:
        raise pytest.UsageError(f"--model: {error}") from None


def _marked_runs(marker: pytest.Mark, where: str) -> int | None:
    runs = marker.kwargs.get("runs")
    if runs is None or (type(runs) is int and runs >= 1):
        return runs
    raise DefinitionError(f"{where}: runs={runs!r} in the marker is not a whole number of at least 1; write runs=10")


def _marked_band(marker: pytest.Mark, where: str) -> Band | None:
    band = marker.kwargs.get("band")
    if band is None or isinstance(band, Band):
        return band
    try:
        low, high = band
        return Band(float(low), float(high))
    except (TypeError, ValueError):
        raise DefinitionError(
            f"{where}: band={band!r} in the marker is not a pair of shares with low below high; write band=(0.10, 0.40)"
        ) from None


def _param(item: pytest.Item) -> TrialParam | None:
    callspec = getattr(item, "callspec", None)
    param = callspec.params.get("trial") if callspec else None
    return param if isinstance(param, TrialParam) else None


def _planned(item: pytest.Item, param: TrialParam) -> PlannedTrial:
    return PlannedTrial(
        trial_id=item.nodeid,
        test=_test_id(item, param),
        task=param.task_name,
        task_digest=param.task.digest(),
        model=param.model.name,
        run=param.run,
        seed=param.seed,
        band=(param.band.low, param.band.high),
    )


def _test_id(item: pytest.Item, param: TrialParam) -> str:
    """Return the node id without model and run; other parameters of the test stay."""
    base, bracket, inside = item.nodeid.partition("[")
    own = (f"{param.model.label}-{param.id}", param.id)
    rest = "-".join(part for part in [_without(inside.rstrip("]"), own)] if part)
    return f"{base}{bracket}{rest}]" if rest else base


def _without(inside: str, own: tuple[str, str]) -> str:
    for part in own:
        if part in inside:
            return inside.replace(part, "", 1).strip("-")
    return inside


def _said(call: pytest.CallInfo[Any]) -> str:
    return str(call.excinfo.value).splitlines()[0] if call.excinfo and str(call.excinfo.value) else ""


def _explained(fault: Fault) -> str:
    request = f" [request {fault.request_id}]" if fault.request_id else ""
    details = f"\n{fault.details}" if fault.details else ""
    return f"errored trial, {fault.kind} fault: {fault.message}{request}{details}"


def _oneline(record: Record) -> str:
    score = "no grade" if record.score is None else f"score {record.score:g}"
    return f"{record.outcome}: {score}" + (f"; {record.reason}" if record.reason else "")


def _properties(record: Record) -> list[tuple[str, object]]:
    """Return what JUnit shall say of a trial: flat, plain values."""
    cost = record.cost_usd
    return [
        ("task", record.task),
        ("outcome", record.outcome),
        ("score", record.score),
        ("turns", record.turns),
        ("cost_usd", "unknown" if cost is None else round(cost, 6)),
    ]


def _facts(root: Path) -> dict[str, Any]:
    """Return what else decides how a run goes: versions and the commit."""
    from importlib.metadata import distributions

    versions = {dist.name: dist.version for dist in distributions() if dist.name}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(sorted(versions.items(), key=lambda entry: entry[0].lower())),
        "git_commit": _git_commit(root),
    }


def _git_commit(root: Path) -> str | None:
    """Return the commit of the suite, with "+" if files differ from it; None outside a repository."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None
