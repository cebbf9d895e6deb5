"""From a marked test to its items, asked directly: runs, seeds, limits, bands, and what cannot be played."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask.run.record import Fault, Record
from pytest_rltask.suite.items import TrialParam, is_trial, param_of, warn_if_toolless
from pytest_rltask.task import TaskWarning
from tests.conftest import SUITE, Suite
from tests.plugin.test_usage_errors import MARKED, assert_usage_error

LIMITED = """
from tasks import *

@dataclass(frozen=True)
class Limited(Sum):
    limits = Limits(turns=7, wall_s=90.0)

@pytest.mark.rltask(task=Limited(){marked})
def test_sum(trial): pass

def test_plain(): pass
"""


class Collected:
    """The items of a suite of one task."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester
        pytester.makepyfile(tasks=SUITE)

    def __call__(self, *arguments: str, marked: str = "", test: str = LIMITED) -> list[pytest.Item]:
        path = self.pytester.makepyfile(test_limited=test.replace("{marked}", marked))
        model = () if "--model" in arguments else ("--model", "policy:null")
        items, _ = self.pytester.inline_genitems(path, *model, *arguments)
        return items

    def params(self, *arguments: str, marked: str = "") -> list[TrialParam]:
        """Return what the items play."""
        return list(filter(None, map(param_of, self(*arguments, marked=marked))))


@pytest.fixture
def collected(pytester: pytest.Pytester) -> Collected:
    return Collected(pytester)


@pytest.mark.parametrize(
    ("arguments", "marked", "seeds"),
    [
        ((), "", range(42, 52)),
        (("--runs", "2"), "", range(42, 44)),
        ((), ", runs=3", range(42, 45)),
        ((), ", runs=1", range(42, 43)),
        (("--runs", "2"), ", runs=3", range(42, 44)),  # the command line has the last word
        (("--seed", "0", "--runs", "1"), "", range(1)),
        (("--seed", "7"), ", runs=2", range(7, 9)),
    ],
)
def test_runs_take_one_seed_after_the_other(collected: Collected, arguments: list[str], marked: str, seeds: range):
    params = collected.params(*arguments, marked=marked)

    assert [param.seed for param in params] == list(seeds)
    assert [param.run for param in params] == list(range(len(seeds)))


@pytest.mark.parametrize(
    ("arguments", "turns", "wall_s"),
    [
        ((), 7, 90.0),
        (("--conv-steps", "3"), 3, 90.0),
        (("--conv-steps", "30"), 30, 90.0),
        (("--trial-timeout", "5"), 7, 5.0),
        (("--trial-timeout", "500"), 7, 500.0),
    ],
)
def test_limits_are_the_tasks_unless_the_command_line_says_otherwise(
    collected: Collected, arguments: list[str], turns: int, wall_s: float
):
    (param,) = collected.params("--runs", "1", *arguments)

    assert (param.limits.turns, param.limits.wall_s) == (turns, wall_s)


@pytest.mark.parametrize(
    ("arguments", "marked", "band"),
    [
        ((), "", (0.1, 0.4)),
        ((), ", band=(0.2, 0.3)", (0.2, 0.3)),
        ((), ", band=[0, 1]", (0, 1)),
        ((), ', band={"policy:null": (0.2, 0.3), "*": (0.5, 0.6)}', (0.2, 0.3)),
        ((), ', band={"policy:*": (0.2, 0.3), "*": (0.5, 0.6)}', (0.2, 0.3)),
        ((), ', band={"claude-*": (0.5, 0.6)}', (0.1, 0.4)),
        ((), ', band={"POLICY:NULL": (0.5, 0.6)}', (0.1, 0.4)),
        (("--band", "10,60"), ", band=(0.2, 0.3)", (0.1, 0.6)),
        (("--band", "10,60"), "", (0.1, 0.6)),
    ],
)
def test_the_band_is_that_of_whoever_said_it_last(
    collected: Collected, arguments: list[str], marked: str, band: tuple[float, float]
):
    (param,) = collected.params("--runs", "1", *arguments, marked=marked)

    assert (param.band.low, param.band.high) == band


def test_the_id_names_the_model_be_it_the_only_one_or_not(collected: Collected):
    one = collected("--runs", "2", "--model", "policy:null")
    two = collected("--runs", "2", "--model", "policy:null", "--model", "policy:solver")

    assert [item.name for item in one] == ["test_sum[policy:null-run-00]", "test_sum[policy:null-run-01]", "test_plain"]
    assert [item.name for item in two] == [
        "test_sum[policy:null-run-00]",
        "test_sum[policy:null-run-01]",
        "test_sum[policy:solver-run-00]",
        "test_sum[policy:solver-run-01]",
        "test_plain",
    ]


def test_a_test_without_the_marker_plays_nothing(collected: Collected):
    trial, plain = collected("--runs", "1")

    assert (is_trial(trial), is_trial(plain)) == (True, False)
    assert param_of(plain) is None


def test_a_parameter_that_is_called_trial_is_no_trial(collected: Collected):
    (item,) = collected(test="import pytest\n@pytest.mark.parametrize('trial', [1])\ndef test_a(trial): pass\n")

    assert not is_trial(item)


# ---- what cannot be played ----


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        ("Sum(), task=Sum()", "takes keywords and needs a task"),
        ("task=Sum(), turns=3, colour=1", "knows no colour, turns; it takes"),
        ("task=Sum(), name=3", 'name=3 in the marker is no string; write name="another"'),
        ("task=Sum(), runs=True", "runs=True in the marker is not a whole number of at least 1; write runs=10"),
        ("task=Sum(), runs=2.0", "runs=2.0 in the marker is not a whole number"),
        ("task=Sum(), runs=-1", "runs=-1 in the marker is not a whole number"),
        ("task=Sum(), band=0.4", "band=0.4 in the marker is not a pair of shares"),
        ("task=Sum(), band=(0.1, 0.2, 0.3)", "band=(0.1, 0.2, 0.3) in the marker is not a pair"),
        ("task=Sum(), band={'': (0.1, 0.4)}", "does not give bands by models' names"),
        ("task=lambda config: 3", "task is 3, which is no Task"),
        ("task=None", "task is None, which is no Task"),
    ],
)
def test_a_marker_that_says_what_cannot_be(suite: Suite, marker: str, said: str):
    suite.write(test_sum=MARKED.format(marker=marker, argument="trial"))

    assert_usage_error(suite.run(), said)


def test_a_task_may_be_made_of_the_configuration(suite: Suite):
    suite.write(test_sum=MARKED.format(marker="task=lambda config: Sum()", argument="trial"))

    suite.run("--runs", "1", model="policy:solver")

    assert [row["task"] for row in suite.report()["rows"]] == ["sum"]


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("limits = 3", "the task's limits are 3; return Limits(...)"),
        ("limits = property(lambda self: Limits(turns=0))", "test_sum.py::test_sum: "),
    ],
)
def test_limits_that_are_none_are_told(suite: Suite, limits: str, said: str):
    test = f"class Odd(Sum):\n    {limits}\n@pytest.mark.rltask(task=Odd())\ndef test_sum(trial): pass\n"
    suite.write(test_sum=f"from tasks import *\n{test}")

    assert_usage_error(suite.run(), said)


@pytest.mark.parametrize(
    ("seed", "runs", "said"),
    [
        ("43", "2", "no recorded trial of task sum with seed 44; it has seeds 42 to 43: give its --seed and --runs"),
        ("1", "1", "no recorded trial of task sum with seed 1; it has seeds 42 to 43"),
    ],
)
def test_a_replay_needs_all_its_seeds(suite: Suite, seed: str, runs: str, said: str):
    suite.run("--runs", "2")

    assert_usage_error(suite.run("--seed", seed, "--runs", runs, model=f"replay:{suite.run_dirs[0]}"), said)


def test_a_replay_of_another_task_has_no_trial_of_it(suite: Suite):
    suite.run("--runs", "2")
    suite.write(test_sum=MARKED.format(marker='task=Sum(), name="other"', argument="trial"))

    assert_usage_error(
        suite.run(model=f"replay:{suite.run_dirs[0]}"), "of task other with seed 42; it has no trial of it"
    )


def test_a_task_without_policies_says_that_it_ships_none(suite: Suite):
    test = "class Bare(Sum):\n    policies = {}\n@pytest.mark.rltask(task=Bare())\ndef test_sum(trial): pass\n"
    suite.write(test_sum=f"from tasks import *\n{test}")

    assert_usage_error(suite.run(model="policy:null"), "task bare ships no such policy; it ships none")


def test_what_a_person_plays_needs_a_terminal_unless_it_is_only_listed(suite: Suite):
    assert_usage_error(suite.run(model="human"), "human")
    for listed in ("--collect-only", "--plan"):
        assert suite.run(listed, "--runs", "1", model="human").ret == pytest.ExitCode.OK


@pytest.mark.parametrize("max_cost", [(), ("--max-cost", "1")])
def test_costs_of_a_model_without_a_price_are_counted_by_nobody(
    pytester: pytest.Pytester, max_cost: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    arguments = ("--model", "policy:null", "--model", "claude-of-the-future", *max_cost)

    if max_cost:
        with pytest.raises(pytest.UsageError, match="the price of claude-of-the-future is not known"):
            pytester.parseconfigure(*arguments)
    else:
        pytester.parseconfigure(*arguments)
    pytester.parseconfigure("--model", "policy:null", "--model", "claude-haiku-4-5", "--max-cost", "1")


# ---- tasks without tools ----

TOOLLESS = """
from tasks import *

def opens(task, seed): ...

@dataclass(frozen=True)
class Silent(Sum):
    {needs}
    open = opens

@pytest.mark.rltask(task=Silent())
def test_sum(trial): pass
"""


@pytest.fixture
def silent(collected: Collected) -> Iterator[pytest.Item]:
    """An item whose task's episodes are known to nobody before they are opened."""
    return iter(collected("--runs", "1", test=TOOLLESS.replace("{needs}", "")))


def record(**fields: object) -> Record:
    return Record("t", "silent", "d", "policy:null", 0, 42, **fields)  # type: ignore[arg-type]


def test_that_a_trial_had_no_tool_is_warned_of_once_it_is_seen(silent: Iterator[pytest.Item]):
    (item,) = silent

    with pytest.warns(TaskWarning, match="the episodes of task Silent have no tool"):
        assert warn_if_toolless(item, record()) is True


@pytest.mark.parametrize("fields", [{"tools": [{"name": "run"}]}, {"fault": Fault("api", "down")}])
def test_who_had_tools_or_never_began_is_warned_of_nothing(silent: Iterator[pytest.Item], fields: dict[str, object]):
    (item,) = silent

    assert warn_if_toolless(item, record(**fields)) is False


def test_a_task_that_means_it_is_warned_of_nothing(collected: Collected):
    (item,) = collected("--runs", "1", test=TOOLLESS.replace("{needs}", "needs_tools = False"))

    assert warn_if_toolless(item, record()) is False


def test_what_was_told_at_collection_is_not_told_again(collected: Collected):
    trial, plain = collected("--runs", "1")

    assert warn_if_toolless(trial, record()) is False  # its class of episodes is known
    assert warn_if_toolless(plain, record()) is False


def test_two_tests_may_not_share_a_task_and_one_may_have_parameters(suite: Suite, tmp_path: Path):
    suite.write(
        test_sum="from tasks import *\n@pytest.mark.parametrize('a', [1, 2])\n@pytest.mark.rltask(task=Sum())\n"
        "def test_sum(trial, a): pass\n"
    )

    assert suite.run("--runs", "1", "--collect-only", "-q").ret == pytest.ExitCode.OK


def test_what_an_author_seems_to_have_forgotten_is_warned_of_when_items_are_made(suite: Suite):
    silent = "class Silent(Episode):\n    prompt = 'Talk.'\n    def grade(self): return Grade(1.0, threshold=1.0)\n"
    opens = "class Talk(Sum):\n    def open(self, seed) -> Silent: return Silent()\n"
    marked = "@pytest.mark.rltask(task=Talk())\ndef test_sum(trial): pass\n"
    suite.write(test_sum=f"from tasks import *\n{silent}{opens}{marked}")

    result = suite.run("--collect-only", "--runs", "1", model="policy:null")

    result.stdout.fnmatch_lines(["*the episodes of task Talk have no tool*"])
