"""From a marked test to its items: one for each model and run, each with the trial it plays.

Everything that can be wrong with a marker, a task or a model's name is found here, before any trial is paid for.
"""

from __future__ import annotations

import inspect
import os
import typing
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

import pytest

from pytest_rltask.models.named import ModelName, load_replay, missing_key, parse_model
from pytest_rltask.options import Options
from pytest_rltask.record import Record
from pytest_rltask.runlog import PlannedTrial, split_trial_id
from pytest_rltask.task import Band, Episode, Limits, Task
from pytest_rltask.tools import DefinitionError, check_tools

__all__ = ["TrialItems", "TrialParam", "is_trial", "may_start_ahead", "params_by_id", "planned", "put_in_order"]


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


class TrialItems:
    """Makes the items of a session's marked tests.

    Raises:
        pytest.UsageError: a model's name names none.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        self.config = config
        self.options = options
        self.models = [_checked_model(name) for name in options.model]
        self._tests_by_task: dict[str, str] = {}
        self._replays: dict[str, dict[tuple[str, int], Record]] = {}

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
        _check_tools(task)
        name = marker.kwargs.get("name") or task.name
        if not isinstance(name, str):
            raise DefinitionError(f'{where}: name={name!r} in the marker is no string; write name="another"')
        if self._tests_by_task.setdefault(name, where) != where:
            raise DefinitionError(
                f"task name {name!r} is used by {self._tests_by_task[name]} and {where}; "
                f'name one of them: @pytest.mark.rltask(task=..., name="another")'
            )
        params = list(self._params(task, name, marker, where))
        ids = [param.id if len(self.models) == 1 else f"{param.model.label}-{param.id}" for param in params]
        metafunc.parametrize("trial", params, ids=ids, indirect=True)

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
            task = _called(task, self.config, where)
        if not isinstance(task, Task):
            raise DefinitionError(f"{where}: task is {task!r}, which is no Task; write {example}")
        return task

    def _params(self, task: Task, name: str, marker: pytest.Mark, where: str) -> Iterable[TrialParam]:
        options = self.options
        runs = options.runs if "runs" in options.given else _marked_runs(marker, where) or options.runs
        marked = None if "band" in options.given else _marked_band(marker, where)
        band = marked or options.band or task.band
        limits = self._limits(task, where)
        seeds = [options.seed + run for run in range(runs)]
        for model in self.models:
            self._check_playable(model, task, name, seeds)
            for run, seed in enumerate(seeds):
                yield TrialParam(task, name, model, run, seed, limits, band)

    def _limits(self, task: Task, where: str) -> Limits:
        try:
            own = task.limits
        except ValueError as error:
            raise DefinitionError(f"{where}: {error}") from None
        if not isinstance(own, Limits):
            raise DefinitionError(f"{where}: the task's limits are {own!r}; return Limits(...)")
        return replace(
            own,
            turns=self.options.conv_steps or own.turns,
            wall_s=self.options.trial_timeout or own.wall_s,
        )

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
        if not self.config.option.collectonly and (problem := missing_key(model, os.environ, task.policies)):
            raise DefinitionError(problem)

    def _replay(self, model: ModelName) -> dict[tuple[str, int], Record]:
        if model.name not in self._replays:
            try:
                self._replays[model.name] = load_replay(model.argument)
            except ValueError as error:
                raise DefinitionError(str(error)) from None
        return self._replays[model.name]


def _checked_model(name: str) -> ModelName:
    try:
        return parse_model(name)
    except ValueError as error:
        raise pytest.UsageError(f"--model: {error}") from None


def _called(make: Callable[[pytest.Config], Task], config: pytest.Config, where: str) -> Task:
    try:
        inspect.signature(make).bind(config)
    except TypeError:
        raise DefinitionError(f"{where}: task must take the configuration; write `task=lambda config: ...`") from None
    return make(config)


def _check_tools(task: Task) -> None:
    """Derive the tools' schemas once now, where `open` says which episode it returns: an error costs nothing yet."""
    try:
        returned = typing.get_type_hints(type(task).open).get("return")
    except NameError:
        return  # the class is not importable from here; its tools are checked when the first episode opens
    if isinstance(returned, type) and issubclass(returned, Episode):
        check_tools(returned)


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


def planned(items: Iterable[pytest.Item]) -> list[PlannedTrial]:
    """Return the trials that the items play, in their order."""
    trials = [_planned(item, param) for item in items if (param := _param(item))]
    return list({trial.trial_id: trial for trial in trials}.values())  # pytest can be told to keep duplicates


def params_by_id(items: Iterable[pytest.Item]) -> dict[str, TrialParam]:
    """Return what the items play, by trial id."""
    return {item.nodeid: param for item in items if (param := _param(item))}


def put_in_order(items: list[pytest.Item]) -> None:
    """Put the runs of each task and model into their order, in the places they hold: ``--ff`` and others shuffle."""
    places: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for place, item in enumerate(items):
        if param := _param(item):
            places.setdefault((_test_id(item, param), param.model.name), []).append((param.run, place))
    shuffled = list(items)
    for own in places.values():
        for place, (_, source) in zip(sorted(place for _, place in own), sorted(own), strict=True):
            items[place] = shuffled[source]


def is_trial(item: pytest.Item) -> bool:
    """Say whether an item plays a trial."""
    return _param(item) is not None


def may_start_ahead(item: pytest.Item) -> TrialParam | None:
    """Return an item's trial if nothing keeps it from starting before the item's turn.

    A mark may skip the item, and a fixture that is set up for it alone may be what its trial needs; fixtures of the
    session are there once the first trial is due.
    """
    if any(item.get_closest_marker(mark) for mark in ("skip", "skipif")):
        return None
    info = getattr(item, "_fixtureinfo", None)  # pytest has no public name for an item's fixtures
    definitions = {name: found[-1] for name, found in getattr(info, "name2fixturedefs", {}).items() if found}
    callspec = getattr(item, "callspec", None)
    own = {"trial", "request", *(callspec.params if callspec else ())}
    alone = [name for name, fixture in definitions.items() if name not in own and fixture.scope != "session"]
    return None if alone else _param(item)


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
        limits=asdict(param.limits),
        sandbox="auto" if param.task.needs_sandbox else "",
    )


def _test_id(item: pytest.Item, param: TrialParam) -> str:
    """Return the node id without model and run; other parameters of the test, which follow them, stay."""
    base, inside = split_trial_id(item.nodeid)
    for own in (f"{param.model.label}-{param.id}", param.id):
        if inside == own or inside.startswith(f"{own}-"):
            inside = inside[len(own) + 1 :]
            break
    return f"{base}[{inside}]" if inside else base
