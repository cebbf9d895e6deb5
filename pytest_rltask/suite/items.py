"""From a marked test to its items: one for each model and run, each with the trial it plays.

Everything that can be wrong with a marker, a task or a model's name is found here, before any trial is paid for.
"""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pytest

from pytest_rltask.audit.definitions import check_definition, doubts
from pytest_rltask.audit.omissions import episode_classes, omissions, toolless
from pytest_rltask.models.judges import judges_of, missing_judge_key, unanswered
from pytest_rltask.models.model_settings import unfit_for
from pytest_rltask.models.named import ModelName, is_paid, missing_key, parse_model
from pytest_rltask.models.prices import Prices
from pytest_rltask.models.replay import Replays, load_replay, replayed_limits
from pytest_rltask.models.settings import KEY_VARIABLES
from pytest_rltask.run.planned import variant_of
from pytest_rltask.run.record import Record
from pytest_rltask.suite.chosen import judges_chosen, models_of, prices_of
from pytest_rltask.suite.marker import band_of, marked, marked_bands, marked_name, marked_runs
from pytest_rltask.suite.options import MARKER, Options
from pytest_rltask.suite.parameters import Given, asserted, check_names, combinations, given, made, misses, offer, shown
from pytest_rltask.suite.person import no_terminal
from pytest_rltask.task import Band, Limits, Task, TaskWarning
from pytest_rltask.tools import DefinitionError, check_tools

__all__ = [
    "Draft",
    "TrialItems",
    "TrialParam",
    "is_trial",
    "param_of",
    "plugin_files",
    "replay_differs",
    "settled",
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
    variant: str = ""
    """The part of the node id that names the test's own parameters."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Their values, as the run directory keeps them."""
    asserted: Mapping[str, Any] | None = None
    """Those that the test itself takes, if others made the task; None: none did."""

    @property
    def id(self) -> str:
        """The part of the node id that names the run."""
        return f"run-{self.run:02d}"


@dataclass(frozen=True, eq=False)
class Draft:
    """The parameter of an item as pytest makes it, when the item's other parameters are not known yet."""

    settle: Callable[[pytest.Item], Any]
    """Returns what is played with the parameters of an item; None if nothing is."""
    id: str


SETTLED = pytest.StashKey[Any]()
"""What became of an item's draft."""


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
        self._replays: dict[str, Replays] = {}
        self._warned: set[tuple[str, str]] = set()
        self._made: dict[tuple[object, ...], tuple[Given, Task]] = {}

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
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
        test = list(metafunc.definition.iter_markers(MARKER))
        given = combinations(metafunc.definition)
        sources = {id(said["task"]): said["task"] for said in (marked(test, one.marks, where) for one in given)}
        names = dict.fromkeys(name for one in given for name in one.direct)
        for source in sources.values():
            offer(metafunc, source, names)
        for source in sources.values():
            check_names(metafunc, source, names, where)
        drafts = list(self._drafts(test, given, where))
        metafunc.parametrize("trial", drafts, ids=[draft.id for draft in drafts], indirect=True)

    def _drafts(self, test: list[pytest.Mark], given: list[Given], where: str) -> Iterable[Draft]:
        short = self._unnamed()
        runs = max(self._runs(marked(test, one.marks, where), where) for one in given)
        for model in self.models:
            for run in range(runs):
                own = f"run-{run:02d}"
                label = own if (where, model.name) in short else f"{model.label}-{own}"
                yield Draft(functools.partial(self._param, test, model, run, runs, where), label)

    def settled(self, items: list[pytest.Item]) -> list[pytest.Item]:
        """Return the items of a test without those of runs that its parameters have no use for.

        Raises:
            DefinitionError: a marker or task cannot be used.
        """
        return [item for item in items if draft_of(item) is None or settled(item) is not None]

    def _runs(self, said: Mapping[str, Any], where: str) -> int:
        marked = marked_runs(said, where)
        return self.options.runs if "runs" in self.options.given or marked is None else marked

    def _param(
        self, test: list[pytest.Mark], model: ModelName, run: int, runs: int, where: str, item: pytest.Item
    ) -> TrialParam | None:
        own = given(item)
        said = marked(test, own.marks, where)
        wanted = self._runs(said, where)
        if wanted > runs:
            raise DefinitionError(
                f"{where}: runs={wanted} of a parameter's value is more than the test's {runs}, and its values come of "
                f"a hook or an iterator; write runs={wanted} in the test's marker, or the values as a list"
            )
        if run >= wanted:
            return None
        task = self._task(said, own, item, where)
        name = self._named(said, task, where)
        options = self.options
        bands = {} if "band" in options.given else marked_bands(said, where)
        return TrialParam(
            task,
            name,
            model,
            run,
            options.seed + run,
            _limits_of(model, self._limits(task, where), where),
            band_of(model, bands) or options.band or task.band,
            self._judges_of(task, name, model),
            variant_of(item.nodeid, model.label, run),
            {name: shown(value) for name, value in own.direct.items()},
            asserted(said["task"], own, item),
        )

    def _named(self, said: Mapping[str, Any], task: Task, where: str) -> str:
        name = marked_name(said, task.name, where)
        if self._tests_by_task.setdefault(name, where) != where:
            raise DefinitionError(
                f"task name {name!r} is used by {self._tests_by_task[name]} and {where}; "
                f'name one of them: @pytest.mark.rltask(task=..., name="another")'
            )
        return name

    def _task(self, said: Mapping[str, Any], own: Given, item: pytest.Item, where: str) -> Task:
        """Return the task of an item's row, the same object for all its runs."""
        key = where, id(said["task"]), *own.key
        if key not in self._made:
            task = made(said["task"], own, self.config, where)
            kinds = episode_classes(task)
            check_definition(task, kinds)
            for kind in kinds:  # their schemas are derived once now: an error costs nothing yet
                check_tools(kind)
            for omission in (*omissions(task), *doubts(task), *misses(said["task"], task, own)):
                if (where, omission) not in self._warned:
                    self._warned.add((where, omission))
                    item.warn(TaskWarning(omission))
            self._made[key] = own, task  # the parameters live as long, so that no other can have their ids
        return self._made[key][1]

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

    def check_playable(self, params: Iterable[TrialParam]) -> None:
        """Make sure that what is selected can be played by the models.

        Raises:
            DefinitionError: a policy, a recorded trial, a key or a terminal is missing.
        """
        rows: dict[tuple[str, str, str], list[TrialParam]] = {}
        for param in params:
            rows.setdefault((param.model.name, param.task_name, param.variant), []).append(param)
        for row in rows.values():
            self._check_playable(row)
        declared = list(dict.fromkeys(name for row in rows.values() for name in row[0].task.judges))
        unknown = [name for name in self._judges if name and name not in declared]
        if rows and unknown and "judge" in self.options.given:  # an ini file is for other tasks, too
            raise DefinitionError(
                f"--judge {unknown[0]}={self._judges[unknown[0]]}: no task that is played has a judge {unknown[0]!r}; "
                f"they have {', '.join(declared) or 'none'}"
            )

    def _check_playable(self, row: list[TrialParam]) -> None:
        model, task, name, variant = row[0].model, row[0].task, row[0].task_name, row[0].variant
        judges = row[0].judges
        if model.kind == "policy" and model.argument not in task.policies:
            ships = ", ".join(f"policy:{policy}" for policy in task.policies) or "none"
            raise DefinitionError(f"--model {model.name}: task {name} ships no such policy; it ships {ships}")
        if model.kind == "replay":
            replays = self._replay(model)
            missing = [param.seed for param in row if replays.find(name, variant, param.seed) is None]
            if missing:
                recorded = replays.seeds(name, variant)
                has = f"seeds {recorded[0]} to {recorded[-1]}" if recorded else "no trial of it"
                called = f"{name}[{variant}]" if variant else name
                raise DefinitionError(
                    f"--model {model.name}: no recorded trial of task {called} with seed {missing[0]}; it has {has}: "
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
        found = self._replay(param.model).find(param.task_name, param.variant, param.seed)
        assert found is not None, "what is replayed was looked for"
        return found

    def _replay(self, model: ModelName) -> Replays:
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
    was = replayed_limits(param.model.argument, recorded.trial_id)
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


def _limits_of(model: ModelName, limits: Limits, where: str) -> Limits:
    """Return the limits of a model's trials: how long its replies may be is a setting of it, where it is set.

    Raises:
        DefinitionError: they are too short for what else is set.
    """
    own = replace(limits, reply_tokens=model.reply_tokens or limits.reply_tokens)
    if wrong := unfit_for(model.settings, own.reply_tokens):
        raise DefinitionError(f"{where}, --model {model.name}: {wrong}")
    return own


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
    param = settled(item)
    return param if isinstance(param, TrialParam) else None


def draft_of(item: pytest.Item) -> Draft | None:
    """Return what pytest made of a marked test's item; None of any other."""
    callspec = getattr(item, "callspec", None)
    draft = callspec.params.get("trial") if callspec else None
    return draft if isinstance(draft, Draft) else None


def settled(item: pytest.Item) -> Any:
    """Return what became of an item's draft, once its parameters are known; None if it has none, or nothing did."""
    draft = draft_of(item)
    if draft is None:
        return None
    if SETTLED not in item.stash:
        item.stash[SETTLED] = draft.settle(item)
    return item.stash[SETTLED]
