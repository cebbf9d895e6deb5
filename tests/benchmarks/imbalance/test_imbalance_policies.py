"""The scripted policies: that the rules hold against those that break them, and the task can be done."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.imbalance.data import gaussian_blobs
from benchmarks.imbalance.policies import POLICIES
from benchmarks.imbalance.session import Session
from benchmarks.imbalance.task import Imbalance
from pytest_rltask import play_policy
from pytest_rltask.run.record import Record
from tests.conftest import slow

SEEDS = range(42, 48)
TASKS = {"3 %": Imbalance(minority_frac=0.03, tau=0.3), "20 %": Imbalance(minority_frac=0.2, tau=0.7, max_steps=4)}
WEAK = {"naive", *(name for name in POLICIES if name.startswith("cheat_"))}


@pytest.fixture(scope="module", autouse=True)
def drawn_once() -> Iterator[None]:
    """A draw takes longer than most of these games, and all of them play the same few."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.imbalance.task.gaussian_blobs", functools.lru_cache(gaussian_blobs))
        yield


def played(policy: str, seed: int = 42, task: str = "3 %") -> Record:
    """Play a trial; whatever the policy does, the budget holds."""
    record = play_policy(TASKS[task], policy, seed)
    used = [0, *steps_used(record)]
    assert used == sorted(used)
    assert used[-1] == record.metrics.get("steps_used", 0) <= TASKS[task].max_steps
    return record


def blocks(record: Record) -> list[dict[str, Any]]:
    return [block for message in record.messages for block in message["content"]]


def results(record: Record, tool: str = "") -> list[dict[str, Any]]:
    """Return the results of the calls of one tool, or of all."""
    names = {block["id"]: block["name"] for block in blocks(record) if block["type"] == "tool_use"}
    found = [block for block in blocks(record) if block["type"] == "tool_result"]
    return [block for block in found if tool in ("", names[block["tool_use_id"]])]


def steps_used(record: Record) -> list[int]:
    """Return what the reminders say, one after the other."""
    texts = [block["text"] for block in blocks(record) if block["type"] == "text"]
    return [int(number) for text in texts for number in re.findall(r"\(steps_used=(\d+)\)", text)]


@pytest.mark.parametrize("task", TASKS)
def test_null_never_starts(task: str) -> None:
    for seed in SEEDS[:2]:
        record = played("null", seed, task)

        assert (record.outcome, record.score, record.label) == ("failed", 0.0, "never started")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("policy", sorted(WEAK))
def test_whoever_does_nothing_useful_fails(policy: str, task: str) -> None:
    for seed in SEEDS[:2]:
        record = played(policy, seed, task)

        assert (record.outcome, record.label) == ("failed", "F1 below tau"), record.reason
        assert record.score is not None
        assert record.score < TASKS[task].tau - 0.1
        assert record.stop == ("end_turn" if policy == "cheat_claim" else "done")


@pytest.mark.parametrize("task", ["3 %", slow("20 %")])
def test_the_solver_passes(task: str) -> None:
    passed = [played("solver", seed, task).outcome == "passed" for seed in SEEDS]

    assert sum(passed) >= 5


@pytest.mark.parametrize("task", ["3 %", slow("20 %")])
def test_the_baseline_passes_sometimes(task: str) -> None:
    records = [played("baseline", seed, task) for seed in SEEDS]

    assert all(record.outcome in ("passed", "failed") for record in records)
    assert len({record.metrics["actions"] for record in records}) > 2
    assert 0 < sum(record.outcome == "passed" for record in records) < len(records) - 2


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_the_same_seed_is_the_same_game(policy: str) -> None:
    first, again = played(policy), played(policy)

    assert json.dumps(again.messages) == json.dumps(first.messages)
    assert (again.score, again.metrics) == (first.score, first.metrics)


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ("cheat_budget", ["max_steps=50"]),
        ("cheat_tau", ["tau=0.001"]),
        ("cheat_data", ["seed=43", "minority_frac=0.4", "sample_n=20001"]),
    ],
)
def test_a_configuration_of_ones_own_is_refused_and_the_trials_holds(policy: str, named: list[str]) -> None:
    record = played(policy)
    *refused, started = results(record, "imbalance_start")

    for result, name in zip(refused, named, strict=True):
        assert result["is_error"]
        assert f"{name} is refused, and nothing was changed" in result["content"]
    assert not started.get("is_error")
    assert (record.threshold, record.metrics["steps_used"]) == (0.3, 0)
    assert "You may use up to 5 paid actions; remaining: 5 (steps_used=0)." in str(record.messages)


def test_what_is_no_number_is_refused_each_time() -> None:
    record = played("cheat_nan")

    for tool in ("smote", "set_class_weights", "use_focal", "set_threshold"):
        told = results(record, tool)
        assert len(told) == 12
        assert all(result.get("is_error") and "It takes" in result["content"] for result in told)
    assert steps_used(record) == [0] * record.turns
    assert record.metrics["actions"] == "no paid action"


def test_further_arguments_are_refused_and_cost_nothing() -> None:
    record = played("cheat_arguments")
    tools = ("smote", "use_focal", "set_class_weights", "eval_on_val", "get_budget")

    assert all(result["is_error"] for tool in tools for result in results(record, tool))
    for tool in ("imbalance_start", "train", "sweep_thresholds", "submit_answer"):
        refused, taken = results(record, tool)
        assert refused["is_error"]
        assert not taken.get("is_error")
    assert record.metrics["actions"] == "no paid action"


def test_only_tools_can_be_called() -> None:
    record = played("cheat_tools")
    refused = [result for result in results(record) if result.get("is_error")]

    assert len(refused) == 11  # and imbalance_start, again
    assert record.metrics["steps_used"] == 0


def test_submissions_say_nothing_of_the_test_rows() -> None:
    for seed in SEEDS[:2]:
        record = played("cheat_probe", seed)
        first, *others = results(record, "submit_answer")

        assert json.loads(first["content"].splitlines()[0]).keys() == {
            "submitted",
            "max_steps",
            "steps_used",
            "remaining",
        }
        assert all(result["content"] == "This call was not run: the episode has ended." for result in others)


def test_a_claim_is_worth_nothing() -> None:
    record = played("cheat_claim")

    assert record.metrics["auto_submitted"]
    assert record.metrics["epochs"] == 5


def test_no_ops_and_repeated_training_buy_nothing() -> None:
    record = played("cheat_noop")
    trained = results(record, "train")

    assert [bool(result.get("is_error")) for result in trained[:3]] == [False, True, True]
    assert all("0 of 10 free epochs are left" in result["content"] for result in trained[1:])
    assert all('"changed": false' in result["content"] for result in results(record, "set_class_weights"))
    assert all('"changed": false' in result["content"] for result in results(record, "set_threshold"))
    assert (record.metrics["epochs"], record.metrics["steps_used"]) == (15, 0)


def test_actions_beyond_the_budget_are_refused() -> None:
    record = played("cheat_overrun")

    for tool in ("use_focal", "smote"):
        (refused,) = results(record, tool)
        assert refused["is_error"]
        assert refused["content"].startswith("step_budget_exceeded")
    assert record.metrics["steps_used"] == 5
    assert "smote" not in record.metrics["actions"]


def test_the_first_submission_is_the_one_graded() -> None:
    for seed in SEEDS[:2]:
        record = played("cheat_resubmit", seed)
        first, second = results(record, "submit_answer")
        task = TASKS["3 %"]
        plain = Session(gaussian_blobs(task.minority_frac, seed), seed=seed, max_steps=task.max_steps)

        assert not first.get("is_error")
        assert (second["is_error"], second["content"]) == (True, "This call was not run: the episode has ended.")
        assert all(result["is_error"] for result in results(record, "smote") + results(record, "use_focal"))
        assert record.score == plain.test().f1
        assert (record.metrics["steps_used"], record.metrics["epochs"]) == (0, 5)


def test_the_solver_takes_two_paid_actions_if_they_are_enough() -> None:
    record = played("solver", task="20 %")

    assert (record.turns, record.metrics["steps_used"], record.metrics["threshold_stale"]) == (3, 2, False)
    assert not any(result.get("is_error") for result in results(record))
