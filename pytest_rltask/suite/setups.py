"""What is set up for an item, and so when its trial may start: ahead of it, along with its fellows, or by itself.

A trial is played once its item's fixtures are set up as far as the fixture `trial`. What it may need of them decides:

- What lives longer than a test is there once one item that uses it is due: others that use it may start then.
- What is set up for each test, and asked for by `trial`, or named before it by the test: the trial is played by itself,
  in its item's turn.
- What else is set up for each test, as autouse fixtures are, or changes the process: trials of the same test are played
  while one item's fixtures stand, so that they find them and nothing is undone meanwhile.
- Other fixtures of pytest's own, as tmp_path, are for the test alone.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_rltask.run.planned import PlannedTrial, split_trial_id
from pytest_rltask.suite.options import MARKER

__all__ = ["Setup", "alone_lines", "bring_together", "is_made_by_pytest", "process_state", "setup_of"]

CHANGE_THE_PROCESS = ("monkeypatch", "pytester", "testdir")
"""The fixtures of pytest's own through which a test, or another fixture, changes the process; others change nothing."""


@dataclass(frozen=True)
class Setup:
    """What an item's trial finds."""

    needs: frozenset[Hashable] = frozenset()
    """Fixtures that live longer than the test, by instance."""
    lasting: frozenset[Hashable] = frozenset()
    """Those of them that stay until the session ends."""
    fellows: Hashable = None
    """What trials have in common that are played while one item's fixtures stand; None: they need not."""
    alone: str = ""
    """Why the trial is played by itself; empty if it is not."""
    is_skipped: bool = False
    """Whether a mark skips the item."""

    @property
    def is_apart(self) -> bool:
        """Whether what is set up for each test may change what trials in flight see."""
        return bool(self.alone) or self.fellows is not None

    def joins(self, due: Setup, there: frozenset[Hashable]) -> bool:
        """Say whether the trial may start once another is due.

        Args:
            due: what is set up for the other.
            there: what else was set up, and stays.
        """
        return not self.alone and self.fellows == due.fellows and self.needs <= due.needs | there


def setup_of(item: pytest.Item) -> Setup:
    """Return what an item's trial finds, as far as that is known before the item's turn."""
    match _is_skipped(item):
        case True:
            return Setup(is_skipped=True)
        case None:
            return Setup(alone="whether its skipif holds cannot be told before its turn")
    info = getattr(item, "_fixtureinfo", None)  # pytest has no public name for an item's fixtures
    if info is None:
        return Setup()
    chains: dict[str, Sequence[Any]] = dict(info.name2fixturedefs)
    trials = chains.pop("trial", ())
    foreign = {name: chain[-1] for name, chain in chains.items() if not _is_pytests(chain[-1])}
    of_each = {name for name, fixture in foreign.items() if _scope(item, fixture) == "function"}
    if why := _why_alone(item, info.argnames, trials, of_each):
        return Setup(alone=why)
    params = getattr(getattr(item, "callspec", None), "params", {})
    needs = {name: _instance(item, foreign[name], params) for name in foreign.keys() - of_each}
    lasting = (one for name, one in needs.items() if foreign[name].scope == "session" and name not in params)
    found = [chains[name][-1] for name in chains if name in of_each or name in CHANGE_THE_PROCESS]
    return Setup(frozenset(needs.values()), frozenset(lasting), _fellows(item, found, params) if found else None)


def missing_fixture(item: pytest.Item) -> str:
    """Return the name of a fixture that an item needs and nobody has; empty if there is none."""
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return ""
    return next((name for name in info.names_closure if name != "request" and not info.name2fixturedefs.get(name)), "")


def is_made_by_pytest(item: pytest.Item, name: str) -> bool:
    """Say whether an item's parameter is given to it as it is, and not through a fixture of somebody's."""
    info = getattr(item, "_fixtureinfo", None)
    chain = info.name2fixturedefs.get(name) if info else None
    return not chain or _is_pytests(chain[-1])


def process_state() -> dict[str, str]:
    """Return what fixtures may set of the process, by its name: environment variables and the working directory."""
    own = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return own | {"the working directory": os.getcwd()}


def bring_together(items: list[pytest.Item], is_trial: Callable[[pytest.Item], bool]) -> None:
    """Have trials that others of their module cannot overlap follow one another: plugins that shuffle tests mix them.

    Only such trials' places are dealt anew, and only where tests of a module are mixed.
    """
    groups: dict[Hashable, dict[Hashable, list[tuple[int, pytest.Item]]]] = {}
    for place, item in enumerate(items):
        if is_trial(item):
            setup = setup_of(item)
            kind = setup.needs, setup.fellows or (setup.alone and _function(item))
            groups.setdefault(item.parent, {}).setdefault(kind, []).append((place, item))
    for kinds in groups.values():
        places = sorted(place for own in kinds.values() for place, _ in own)
        for place, item in zip(places, [item for own in kinds.values() for _, item in own], strict=True):
            items[place] = item


def alone_lines(plan: Iterable[PlannedTrial], *, is_dealt: bool = True) -> Iterator[str]:
    """Yield which tests' trials are played one by one, though nobody asked for that, and why.

    Args:
        plan: all trials of the run.
        is_dealt: whether each process knows which trials it will be given.
    """
    if not is_dealt:
        yield "one trial at a time in each worker: it knows the next ones only with --dist load, worksteal, loadgroup"
        return
    tests: dict[str, dict[str, None]] = {}
    for trial in plan:
        if trial.alone:
            tests.setdefault(trial.alone, {})[split_trial_id(trial.test)[0]] = None
    for why, names in tests.items():
        yield f"one trial at a time: {', '.join(names)}: {why}"


def _why_alone(item: pytest.Item, arguments: Sequence[str], trials: Sequence[Any], of_each: set[str]) -> str:
    """Return why an item's trial needs what is set up for it alone, or may; empty if nothing says so.

    Args:
        item: whose trial it is.
        arguments: of its function.
        trials: the fixtures `trial`: ours, and those that override it.
        of_each: fixtures that are set up for each test.
    """
    for override in trials[1:]:
        if "trial" not in override.argnames:
            return "the fixture trial is overridden by one that does not ask for it"
        if needed := [name for name in _before_trial(override.argnames) if name in of_each]:
            return f"the fixture trial asks for {_and(needed)}"
    used = [name for mark in item.iter_markers("usefixtures") for name in mark.args]
    needed = [name for name in dict.fromkeys([*used, *_before_trial(arguments)]) if name in of_each]
    if not needed:
        return ""
    rest = [name for name in arguments if name not in needed]
    behind = rest.index("trial") + 1
    function = f"def {getattr(item, 'originalname', item.name)}({', '.join([*rest[:behind], *needed, *rest[behind:]])})"
    return f"{_and(needed)} may be for the trial; if not, write {function}"


def _before_trial(names: Sequence[str]) -> Sequence[str]:
    """Return the names of what pytest sets up before `trial`, by its own order of fixtures."""
    return names[: list(names).index("trial")] if "trial" in names else ()


def _and(names: Sequence[str]) -> str:
    return f"the fixture{'s' * (len(names) > 1)} {' and '.join(names)}"


def _is_pytests(fixture: Any) -> bool:
    """Say whether a fixture is pytest's own, or a parameter; but not setup_function, setup_method and their like."""
    module = str(getattr(fixture.func, "__module__", ""))
    return module.startswith("_pytest.") and not fixture.argname.startswith("_xunit_setup")


def _scope(item: pytest.Item, fixture: Any) -> str:
    """Return the scope of a fixture; one of a class is set up for each test that is in none."""
    return "function" if fixture.scope == "class" and not item.getparent(pytest.Class) else str(fixture.scope)


def _instance(item: pytest.Item, fixture: Any, params: Mapping[str, object]) -> Hashable:
    """Return what tells one instance of a fixture from others."""
    owner: pytest.Collector | None
    match fixture.scope:
        case "class":
            owner = item.getparent(pytest.Class)
        case "module":
            owner = item.getparent(pytest.Module)
        case _:
            owner = item.session
    where = item.path.parent if fixture.scope == "package" else owner
    name = fixture.argname
    return id(fixture), where, id(params[name]) if name in params else None


def _fellows(item: pytest.Item, fixtures: Sequence[Any], params: Mapping[str, object]) -> Hashable:
    """Return what items have in common for which these fixtures do the same: all that a fixture may go by."""
    marks = (mark for mark in item.iter_markers() if mark.name not in (MARKER, "parametrize"))
    said = tuple(f"{mark.name}{mark.args}{mark.kwargs}" for mark in marks)
    asked = {name for fixture in fixtures for name in (fixture.argname, *fixture.argnames)}
    values = frozenset((name, id(value)) for name, value in params.items() if name in asked)
    function = _function(item) if "request" in asked else None
    return frozenset(map(id, fixtures)), said, values, function


def _function(item: pytest.Item) -> Hashable:
    return item.parent, getattr(item, "originalname", item.name)


def _is_skipped(item: pytest.Item) -> bool | None:
    """Say whether a mark keeps an item from running, by pytest's documented rules; None if that cannot be told now."""
    if item.get_closest_marker("skip"):
        return True
    not_run = (mark for mark in item.iter_markers("xfail") if not mark.kwargs.get("run", True))
    try:
        return any(_holds(one, item) for mark in (*item.iter_markers("skipif"), *not_run) for one in _conditions(mark))
    except Exception:  # whatever a condition raises; pytest says so in the item's turn
        return None


def _conditions(mark: pytest.Mark) -> Iterator[object]:
    if "condition" in mark.kwargs:
        yield mark.kwargs["condition"]
    else:
        yield from mark.args or (True,)


def _holds(condition: object, item: pytest.Item) -> bool:
    if not isinstance(condition, str):
        return bool(condition)
    names: dict[str, object] = {"os": os, "sys": sys, "platform": platform, "config": item.config}
    for more in reversed(item.ihook.pytest_markeval_namespace(config=item.config)):
        names.update(more)
    names.update(getattr(getattr(item, "function", None), "__globals__", {}))
    return bool(eval(condition, names))
