"""Going on with a run: which of its trials count, which are to be played, and what forbids to mix old and new ones.

A trial that reached its grade is never played again, whatever it scored. Old and new trials make one pass rate, so
they must be trials of one thing: where the task, seeds, limits, the prompt, tools or the model changed, none is played.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.items import TrialParam
from pytest_rltask.record import Record
from pytest_rltask.runlog import PlannedTrial, Run, RunLogError, load_header, load_plan, load_records

__all__ = ["LAST", "Resumption", "changes", "find_run", "outlook", "probed", "resumption", "united"]

LAST = "last"
"""What to write for the newest run directory instead of its path."""

Probe = Callable[[PlannedTrial, int], Record]
"""Opens the episode of a planned trial's task and a seed, as :func:`pytest_rltask.trial.probe` does."""


class Resumption:
    """A run that is gone on with.

    Args:
        path: its directory.

    Raises:
        RunLogError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        from pytest_rltask.report.terminal import short_path

        self.shown = short_path(path)
        """The directory as a person would type it."""
        header = load_header(path)
        if not isinstance(header.get("id"), str) or not isinstance(header.get("command"), str):
            raise RunLogError(f"{path} is not a run directory of pytest-rltask: its run.json has no id or command")
        self.run = Run(path, header, _plan(path))
        load_records(self.run)
        self.header: dict[str, Any] = header | {"path": str(path)}  # it may have been moved

    def refusal(
        self, planned: list[PlannedTrial], params: Mapping[str, TrialParam], *, sequential: bool, sandbox: str
    ) -> str:
        """Say in a line why trials cannot be played as part of this run; empty if they can."""
        found = list(changes(self.run, planned, lambda trial, seed: probed(params[trial.trial_id], seed, sandbox)))
        told_of_others = self.run.header.get("sequential", sequential)
        if told_of_others != sequential and any(record.graded for record in self.run.records.values()):
            found.append("--sequential was " + ("given, and is no more" if told_of_others else "not given, and is now"))
        if not found:
            return ""
        return f"--resume {self.shown}: {'; '.join(found)}; undo that, or play a new run without --resume"

    def reused(self, planned: Iterable[PlannedTrial]) -> dict[str, Record]:
        """Return the records, by trial id, of the planned trials that need not be played."""
        records = self.run.records
        ids = [trial.trial_id for trial in planned]
        return {trial_id: records[trial_id] for trial_id in ids if trial_id in records and records[trial_id].graded}

    def headline(self, collected: Iterable[str]) -> str:
        """Say in a line what becomes of the trials among collected items, once they are planned; empty without any."""
        planned = {trial.trial_id for trial in _plan(self.run.path)}
        ids = [nodeid for nodeid in dict.fromkeys(collected) if nodeid in planned]
        return f"rltask: resuming {self.shown}: {outlook(self.run, ids)}" if ids else ""


def _plan(path: Path) -> list[PlannedTrial]:
    return load_plan(path) if (path / "plan.json").exists() else []  # it was killed before anything was planned


def resumption(wanted: str, log_dir: str, cwd: Path, *, hold: Callable[[Path], None]) -> Resumption:
    """Return the run that ``--resume`` names.

    Args:
        wanted: what it says.
        log_dir: where the runs are.
        cwd: what paths are relative to.
        hold: called with the run directory before its trials are read, so that nobody adds to them any more.

    Raises:
        pytest.UsageError: it names none, or one that cannot be held.
    """
    try:
        path = find_run(wanted, cwd / log_dir, cwd)
        load_header(path)  # nothing is written into what is no run directory
        hold(path)
        return Resumption(path)
    except (RunLogError, OSError) as error:
        write = "write --resume DIR, or leave it out to play a new run"
        raise pytest.UsageError(f"--resume {shlex.quote(wanted)}: {error}; {write}") from None


def find_run(wanted: str, log_dir: Path, cwd: Path) -> Path:
    """Return the directory that ``--resume`` names.

    Raises:
        RunLogError: the last one is wanted, and there is none.
    """
    if wanted != LAST:
        return cwd / wanted
    found = []
    for path in log_dir.glob("run_*"):
        try:
            created = str(load_header(path).get("created", ""))
        except RunLogError as error:
            if "later version" not in str(error):
                continue
            created = "~"  # told when it is loaded: to go on with an older one instead would be a surprise
        found.append((created, len(path.name), path.name, path))
    if not found:
        raise RunLogError(f"{log_dir} holds no run directory")
    return max(found)[-1]


def outlook(run: Run, ids: Iterable[str]) -> str:
    """Say what becomes of trials when a run is gone on with.

    Example:
        >>> outlook(Run(Path("logs"), {}, []), ["test_sum[run-00]"])
        '0 trials reused, 1 missing to be played'
    """
    records = [run.records.get(trial_id) for trial_id in ids]
    reused = sum(record is not None and record.graded for record in records)
    missing = records.count(None)
    errored = len(records) - reused - missing
    left = [f"{errored} errored one{'s' * (errored != 1)}"] * (errored > 0) + [f"{missing} missing"] * (missing > 0)
    return f"{reused} trial{'s' * (reused != 1)} reused, {' and '.join(left) or 'none'} to be played"


def united(old: Iterable[PlannedTrial], new: Iterable[PlannedTrial]) -> list[PlannedTrial]:
    """Return one plan of two, test by test and model by model with their runs in order; new ones replace old ones."""
    trials = {trial.trial_id: trial for trial in [*old, *new]}
    groups: dict[tuple[str, str], list[PlannedTrial]] = {}
    for trial in trials.values():
        groups.setdefault((trial.test, trial.model), []).append(trial)
    return [trial for group in groups.values() for trial in sorted(group, key=lambda trial: trial.run)]


def changes(previous: Run, planned: Iterable[PlannedTrial], probe: Probe) -> Iterator[str]:
    """Yield what keeps the trials of a run that count from being those of a new plan, one phrase a change.

    Trials of the same test and model count although the new plan leaves them out: they share a pass rate.
    """
    plan = {trial.trial_id: trial for trial in planned}
    groups: dict[tuple[str, str], dict[int, PlannedTrial]] = {}
    for trial in plan.values():
        groups.setdefault((trial.test, trial.model), {})[trial.run] = trial
    pairs = []
    for old in previous.plan:
        record = previous.records.get(old.trial_id)
        runs = groups.get((old.test, old.model), {})
        new = plan.get(old.trial_id) or runs.get(old.run) or next(iter(runs.values()), None)
        if new is not None and record is not None and record.graded:
            pairs.append((old, record, new))
    differences: dict[tuple[str, ...], list[str]] = {}
    for old, record, new in pairs:
        for kind, said in _differences(old, record, new):
            differences.setdefault((kind, new.test, new.model), []).append(said)
    for phrases in differences.values():
        first, *others = dict.fromkeys(phrases)
        yield first + (f" (and {len(others)} more)" if others else "")
    firsts = {(new.test, new.model): (record, new) for _, record, new in reversed(pairs)}
    yield from dict.fromkeys(said for record, new in reversed(firsts.values()) for said in _opened(record, new, probe))


def _differences(old: PlannedTrial, record: Record, new: PlannedTrial) -> Iterator[tuple[str, str]]:
    """Yield, by kind, how a trial differs from one that is planned now, be it the same or another run of its test."""
    name = old.trial_id.partition("::")[2] or old.trial_id
    if record.model != new.model:
        yield "model", f"{name} was played by {record.model}, now {new.model}"
    elif old.trial_id != new.trial_id and old.run == new.run:
        # Its model was the only one, and is one of several now, or the other way round.
        yield "name", f"{name} is now {new.trial_id.partition('::')[2]}: give the same --model options as before"
    if record.task_digest != new.task_digest:
        yield "task", f"task {new.task} changed (digest was {record.task_digest}, is {new.task_digest})"
    seed = new.seed + record.run - new.run
    if record.seed != seed:
        yield "seed", f"{name} was played with seed {record.seed}, now {seed}"
    for limit, was in old.limits.items():
        if new.limits.get(limit, was) != was:
            yield limit, f"limit {limit} of task {new.task} was {was}, is {new.limits[limit]}"


def _opened(record: Record, new: PlannedTrial, probe: Probe) -> Iterator[str]:
    """Yield how the episode of a trial, opened again, differs from what it was."""
    today = probe(new, record.seed)
    if today.fault is not None:
        said = " ".join(today.fault.message.split())
        yield f"task {new.task} cannot be compared, {today.fault.kind} fault: {said}"
        return
    if today.prompt_digest != record.prompt_digest:
        yield f"the prompt of task {new.task} changed (seed {record.seed})"
    if today.tools_digest != record.tools_digest:
        yield f"the tools of task {new.task} changed ({_tools(record.tools, today.tools)})"


def _tools(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> str:
    """Name the tools that differ.

    Example:
        >>> _tools([{"name": "run"}, {"name": "look"}], [{"name": "look", "description": "Look."}])
        'no more run, other look'
    """
    was, now = ({tool["name"]: tool for tool in tools} for tools in (old, new))
    told = {
        "no more": [name for name in was if name not in now],
        "new": [name for name in now if name not in was],
        "other": [name for name in now if name in was and now[name] != was[name]],
    }
    return ", ".join(f"{how} {', '.join(names)}" for how, names in told.items() if names) or "their order"


def probed(param: TrialParam, seed: int, sandbox: str) -> Record:
    """Open the episode of an item's task and a seed, and close it again."""
    from pytest_rltask.loop import run
    from pytest_rltask.trial import TrialSpec, probe

    name, model = param.task_name, param.model.name
    spec = TrialSpec("", param.task, name, model, param.run, seed, param.limits, sandbox=sandbox)
    return run(probe(spec))
