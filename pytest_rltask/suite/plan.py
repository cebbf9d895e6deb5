"""The plan of a process: which trials its items play, built once and handed to all who ask."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import pytest

from pytest_rltask.graders.fingerprint import Graders
from pytest_rltask.run.planned import PlannedTrial, split_trial_id
from pytest_rltask.suite.items import TrialParam, param_of, settled
from pytest_rltask.suite.options import MARKER, Options
from pytest_rltask.suite.setups import bring_together, setup_of

if TYPE_CHECKING:
    from pytest_rltask.trial.opening import TrialSpec

__all__ = ["Entry", "Plan", "make_plan"]


@dataclass(frozen=True)
class Entry:
    """One trial of the plan."""

    number: int
    """Its place in the order of the plan; of as many shares as there are, it belongs to the one of this remainder."""
    item: pytest.Item
    """Whose turn it is played in, at the latest."""
    param: TrialParam
    trial: PlannedTrial
    """The same as it is written to disk."""

    @property
    def is_skipped(self) -> bool:
        """Whether a mark skips its item, so that nobody will play it."""
        return setup_of(self.item).is_skipped

    def spec(self, sandbox: str, history: tuple[str, ...] = ()) -> TrialSpec:
        """Return what is to be played.

        Args:
            sandbox: what isolates the code that the task runs.
            history: what earlier runs of the task tried.
        """
        from pytest_rltask.trial.opening import TrialSpec

        param = self.param
        return TrialSpec(
            trial_id=self.item.nodeid,
            task=param.task,
            task_name=param.task_name,
            model=param.model.name,
            run=param.run,
            seed=param.seed,
            limits=param.limits,
            history=history,
            sandbox=sandbox,
            grader=self.trial.grader,
            variant=param.variant,
            judges=param.judges,
        )


class Plan:
    """The trials of a session's items, in their order.

    Args:
        entries: the trials.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries: Mapping[str, Entry] = {entry.item.nodeid: entry for entry in entries}
        """By trial id."""

    @property
    def trials(self) -> list[PlannedTrial]:
        """The trials as they are written to disk."""
        return [entry.trial for entry in self.entries.values()]

    def of(self, items: list[pytest.Item]) -> Plan:
        """Return the plan of some of the items."""
        kept = {item.nodeid for item in items}
        own = (entry for trial_id, entry in self.entries.items() if trial_id in kept)
        return Plan(replace(entry, number=number) for number, entry in enumerate(own))

    def isolated_by(self, settle: Callable[[], str]) -> Plan:
        """Return the same plan, once it is known what isolates the tasks in need of it; asked only if one is."""
        if not any(entry.trial.sandbox for entry in self.entries.values()):
            return self
        backend = settle()
        return Plan(
            replace(entry, trial=replace(entry.trial, sandbox=entry.trial.sandbox and backend))
            for entry in self.entries.values()
        )


def make_plan(items: list[pytest.Item], options: Options, graders: Graders | None) -> Plan:
    """Return the plan of a session, and put its items into the order in which they are played.

    Args:
        items: of the session.
        options: of the run.
        graders: finds out what grades each trial; None: nobody will ask.

    Raises:
        pytest.UsageError: a marker has no effect where it stands.
        DefinitionError: a task names sources that there are not.
    """
    params = {}
    for item in items:
        if param := param_of(item):
            params[item.nodeid] = param
        elif item.get_closest_marker(MARKER) is not None:
            _check_marker(item)
    if options.sequential:
        _put_in_order(items, params)
    else:
        bring_together(items, lambda item: item.nodeid in params)
    ordered = {item.nodeid: item for item in items if item.nodeid in params}  # pytest can be told to keep duplicates
    for item in items:
        if item.nodeid in params:
            _spare_waiting(item)
    return Plan(
        Entry(number, item, params[trial_id], _planned(item, params[trial_id], graders))
        for number, (trial_id, item) in enumerate(ordered.items())
    )


def _check_marker(item: pytest.Item) -> None:
    """Make sure that the marker has its effect on an item that plays no trial.

    Raises:
        pytest.UsageError: it has none.
    """
    if settled(item) is not None:
        return  # an audit's
    if isinstance(item, pytest.Function) and item.cls and issubclass(item.cls, unittest.TestCase):
        raise pytest.UsageError(
            f"{item.nodeid} has the marker {MARKER}, but pytest gives methods of a unittest.TestCase no fixtures; "
            f"write a function, `def {item.name}(trial):`"
        )
    raise pytest.UsageError(
        f"{item.nodeid} got the marker {MARKER} after it was collected, when it is too late to play trials; "
        "write it above the function"
    )


def _put_in_order(items: list[pytest.Item], params: Mapping[str, TrialParam]) -> None:
    """Put the runs of each task and model into their order, in the places they hold: ``--ff`` and others shuffle."""
    places: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for place, item in enumerate(items):
        if param := params.get(item.nodeid):
            places.setdefault((_test_id(item, param), param.model.name), []).append((param.run, place))
    shuffled = list(items)
    for own in places.values():
        for place, (_, source) in zip(sorted(place for _, place in own), sorted(own), strict=True):
            items[place] = shuffled[source]


def _spare_waiting(item: pytest.Item) -> None:
    """Have a time limit of pytest-timeout for all tests count the test function of a trial, and not the wait for it.

    A trial's own time is limited by its task and ``--trial-timeout``. What stands at a test as ``pytest.mark.timeout``
    was meant for it, and stays.
    """
    has_plugin = item.config.pluginmanager.hasplugin
    if any(map(has_plugin, ("timeout", "pytest_timeout"))) and item.get_closest_marker("timeout") is None:
        item.add_marker(pytest.mark.timeout(func_only=True))


def _planned(item: pytest.Item, param: TrialParam, graders: Graders | None) -> PlannedTrial:
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
        alone=setup_of(item).alone,
        grader=_grader(item, param, graders) if graders else "",
        judges=dict(param.judges),
        line=0 if item.location[1] is None else item.location[1] + 1,
        parameters=dict(param.parameters),
    )


def _grader(item: pytest.Item, param: TrialParam, graders: Graders) -> str:
    assert isinstance(item, pytest.Function), "fixtures are given to functions"
    name, cls, given = item.originalname, item.cls, param.asserted
    of = graders.of(param.task, item.function, path=item.path, name=name, cls=cls, given=given, judges=param.judges)
    return of.digest


def _test_id(item: pytest.Item, param: TrialParam) -> str:
    """Return the node id without model and run; other parameters of the test, which follow them, stay."""
    base = split_trial_id(item.nodeid)[0]
    return f"{base}[{param.variant}]" if param.variant else base
