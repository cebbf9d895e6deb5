"""From a marked test to the items of its audit, and from such an item to its check."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pytest

from pytest_rltask.audit.case import Case, Check, Unsound
from pytest_rltask.audit.checks import checks_of
from pytest_rltask.audit.plays import Plays
from pytest_rltask.report.transcript import render
from pytest_rltask.run.planned import split_trial_id
from pytest_rltask.suite.items import Draft, TrialItems, settled
from pytest_rltask.suite.marker import marked
from pytest_rltask.suite.model_options import KEYS
from pytest_rltask.suite.options import Options
from pytest_rltask.suite.parameters import Given, given, made
from pytest_rltask.task import Limits, Task
from pytest_rltask.tools import DefinitionError
from pytest_rltask.trial.play import Trial

__all__ = ["AuditItems", "AuditParam", "run_check", "runs_agents_code"]

OF_TRIALS = ("runs", "model", *KEYS, "request", "concurrency", "sequential", "band", "gate", "log_dir", "resume")
"""Options that say how trials of a model are played, gated or recorded; an audit has none."""

JUDGING = pytest.StashKey[bool]()
"""Whether the item's own test function runs, on a trial of the audit."""


@dataclass(frozen=True)
class AuditParam:
    """The parameter of one item: which check of which task."""

    task: Task
    task_name: str
    check: Check
    seed: int
    limits: Limits

    @property
    def id(self) -> str:
        """The part of the node id that names the check."""
        return f"audit-{self.check.id}"


class AuditItems(TrialItems):
    """Makes the items of a session's marked tests under ``--audit``.

    Raises:
        pytest.UsageError: an option was given that makes no sense with it.
    """

    def __init__(self, config: pytest.Config, options: Options) -> None:
        senseless = [name for name in OF_TRIALS if name in options.given]
        if senseless:
            flags = " ".join(f"--{name.replace('_', '-')}" for name in senseless)
            raise pytest.UsageError(
                f"--audit plays the policies that a task ships and records nothing; leave out {flags}, "
                "or leave out --audit"
            )
        super().__init__(config, options)

    def parametrize(self, metafunc: pytest.Metafunc) -> None:
        """Give a marked test one item for each check.

        Raises:
            DefinitionError: the marker or its task cannot be used, or a fixture wants the one trial of a run.
        """
        where = metafunc.definition.nodeid
        info = getattr(metafunc.definition, "_fixtureinfo", None)  # pytest has no public name for a test's fixtures
        for name, found in getattr(info, "name2fixturedefs", {}).items():
            if name != "trial" and "trial" in found[-1].argnames:
                raise DefinitionError(
                    f"{where}: its fixture {name!r} uses trial, but with --audit one item plays several trials; "
                    f"make {name} a function, and call it in the test: {name}(trial)"
                )
        super().parametrize(metafunc)

    def _drafts(self, test: list[pytest.Mark], given: list[Given], where: str) -> Iterator[Draft]:
        """Yield a draft for each check of any row's task: which of them an item's own has, its parameters decide."""
        tasks = [made(marked(test, one.marks, where)["task"], one, self.config, where) for one in given]
        for check in {check.id: check for task in tasks for check in checks_of(task)}:
            yield Draft(functools.partial(self._checked, test, check, where), f"audit-{check}")

    def _checked(self, test: list[pytest.Mark], check: str, where: str, item: pytest.Item) -> AuditParam | None:
        own = given(item)
        said = marked(test, own.marks, where)
        task = self._task(said, own, item, where)
        name = self._named(said, task, where)
        if variant := split_trial_id(item.nodeid)[1].removeprefix(f"audit-{check}").removeprefix("-"):
            name = f"{name}[{variant}]"  # plays are known by the name
        found = {one.id: one for one in checks_of(task)}.get(check)
        return AuditParam(task, name, found, self.options.seed, self._limits(task, where)) if found else None


def runs_agents_code(items: Iterable[pytest.Item]) -> bool:
    """Return whether any of the items is of a task that needs a sandbox."""
    return any(param.task.needs_sandbox for param in map(_param, items) if param)


def run_check(item: pytest.Function, plays: Plays) -> bool | None:
    """Run an audit item's check in place of its test function, which judges the trials that the check plays.

    Returns:
        True if it holds; None if pytest shall call the test function: for other items, and for each such trial.
    """
    __tracebackhide__ = True
    param = _param(item)
    if param is None or item.stash.get(JUDGING, False):
        return None
    item.user_properties += [("task", param.task_name), ("check", param.check.full_id)]
    case = Case(
        task=param.task,
        name=param.task_name,
        seed=param.seed,
        limits=param.limits,
        plays=plays,
        assertion=lambda record: _missed_assertion(item, Trial(param.task, record)),
    )
    if unsound := _run(param.check, case):
        if unsound.record is not None:
            item.add_report_section("call", "transcript", render(unsound.record))
        pytest.fail(f"{param.task_name} is not shown to be sound: {param.check.full_id}\n{unsound}", pytrace=False)
    return True


def _param(item: pytest.Item) -> AuditParam | None:
    param = settled(item)
    return param if isinstance(param, AuditParam) else None


def _run(check: Check, case: Case) -> Unsound | None:
    """Run a check and return what it found; raised further, it would bring its traceback along."""
    try:
        check.run(case)
    except Unsound as unsound:
        return unsound
    return None


def _missed_assertion(item: pytest.Function, trial: Trial) -> str | None:
    """Let the author's test judge a trial; return what its assertion said, or None if it held."""
    item.funcargs["trial"] = trial
    item.stash[JUDGING] = True
    try:
        item.ihook.pytest_pyfunc_call(pyfuncitem=item)
    except AssertionError as error:
        return _first_line(error) or "the test's assertion failed"
    finally:
        item.stash[JUDGING] = False
    return None


def _first_line(error: AssertionError) -> str:
    return str(error).strip().partition("\n")[0]
