"""How an episode starts, and what it refuses."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest

from benchmarks.imbalance.session import AUTO_EPOCHS, FREE_EPOCHS, MAX_LR
from benchmarks.imbalance.task import Imbalance, ImbalanceEpisode
from pytest_rltask import ToolError, call
from tests.benchmarks.imbalance.task.episodes import SEED, TOOLS, conversation, laid_out

# The start


def test_the_start_tells_the_sizes_and_the_rules(fresh: ImbalanceEpisode) -> None:
    assert fresh.imbalance_start() == {
        "started": True,
        "features": 4,
        "training": {"rows": 240, "minority_rows": 40},
        "validation": {"rows": 150, "minority_rows": 30},
        "tau": 0.3,
        "training_rows": 240,
        "minority_rows": 40,
        "epochs_trained": AUTO_EPOCHS,
        "free_epochs_left": FREE_EPOCHS,
        "threshold": 0.5,
        "threshold_stale": False,
        "max_steps": 5,
        "steps_used": 0,
        "remaining": 5,
    }


OWN: dict[str, Any] = {
    "seed": SEED + 1,
    "max_steps": 50,
    "tau": 0.01,
    "minority_frac": 0.4,
    "source": "kaggle",
    "sample_n": 200_000,
}


@pytest.mark.parametrize("name", OWN)
def test_a_configuration_of_ones_own_is_refused_with_a_reason(name: str, fresh: ImbalanceEpisode) -> None:
    with pytest.raises(ToolError) as caught:
        fresh.imbalance_start(**{name: OWN[name]})

    said = str(caught.value)
    assert f"imbalance_start: {name}={OWN[name]!r} is refused, and nothing was changed: {name} is " in said
    assert str(SEED) not in said.replace(str(SEED + 1), "")
    assert fresh.get_budget() == {"max_steps": 5, "steps_used": 0, "remaining": 5}
    with pytest.raises(ToolError, match="Call imbalance_start first"):
        fresh.eval_on_val()
    assert fresh.imbalance_start() == laid_out(Imbalance()).imbalance_start()


@pytest.mark.parametrize("name", OWN)
def test_a_configuration_of_ones_own_is_refused_later_too(name: str, episode: ImbalanceEpisode) -> None:
    episode.use_focal(0.4, 2.0)

    with pytest.raises(ToolError, match=f"{name} is "):
        episode.imbalance_start(**{name: OWN[name]})

    assert episode.get_budget() == {"max_steps": 5, "steps_used": 1, "remaining": 4}


@pytest.mark.parametrize(
    "odd", [{"max_steps": True}, {"tau": math.nan}, {"tau": math.inf}, {"tau": "0.3"}, {"steps": 9}, {"max_steps": 5.5}]
)
def test_a_start_with_what_is_no_configuration_is_refused(odd: dict[str, Any]) -> None:
    played = conversation(call("imbalance_start", **odd), call("eval_on_val"))

    assert [result.is_error for result in played.results] == [True, True]
    assert played.results[1].text == "Call imbalance_start first."


@pytest.mark.parametrize(
    ("task", "given"),
    [
        (Imbalance(), {"max_steps": 5, "tau": 0.3, "minority_frac": 0.03, "source": "synthetic", "seed": SEED}),
        (Imbalance(), {"sample_n": None, "tau": None}),
        (Imbalance(source="kaggle", sample_n=50_000, tau=0.75), {"source": "kaggle", "sample_n": 50_000}),
    ],
)
def test_the_trials_own_configuration_may_be_repeated(task: Imbalance, given: dict[str, Any]) -> None:
    assert laid_out(task).imbalance_start(**given)["started"]


def test_the_other_sources_argument_is_refused(small: None) -> None:
    episode = Imbalance(source="kaggle", tau=0.75).open(SEED)

    for other in ({"minority_frac": 0.03}, {"sample_n": 50_000}):
        with pytest.raises(ToolError, match="fixed by the harness"):
            episode.imbalance_start(**other)


def test_a_second_start_is_refused_and_keeps_the_session(episode: ImbalanceEpisode) -> None:
    episode.use_focal(0.4, 2.0)
    episode.train(3)
    before = episode.eval_on_val()

    with pytest.raises(ToolError, match="started already, and nothing was changed"):
        episode.imbalance_start()

    assert episode.eval_on_val() == before


@pytest.mark.parametrize("name", [name for name in TOOLS if name not in ("imbalance_start", "get_budget")])
def test_a_tool_before_the_start_is_refused_and_free(name: str, fresh: ImbalanceEpisode) -> None:
    with pytest.raises(ToolError, match="Call imbalance_start first"):
        getattr(fresh, name)(**TOOLS[name])

    assert not fresh.done
    assert fresh.imbalance_start() == laid_out(Imbalance()).imbalance_start()


# What is refused


ODD = [math.nan, math.inf, -math.inf, -1, True, False, None, "0.5", [0.5], {}, 1e308, 10**400]
RANGES = {
    ("smote", "ratio"): ("0", "1"),
    ("smote", "k"): ("1", "100"),
    ("set_class_weights", "beta"): ("0", "1"),
    ("use_focal", "alpha"): ("0", "1"),
    ("use_focal", "gamma"): ("0", "10"),
    ("set_threshold", "threshold"): ("0", "1"),
    ("train", "epochs"): ("1", "10"),
    ("train", "lr"): ("0", "0.001"),
    ("sweep_thresholds", "num_points"): ("1", "101"),
}


@pytest.mark.parametrize("argument", RANGES, ids=".".join)
def test_what_is_no_number_in_range_is_refused_and_free(argument: tuple[str, str]) -> None:
    name, parameter = argument

    played = conversation(
        call("imbalance_start"),
        call("eval_on_val"),
        [call(name, **{**TOOLS[name], parameter: odd}) for odd in ODD],
        [call("get_budget"), call("eval_on_val")],
    )

    _, before, *refused, budget, after = played.results
    assert all(result.is_error for result in refused)
    assert all(parameter in result.text for result in refused)
    assert budget.json()["steps_used"] == 0
    assert before == after
    assert not json.loads(before.text)["threshold_stale"]
    assert played.record.outcome == "failed"


@pytest.mark.parametrize("argument", RANGES, ids=".".join)
def test_a_refusal_says_the_valid_range(argument: tuple[str, str]) -> None:
    name, parameter = argument

    played = conversation(
        call("imbalance_start"), [call(name, **{**TOOLS[name], parameter: odd}) for odd in (math.nan, -1, True, 1e308)]
    )

    low, high = RANGES[argument]
    for result in played.results[1:]:
        takes = result.text.rpartition(" It takes ")[2]
        assert re.search(rf"\b{parameter}: (number|integer) >=? {low} and <=? {re.escape(high)}[,.]", takes), takes


def test_an_unknown_argument_is_refused(episode: ImbalanceEpisode) -> None:
    played = conversation(call("imbalance_start"), call("submit_answer", f1=1.0), call("get_budget", reset=True))

    assert [result.is_error for result in played.results] == [False, True, True]
    assert played.record.metrics["auto_submitted"]


def test_arguments_reach_the_session_in_their_places(episode: ImbalanceEpisode) -> None:
    episode.smote(ratio=0.5, k=3, seed=7)
    episode.set_class_weights(beta=0.99)
    episode.use_focal(alpha=0.4, gamma=2.0)
    episode.set_threshold(threshold=0.25)
    told = episode.train(epochs=4, lr=0.0005)

    assert episode.tried == (
        "smote(ratio=0.5, k=3, seed=7), set_class_weights(beta=0.99), use_focal(alpha=0.4, gamma=2), "
        "set_threshold(0.25)"
    )
    assert (told["epochs_trained"], told["threshold"], told["threshold_stale"]) == (9, 0.25, True)
    assert len(episode.sweep_thresholds(num_points=5)["f1_by_threshold"]) == 5
    assert len(episode.sweep_thresholds()["f1_by_threshold"]) == 9


def test_training_takes_the_highest_learning_rate_unless_told(episode: ImbalanceEpisode) -> None:
    other = laid_out(Imbalance())
    other.imbalance_start()

    episode.train(5)
    other.train(5, MAX_LR)

    assert episode.sweep_thresholds(101) == other.sweep_thresholds(101)
