"""The plan of a process, made of its items: what it writes down, in which order, and whose time is limited how."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from pytest_rltask.graders.fingerprint import Graders
from pytest_rltask.suite.items import plugin_files
from pytest_rltask.suite.options import Options
from pytest_rltask.suite.plan import Plan, make_plan
from tests.conftest import SUITE

TWO = """
from tasks import *

class Boxed(Sum):
    needs_sandbox = True

@pytest.mark.rltask(task=Sum(), band=(0.2, 0.6))
def test_sum(trial): pass

def test_plain(): pass

@pytest.mark.parametrize("size", [3, "run-00"])
@pytest.mark.rltask(task=Boxed(), name="boxed")
def test_boxed(trial, size): pass
"""

Make = Callable[..., tuple[Plan, list[pytest.Item]]]


@pytest.fixture
def make(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Plan a suite of two tasks, whose items were put into some order."""
    pytester.makepyfile(tasks=SUITE)
    pytester.makeini("[pytest]\nmarkers = timeout: as of pytest-timeout\n")

    def make(
        *arguments: str,
        models: tuple[str, ...] = ("policy:null",),
        order: Callable[[list[pytest.Item]], list[pytest.Item]] = list,
        before: Callable[[pytest.Item], None] = lambda item: None,
    ) -> tuple[Plan, list[pytest.Item]]:
        given = [word for model in models for word in ("--model", model)]
        given += ["--runs", "2"] if models else []
        items, _ = pytester.inline_genitems(pytester.makepyfile(test_two=TWO), *given, *arguments)
        items = order(items)
        monkeypatch.setattr(pytest.mark, "_config", items[0].config)  # else marks are those of the outer pytest
        for item in items:
            before(item)
        return make_plan(items, Options.read(items[0].config), None), items

    return make


def test_what_is_to_be_played_is_written_down(make: Make):
    plan, items = make()

    assert list(plan.entries) == [item.nodeid for item in items if item.name != "test_plain"]
    assert [entry.number for entry in plan.entries.values()] == list(range(6))
    assert all(entry.item.nodeid == entry.trial.trial_id == name for name, entry in plan.entries.items())
    one = plan.trials[1]
    assert (one.trial_id, one.test) == ("test_two.py::test_sum[policy:null-run-01]", "test_two.py::test_sum")
    assert (one.task, one.model, one.run, one.seed, one.band) == ("sum", "policy:null", 1, 43, (0.2, 0.6))
    assert (one.limits["turns"], one.sandbox, one.alone, one.grader) == (10, "", "", "")
    assert one.task_digest == plan.entries[one.trial_id].param.task.digest()


@pytest.mark.parametrize("models", [("policy:null",), ("policy:null", "policy:solver")])
def test_runs_and_models_of_a_test_share_its_id_which_keeps_its_parameters(make: Make, models: tuple[str, ...]):
    plan, _ = make(models=models)

    tests = {}
    for trial in plan.trials:
        tests.setdefault(trial.test, []).append((trial.model, trial.run))
    runs = [(model, run) for model in models for run in (0, 1)]
    assert {test: sorted(played) for test, played in tests.items()} == {
        "test_two.py::test_sum": runs,
        "test_two.py::test_boxed[3]": runs,
        "test_two.py::test_boxed[run-00]": runs,
    }


def test_what_is_to_be_played_of_a_trial_is_its_entrys(make: Make):
    plan, _ = make()
    entry = plan.entries["test_two.py::test_boxed[policy:null-run-01-3]"]

    spec = entry.spec("bwrap", ("depth 3",))

    assert (spec.trial_id, spec.task, spec.task_name) == (entry.item.nodeid, entry.param.task, "boxed")
    assert (spec.model, spec.run, spec.seed, spec.limits) == ("policy:null", 1, 43, entry.param.limits)
    assert (spec.history, spec.sandbox, spec.grader) == (("depth 3",), "bwrap", "")


def test_an_item_that_pytest_was_told_to_keep_twice_is_planned_once(make: Make):
    plan, items = make(order=lambda items: [*items, *items])

    assert len(items) == 14
    assert [entry.number for entry in plan.entries.values()] == list(range(6))


# ---- isolation ----


def test_who_runs_code_learns_what_isolates_it_and_nobody_else(make: Make):
    plan, _ = make()
    asked: list[str] = []

    isolated = plan.isolated_by(lambda: asked.append("once") or "landlock")

    assert {(trial.task, trial.sandbox) for trial in plan.trials} == {("sum", ""), ("boxed", "auto")}
    assert {(trial.task, trial.sandbox) for trial in isolated.trials} == {("sum", ""), ("boxed", "landlock")}
    assert [trial.trial_id for trial in isolated.trials] == [trial.trial_id for trial in plan.trials]
    assert asked == ["once"]


def test_where_no_code_is_run_nobody_is_asked_what_isolates_it(make: Make):
    plan, _ = make("-k", "test_sum", order=lambda items: [item for item in items if "test_sum" in item.name])
    asked: list[str] = []

    assert plan.isolated_by(lambda: asked.append("once") or "landlock") is plan
    assert asked == []


# ---- order ----


def shuffled(items: list[pytest.Item]) -> list[pytest.Item]:
    return random.Random(3).sample(items, len(items))


def test_told_of_each_other_the_runs_of_a_test_are_put_in_order_where_they_stand(make: Make):
    models = ("policy:null", "policy:solver")

    places: dict[int, list[str]] = {}
    plan, items = make("--sequential", models=models, order=lambda items: note(places, shuffled(items)))

    kinds = [name.replace("run-00", "").replace("run-01", "") for name in places[0]]
    assert [item.name.replace("run-00", "").replace("run-01", "") for item in items] == kinds
    for kind in set(kinds) - {"test_plain"}:
        runs = [plan.entries[item.nodeid].trial.run for item, of in zip(items, kinds, strict=True) if of == kind]
        assert runs == sorted(runs)
    assert [item.name for item in items] != places[0]  # there was something to put in order


def note(places: dict[int, list[str]], items: list[pytest.Item]) -> list[pytest.Item]:
    places[0] = [item.name for item in items]
    return items


def test_told_of_nothing_they_stay_as_they_are(make: Make):
    places: dict[int, list[str]] = {}

    _, items = make(order=lambda items: note(places, shuffled(items)))

    assert [item.name for item in items] == places[0]


# ---- pytest-timeout ----


def timeouts(items: list[pytest.Item]) -> dict[str, dict[str, object]]:
    return {item.name: mark.kwargs for item in items if (mark := item.get_closest_marker("timeout"))}


@pytest.mark.parametrize("name", ["timeout", "pytest_timeout"])
def test_a_limit_for_all_tests_counts_no_wait_for_a_trial(make: Make, name: str):
    def register(item: pytest.Item) -> None:
        if not item.config.pluginmanager.hasplugin(name):
            item.config.pluginmanager.register(object(), name)

    plan, items = make(before=register)

    assert timeouts(items) == {entry.item.name: {"func_only": True} for entry in plan.entries.values()}


def test_a_limit_at_a_test_stays_as_it_is(make: Make):
    def register(item: pytest.Item) -> None:
        if not item.config.pluginmanager.hasplugin("timeout"):
            item.config.pluginmanager.register(object(), "timeout")
        item.add_marker(pytest.mark.timeout(3))

    _, items = make(before=register)

    assert all(len(list(item.iter_markers("timeout"))) == 1 for item in items)


def test_without_pytest_timeout_no_mark_of_it_is_made(make: Make):
    _, items = make()

    assert timeouts(items) == {}


# ---- what grades, and markers without effect ----


def test_what_grades_a_trial_is_told_by_a_digest_that_the_runs_of_its_test_share(make: Make):
    _, items = make()

    graders = Graders(items[0].config.rootpath, plugin_files(items[0].config))
    plan = make_plan(items, Options.read(items[0].config), graders)

    digests = {trial.test: trial.grader for trial in plan.trials}
    assert all(trial.grader == digests[trial.test] for trial in plan.trials)
    assert all(len(digest) >= 8 for digest in digests.values())
    assert digests["test_two.py::test_sum"] != digests["test_two.py::test_boxed[3]"]


def test_what_an_audit_plays_is_no_trial_of_the_plan(make: Make):
    plan, items = make("--audit", models=())

    assert plan.trials == []
    assert any(item.get_closest_marker("rltask") for item in items)


def marked_late(pytester: pytest.Pytester, source: str) -> str:
    """Mark an item once it is collected, and return what is said of it."""
    items, _ = pytester.inline_genitems(pytester.makepyfile(test_late=source), "--model", "policy:null")
    items[0].add_marker(pytest.mark.rltask())
    with pytest.raises(pytest.UsageError) as error:
        make_plan(items, Options.read(items[0].config), None)
    return str(error.value)


@pytest.mark.parametrize(
    "source",
    [
        "def test_a(): pass",
        "class TestA:\n    def test_a(self): pass",
        "import pytest\n@pytest.mark.parametrize('a', [1])\ndef test_a(a): pass",
    ],
)
def test_a_marker_after_collection_is_too_late(pytester: pytest.Pytester, source: str):
    assert "got the marker rltask after it was collected, when it is too late" in marked_late(pytester, source)


def test_a_marker_on_a_method_of_a_test_case_has_no_effect(pytester: pytest.Pytester):
    said = marked_late(pytester, "import unittest\nclass TestA(unittest.TestCase):\n    def test_a(self): pass")

    assert "pytest gives methods of a unittest.TestCase no fixtures; write a function, `def test_a(trial):`" in said
