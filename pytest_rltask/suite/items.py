"""From a marked test to its items: one for each model and run, each with the trial it plays.

Everything that can be wrong with a marker, a task or a model's name is found here, before any trial is paid for.
"""

from __future__ import annotations

import fnmatch
import inspect
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest

from pytest_rltask.audit.omissions import episode_classes, omissions, toolless
from pytest_rltask.models.judges import judges_of, missing_judge_key, unanswered
from pytest_rltask.models.model_settings import parse_settings, split_name, unfit_for
from pytest_rltask.models.named import (
    ModelName,
    is_paid,
    load_replay,
    missing_key,
    parse_model,
    replayed_limits,
)
from pytest_rltask.models.prices import Prices
from pytest_rltask.models.settings import KEY_VARIABLES
from pytest_rltask.run.record import Record
from pytest_rltask.suite.chosen import judges_chosen, models_of, prices_of
from pytest_rltask.suite.options import DEFAULT_MODEL, Options
from pytest_rltask.suite.person import no_terminal
from pytest_rltask.task import Band, Limits, Task, TaskWarning
from pytest_rltask.tools import DefinitionError, check_tools

__all__ = [
    "TrialItems",
    "TrialParam",
    "is_trial",
    "param_of",
    "plugin_files",
    "replay_differs",
    "warn_if_toolless",
]


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
    judges: Mapping[str, str] = field(default_factory=dict)
    """Who answers for each judge of the task."""

    @property
    def id(self) -> str:
        """The part of the node id that names the run."""
        return f"run-{self.run:02d}"


class TrialItems:
    """Makes the items of a session's marked tests.

    Args:
        config: pytest's configuration.
        options: of the run.
        unnamed: returns the tests, each with a model, whose ids do not name the model: those of a run that is gone on
            with and that an earlier version began.

    Raises:
        pytest.UsageError: a model's name names none.
    """

    def __init__(
        self,
        config: pytest.Config,
        options: Options,
        unnamed: Callable[[], Collection[tuple[str, str]]] = frozenset,
    ) -> None:
        self.config = config
        self._unnamed = unnamed
        self.options = options
        self.models = models_of(options)
        self._judges = judges_chosen(options)
        self._prices = prices = prices_of(options)
        if options.max_cost is not None:
            _check_prices(self.models, prices)
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
        for omission in omissions(task):
            metafunc.definition.warn(TaskWarning(omission))
        params = list(self._params(task, name, marker, where))
        metafunc.parametrize("trial", params, ids=self._ids(params, where), indirect=True)

    def _ids(self, params: Iterable[TrialParam], where: str) -> list[str]:
        short = self._unnamed()
        return [
            param.id if (where, param.model.name) in short else f"{param.model.label}-{param.id}" for param in params
        ]

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
        marked = {} if "band" in options.given else _marked_bands(marker, where)
        limits = self._limits(task, where)
        seeds = [options.seed + run for run in range(runs)]
        for model in self.models:
            judges = self._judges_of(task, name, model)
            self._check_playable(model, task, name, seeds, judges)
            band = _band_of(model, marked) or options.band or task.band
            own = _limits_of(model, limits, where)
            for run, seed in enumerate(seeds):
                yield TrialParam(task, name, model, run, seed, own, band, judges)

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

    def _judges_of(self, task: Task, name: str, model: ModelName) -> Mapping[str, str]:
        try:
            judges = judges_of(task, model, self._judges, is_typed="judge" in self.options.given)
        except ValueError as error:
            raise DefinitionError(f"task {name}, in its judges: {error}") from None
        if said := unanswered(task, judges, name):
            raise DefinitionError(said)
        if self.options.max_cost is not None:
            _check_prices((parse_model(one) for one in judges.values() if is_paid(one)), self._prices)
        return judges

    def _check_playable(
        self, model: ModelName, task: Task, name: str, seeds: list[int], judges: Mapping[str, str]
    ) -> None:
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
        if self.options.plan or self.options.regrade_only or self.config.option.collectonly:
            return  # without a key
        if model.kind == "human" and (problem := no_terminal(self.config)):
            raise DefinitionError(problem)
        may_be_elsewhere = self.options.engine != "local" and not any(map(os.environ.get, KEY_VARIABLES))
        if not may_be_elsewhere and (needed := missing_key(model, os.environ, task.policies)):
            raise DefinitionError(needed)
        for judge, one in judges.items():
            if needed := missing_judge_key(name, judge, one, os.environ):
                raise DefinitionError(needed)

    def recorded(self, param: TrialParam) -> Record:
        """Return the trial that a replay replays."""
        return self._replay(param.model)[param.task_name, param.seed]

    def _replay(self, model: ModelName) -> dict[tuple[str, int], Record]:
        if model.name not in self._replays:
            try:
                self._replays[model.name] = load_replay(model.argument)
            except ValueError as error:
                raise DefinitionError(str(error)) from None
        return self._replays[model.name]


def replay_differs(param: TrialParam, recorded: Record, replayed: Record) -> str:
    """Say in what a replay is of another trial than was recorded; empty if in nothing that a model would see.

    Args:
        param: of the replay.
        recorded: the trial that is replayed.
        replayed: what came of it.
    """
    was = replayed_limits(param.model.argument).get((param.task_name, param.seed), {})
    now = asdict(param.limits)
    changes = [
        *(["the prompt changed"] if recorded.prompt_digest != replayed.prompt_digest else []),
        *(["the tools changed"] if recorded.tools_digest != replayed.tools_digest else []),
        *(
            f"limit {name} was {was[name]}, is {now[name]}"
            for name in was
            if name in now and was[name] != now[name] and name not in ("wall_s", "tool_s")
        ),
    ]
    if not changes or replayed.fault:
        return ""
    return (
        f"{param.model.name} replays what was said of another task {param.task_name} (seed {param.seed}): "
        f"{'; '.join(changes)}; a model might have acted otherwise"
    )


def _check_prices(models: Iterable[ModelName], prices: Prices) -> None:
    """Refuse to count the cost of models whose price is not known."""
    for model in models:
        if is_paid(model.name) and prices.text(model.name) is None:
            raise pytest.UsageError(
                f"--max-cost: the price of {model.name} is not known, so what its trials cost cannot be counted; "
                f"write --prices {shlex.quote(model.base)}=IN/OUT, in US dollars a million tokens, or leave out "
                "--max-cost, or this model"
            )


def _called(make: Callable[[pytest.Config], Task], config: pytest.Config, where: str) -> Task:
    try:
        inspect.signature(make).bind(config)
    except TypeError:
        raise DefinitionError(f"{where}: task must take the configuration; write `task=lambda config: ...`") from None
    return make(config)


def _limits_of(model: ModelName, limits: Limits, where: str) -> Limits:
    """Return the limits of a model's trials: how long its replies may be is a setting of it, where it is set.

    Raises:
        DefinitionError: they are too short for what else is set.
    """
    own = replace(limits, reply_tokens=model.reply_tokens or limits.reply_tokens)
    if wrong := unfit_for(model.settings, own.reply_tokens):
        raise DefinitionError(f"{where}, --model {model.name}: {wrong}")
    return own


def _check_tools(task: Task) -> None:
    """Derive the tools' schemas once now, where `open` tells which episodes it returns: an error costs nothing yet."""
    for kind in episode_classes(task):
        check_tools(kind)


def _marked_runs(marker: pytest.Mark, where: str) -> int | None:
    runs = marker.kwargs.get("runs")
    if runs is None or (type(runs) is int and runs >= 1):
        return runs
    raise DefinitionError(f"{where}: runs={runs!r} in the marker is not a whole number of at least 1; write runs=10")


def _marked_bands(marker: pytest.Mark, where: str) -> dict[str, Band]:
    """Return the marker's bands by model: by its name, or by a pattern of names as of files."""
    band = marker.kwargs.get("band")
    if band is None:
        return {}
    if not isinstance(band, Mapping):
        return {"*": _marked_band(band, f"{where}: band={band!r} in the marker", "band=(0.10, 0.40)")}
    example = f'band={{"{DEFAULT_MODEL}": (0.10, 0.40), "claude-opus-*": (0.30, 0.70)}}'
    if not band or not all(isinstance(model, str) and model for model in band):
        raise DefinitionError(
            f"{where}: band={band!r} in the marker does not give bands by models' names; write {example}"
        )
    for model in band:
        try:
            parse_settings(behind) if (behind := split_name(model)[1]) else ()
        except ValueError as error:
            raise DefinitionError(f"{where}: band={band!r} in the marker: {error}") from None
    return {
        model: _marked_band(one, f"{where}: band={one!r} of {model!r} in the marker", example)
        for model, one in band.items()
    }


def _marked_band(band: Any, what: str, example: str) -> Band:
    if isinstance(band, Band):
        return band
    try:
        low, high = band
        return Band(float(low), float(high))
    except (TypeError, ValueError):
        raise DefinitionError(f"{what} is not a pair of shares with low below high; write {example}") from None


def _band_of(model: ModelName, bands: Mapping[str, Band]) -> Band | None:
    """Return the band of a model: by its full name, else by its own or a pattern of it; None if none fits.

    What says more of settings goes first, then a name before a pattern, then what stands first.

    Example:
        >>> from pytest_rltask.models.named import parse_model
        >>> bands = {"claude-opus-*": Band(0.1, 0.4), "claude-opus-*@effort=xhigh": Band(0.3, 0.7)}
        >>> str(_band_of(parse_model("claude-opus-5@effort=xhigh,top_k=5"), bands))
        '30-70 %'
        >>> str(_band_of(parse_model("claude-opus-5@effort=low"), bands))
        '10-40 %'
    """
    if model.name in bands:
        return bands[model.name]
    found = []
    for place, pattern in enumerate(bands):
        base, behind = split_name(pattern)
        settings = parse_settings(behind) if behind else ()
        if fnmatch.fnmatchcase(model.base, base) and set(settings) <= set(model.settings):
            found.append((-len(settings), base != model.base, place, pattern))
    return bands[min(found)[-1]] if found else None


def plugin_files(config: pytest.Config) -> list[str]:
    """Return the files of all plugins, those of the suite's ``conftest.py`` among them."""
    return [file for plugin in config.pluginmanager.get_plugins() if (file := getattr(plugin, "__file__", None))]


def warn_if_toolless(item: pytest.Item, record: Record) -> bool:
    """Warn that a trial had no tool, unless that was meant, or was told at collection; say whether it did."""
    param = param_of(item)
    if record.tools or record.fault or not param or not param.task.needs_tools or episode_classes(param.task):
        return False
    item.warn(TaskWarning(toolless(type(param.task))))
    return True


def is_trial(item: pytest.Item) -> bool:
    """Say whether an item plays a trial."""
    return param_of(item) is not None


def param_of(item: pytest.Item) -> TrialParam | None:
    """Return the trial that an item plays; None if it plays none."""
    callspec = getattr(item, "callspec", None)
    param = callspec.params.get("trial") if callspec else None
    return param if isinstance(param, TrialParam) else None
