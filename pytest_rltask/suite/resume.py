"""Going on with a run: which of its trials count, which are to be played, and what forbids to mix old and new ones.

A trial that reached its grade is never played again, whatever it scored. Old and new trials make one pass rate, so
they must be trials of one thing: where the task, seeds, limits, the prompt, tools or the model changed, none is played.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.analysis.changed import WAYS, Changed, all_changed, is_accepted, play_again, reuse
from pytest_rltask.graders.fingerprint import Grader
from pytest_rltask.models.model_settings import split_name
from pytest_rltask.models.named import changed_settings
from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.images import changed_images
from pytest_rltask.run.load import Run, load_header, load_plan, load_records
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.named import find_run
from pytest_rltask.run.planned import PlannedTrial, split_trial_id
from pytest_rltask.run.record import Record
from pytest_rltask.suite.plan import Entry, Plan

__all__ = ["Resumption", "changes", "outlook", "probed", "resumption", "united"]


class Opened(str):
    """A phrase on how an episode differs from what it was to the model: to be played again, or counted as it was."""

    trial: PlannedTrial
    """The trial that is planned with the episode."""

    def __new__(cls, text: str, trial: PlannedTrial) -> Opened:
        phrase = super().__new__(cls, text)
        phrase.trial = trial
        return phrase


Probe = Callable[[PlannedTrial, int], Record]
"""Opens the episode of a planned trial's task and a seed, as :func:`pytest_rltask.trial.play.probe` does."""


class Resumption:
    """A run that is gone on with.

    Args:
        path: its directory.
        since: when this invocation began.

    Raises:
        RunLogError: it cannot be read.
    """

    def __init__(self, path: Path, *, since: str) -> None:
        from pytest_rltask.report.command_line import short_path

        self.shown = short_path(path)
        """The directory as a person would type it."""
        header = load_header(path)
        if not isinstance(header.get("id"), str) or not isinstance(header.get("command"), str):
            raise RunLogError(f"{path} is not a run directory of pytest-rltask: its run.json has no id or command")
        self.run = Run(path, header, _plan(path))
        load_records(self.run)
        self._since = since
        self.header: dict[str, Any] = header | {"path": str(path)}  # it may have been moved

    def refusal(
        self,
        plan: Plan,
        changed: list[Changed],
        *,
        way: str | None,
        sequential: bool,
        sandbox: str,
    ) -> str:
        """Say in a line why trials cannot be played as part of this run; empty if they can.

        Args:
            plan: what is to be played.
            changed: recorded trials whose grader changed. Those of changed prompts and tools are added to it.
            way: what the user says is to become of these.
            sequential: whether runs are told of earlier ones.
            sandbox: what isolates the code that tasks run.
        """

        def probe(trial: PlannedTrial, seed: int) -> Record:
            return probed(plan.entries[trial.trial_id], seed, sandbox)

        found = [*others_alone(self.run, plan.trials), *changes(self.run, plan.trials, probe)]
        if strange := self._strangers(plan.trials):
            return f"--resume {self.shown}: {strange}"
        told_of_others = self.run.header.get("sequential", sequential)
        if told_of_others != sequential and any(record.graded for record in self.run.records.values()):
            found.append("--sequential was " + ("given, and is no more" if told_of_others else "not given, and is now"))
        asked = [] if way else changed
        if not found and not asked:
            return ""
        phrases = [f"what grades task {one.today.task} changed: {one.words}" for one in asked]
        if any(not isinstance(phrase, Opened) for phrase in found):
            said = "; ".join(dict.fromkeys([*found, *phrases]))
            return f"--resume {self.shown}: {said}; undo that, or play a new run without --resume"
        ways = [one for one in WAYS if not found or one != "regrade"]
        if found and way in ways:
            known = {(one.today.test, one.today.model) for one in changed}
            changed += seen_otherwise(self.run, (one for one in found if isinstance(one, Opened)), known)
            return ""
        asked_for = f" --changed={way}" if way else ""
        does = "no recorded call answers what a model would see now; " if found else ""
        write = ", ".join(f"--resume={self.shown} --changed={one} ({WAYS[one]})" for one in ways)
        said = "; ".join(dict.fromkeys([*phrases, *found]))
        return f"--resume {self.shown}{asked_for}: {said}; {does}write {write}; --plan lists what each does"

    def _strangers(self, planned: Iterable[PlannedTrial]) -> str:
        """Say that the run's tests are others by name, though their functions are the same; empty if they are not.

        pytest names a test by its file's path below the folder that it takes for the project's.
        """
        today = {split_trial_id(trial.test)[0] for trial in planned}
        graded = [record for record in self.run.records.values() if record.graded]
        recorded = {split_trial_id(record.trial_id)[0] for record in graded}
        here, there = ({test.partition("::")[2]: test for test in sorted(tests)} for tests in (today, recorded))
        same = sorted(here.keys() & there.keys())
        if not same or today & recorded:
            return ""
        return (
            f"none of its {len(graded)} graded trials would be reused: its tests are named {there[same[0]]}, today's "
            f"{here[same[0]]}; start pytest from the folder that the run was started from, with its paths, and write "
            f"--resume={self.shown} as one word: of a folder as a word of its own pytest takes its configuration"
        )

    def changed(self, planned: Iterable[PlannedTrial], graders: Mapping[str, Grader], way: str | None) -> list[Changed]:
        """Return the recorded trials whose grader has changed, by test and model."""
        return all_changed(self.run, planned, graders, way)

    def decide(self, way: str | None, changed: list[Changed], plan: Plan, writer: RunWriter, sandbox: str) -> None:
        """Have become of recorded trials what the user chose, and read the run again."""
        if not changed or way is None:
            return
        if way == "regrade":
            from pytest_rltask.analysis.regrade import regrade
            from pytest_rltask.suite.playing import usable_cores

            specs = {one.today.trial_id: plan.entries[one.today.trial_id].spec(sandbox) for one in changed}
            regrade(changed, specs, writer, cores=usable_cores())
        elif way == "rerun":
            play_again(changed, writer)
        else:
            reuse(changed, writer)
        self.read_again()

    def read_again(self) -> None:
        """Read the run's trials as they are on disk now."""
        self.run = Run(self.run.path, self.run.header, _plan(self.run.path))
        load_records(self.run)

    def reused(self, planned: Iterable[PlannedTrial]) -> dict[str, Record]:
        """Return the records, by trial id, of the planned trials that are not to be played."""
        found = {trial.trial_id: self.run.records.get(trial.trial_id) for trial in planned}
        return {
            one: record for one, record in found.items() if record and (record.graded or _is_lost(record, self._since))
        }

    def headline(self, collected: Iterable[str]) -> str:
        """Say in a line what becomes of the trials among collected items, once they are planned; empty without any."""
        planned = {trial.trial_id for trial in _plan(self.run.path)}
        ids = [nodeid for nodeid in dict.fromkeys(collected) if nodeid in planned]
        lost = {one for one in ids if one in self.run.records and _is_lost(self.run.records[one], self._since)}
        said = outlook(self.run, [one for one in ids if one not in lost])
        told = f", {len(lost)} could not be graded anew" if lost else ""
        return f"rltask: resuming {self.shown}: {said}{told}" if ids else ""


def _is_lost(record: Record, since: str) -> bool:
    last = record.history[-1] if record.history else None
    return last is not None and last.how in ("replay", "artifacts") and last.at >= since and record.fault is not None


def seen_otherwise(run: Run, opened: Iterable[Opened], known: set[tuple[str, str]]) -> Iterator[Changed]:
    """Yield the recorded trials whose model would see something else now, where no changed code tells so already."""
    for phrase in opened:
        today = phrase.trial
        if (today.test, today.model) not in known:
            known.add((today.test, today.model))
            own = (old.trial_id for old in run.plan if (old.test, old.model) == (today.test, today.model))
            records = [run.records[one] for one in own if one in run.records and run.records[one].graded]
            yield Changed(today, records, str(phrase), thresholds=None)


def _plan(path: Path) -> list[PlannedTrial]:
    return load_plan(path) if (path / "plan.json").exists() else []  # it was killed before anything was planned


def resumption(wanted: str, log_dir: str, cwd: Path, *, since: str, hold: Callable[[Path], None]) -> Resumption:
    """Return the run that ``--resume`` names.

    Args:
        wanted: what it says.
        log_dir: where the runs are.
        cwd: what paths are relative to.
        since: when this invocation began.
        hold: called with the run directory before its trials are read, so that nobody adds to them any more.

    Raises:
        pytest.UsageError: it names none, or one that cannot be held.
    """
    try:
        path = find_run(wanted, cwd / log_dir, cwd)
        load_header(path)  # nothing is written into what is no run directory
        hold(path)
        return Resumption(path, since=since)
    except (RunLogError, OSError) as error:
        write = "write --resume=DIR, or leave it out to play a new run"
        raise pytest.UsageError(f"--resume {shlex.quote(wanted)}: {error}; {write}") from None


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


def united(old: Iterable[PlannedTrial], new: list[PlannedTrial]) -> list[PlannedTrial]:
    """Return one plan of two, test by test and model by model with their runs in order; new ones replace old ones."""
    trials = {trial.trial_id: trial for trial in [*old, *new]}
    groups: dict[tuple[str, str], list[PlannedTrial]] = {}
    for trial in trials.values():
        groups.setdefault((trial.test, trial.model), []).append(trial)
    graders = {(trial.test, trial.model): trial.grader for trial in new}
    return [
        replace(trial, grader=graders.get(key, trial.grader))  # the runs of a test and model share what grades them
        for key, group in groups.items()
        for trial in sorted(group, key=lambda trial: trial.run)
    ]


def others_alone(previous: Run, planned: Iterable[PlannedTrial]) -> Iterator[str]:
    """Yield the tests that other models alone are to play: most likely the wrong run, or the wrong model.

    A model that joins those which have played is welcome: its trials have a pass rate of their own.
    """
    played: dict[str, list[str]] = {}
    for trial in previous.plan:
        if (record := previous.records.get(trial.trial_id)) and record.graded:
            played.setdefault(trial.test, []).append(record.model)
    today: dict[str, list[str]] = {}
    for trial in planned:
        today.setdefault(trial.test, []).append(trial.model)
    for test, models in today.items():
        before, now = dict.fromkeys(played.get(test, ())), dict.fromkeys(models)
        if before and not before.keys() & now.keys():
            name, was = test.partition("::")[2] or test, ", ".join(before)
            add = " ".join(f"--model {shlex.quote(model)}" for model in (*before, *now))
            how = _set_otherwise(before, now)
            yield how or f"{name} was played by {was}, now {', '.join(now)} (to add a model, write {add})"


def _set_otherwise(before: Iterable[str], now: Iterable[str]) -> str:
    """Say which settings changed where the one model that plays is the one which played; empty if it is another."""
    (was, *more), (this, *others) = before, now
    if more or others:
        return ""
    changed = changed_settings(was, this)
    add = f"--model {shlex.quote(was)} --model {shlex.quote(this)}"
    return f"{'; '.join(changed)} (to play {split_name(was)[0]} with both, write {add})" if changed else ""


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
    pairs = [pair for pair in pairs if not is_accepted(pair[1], pair[2])]
    firsts = {(new.test, new.model): (record, new) for _, record, new in reversed(pairs)}
    for record, new in reversed(firsts.values()):
        yield from _opened(record, new, probe)


def _differences(old: PlannedTrial, record: Record, new: PlannedTrial) -> Iterator[tuple[str, str]]:
    """Yield, by kind, how a trial differs from one that is planned now, be it the same or another run of its test."""
    name = old.trial_id.partition("::")[2] or old.trial_id
    if record.model != new.model:
        yield "model", f"{name} was played by {record.model}, now {new.model}"
    elif old.trial_id != new.trial_id and old.run == new.run:
        # Its model was the only one, and is one of several now, or the other way round.
        yield "name", f"{name} is now {new.trial_id.partition('::')[2]}: give the same --model options as before"
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
        yield Opened(f"the prompt of task {new.task} changed (seed {record.seed})", new)
    if today.tools_digest != record.tools_digest:
        yield Opened(f"the tools of task {new.task} changed ({_tools(record.tools, today.tools)})", new)
    if said := changed_images(record.images, today.images):
        yield Opened(f"the sandbox of task {new.task} changed ({said})", new)


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


def probed(entry: Entry, seed: int, sandbox: str) -> Record:
    """Open the episode of a trial's task and a seed, and close it again."""
    from pytest_rltask.trial.event_loop import run
    from pytest_rltask.trial.play import probe

    return run(probe(replace(entry.spec(sandbox), seed=seed)))
