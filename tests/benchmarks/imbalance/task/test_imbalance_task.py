"""The task: what its fields may be, and what the agent is told."""

from __future__ import annotations

import json
import math
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.imbalance.data import Dataset
from benchmarks.imbalance.session import AUTO_EPOCHS, FREE_EPOCHS, MAX_LR
from benchmarks.imbalance.task import Imbalance, ImbalanceEpisode
from pytest_rltask import call
from pytest_rltask.tools import tools_of
from tests.benchmarks.imbalance.task.episodes import SEED, TOOLS, conversation

ROOT = Path(__file__).parents[4]


# The task


def test_importing_the_task_loads_nothing_heavy() -> None:
    heavy = "{'numpy', 'pandas', 'sklearn', 'scipy', 'torch', 'imblearn', 'kagglehub'}"
    program = f"import sys, benchmarks.imbalance.task; print(sorted({heavy} & set(sys.modules)))"

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def test_a_task_travels_by_pickle_and_is_known_by_its_content() -> None:
    task = Imbalance(minority_frac=0.2, max_steps=4, tau=0.7)

    assert pickle.loads(pickle.dumps(task)) == task
    assert pickle.loads(pickle.dumps(task)).digest() == task.digest()
    assert task.name == "imbalance"
    variants = [
        Imbalance(),
        task,
        replace(task, max_steps=5),
        replace(task, tau=0.71),
        replace(task, auto_submit="sweep"),
        Imbalance(source="kaggle", tau=0.75),
        Imbalance(source="kaggle", tau=0.75, sample_n=50_000),
    ]
    assert len({variant.digest() for variant in variants}) == len(variants)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"minority_frac": 0.001}, "minority_frac 0.001 is not within 0.003 to 0.4"),
        ({"minority_frac": 0.5}, "minority_frac 0.5 is not within"),
        ({"minority_frac": math.nan}, "minority_frac nan is not within"),
        ({"source": "kaggle", "tau": 0.75, "sample_n": 19_999}, "sample_n 19999 is not within 20000 to 200000"),
        ({"source": "kaggle", "tau": 0.75, "sample_n": 200_001}, "sample_n 200001 is not within"),
        ({"max_steps": 0}, "max_steps 0 is not at least 1"),
        ({"max_steps": -1}, "max_steps -1 is not at least 1"),
        ({"tau": 0.0}, "calling every row positive has an F1 of 0.058"),
        ({"tau": 0.07}, "tau 0.07 is not within 0.078 to"),
        ({"tau": 0.99}, "the best classifier there is at minority_frac 0.03 has"),
        ({"tau": math.nan}, "tau nan is not within"),
        ({"source": "kaggle", "tau": 0.01}, "tau 0.01 is not within 0.023 to 1.000"),
        ({"source": "kaggle", "tau": 1.01}, "a perfect one of these data has 1.000"),
        ({"source": "kagle"}, "synthetic or kaggle"),
        ({"auto_submit": "never"}, "end or sweep"),
    ],
)
def test_a_field_out_of_range_is_named(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match="not") as caught:
        Imbalance(**fields)

    assert said in str(caught.value)


def test_the_real_data_get_time_to_be_downloaded() -> None:
    assert Imbalance(source="kaggle", tau=0.75).limits.tool_s > Imbalance().limits.tool_s


# What the agent is told


def test_the_prompt_states_every_demand_and_every_limit(fresh: ImbalanceEpisode) -> None:
    demands = [
        "an F1 of at least 0.3 on a hidden test set",
        "at most 5 paid actions",
        "a rare class of 3 % of the rows",
        "Start with imbalance_start()",
        *(f"- {name}(" for name in TOOLS if name != "imbalance_start"),
        f"at most {FREE_EPOCHS} epochs in all for each configuration",
        f"a learning rate of at most {MAX_LR:g}",
        f"for {AUTO_EPOCHS} epochs",
        "threshold_stale",
        "0.5 at first",
        "refused at no cost",
        "even if you do not submit it",
    ]

    assert [demand for demand in demands if demand not in fresh.prompt] == []


def test_the_prompt_follows_the_parameters() -> None:
    blobs = Imbalance(minority_frac=0.2, max_steps=4, tau=0.7, auto_submit="sweep").open(SEED).prompt
    cards = Imbalance(source="kaggle", sample_n=50_000, tau=0.75).open(SEED).prompt

    assert "20 % of the rows" in blobs
    assert "at least 0.7 on" in blobs
    assert "at most 4 paid" in blobs
    assert "(source='synthetic', minority_frac=0.2, max_steps=4, tau=0.7)" in blobs
    assert "This also submits." in blobs
    assert "0.17 % are fraud" in cards
    assert "(source='kaggle', sample_n=50000, max_steps=5, tau=0.75)" in cards
    assert "also submits" not in cards


def test_neither_the_prompt_nor_any_result_names_the_seed() -> None:
    played = conversation(
        [call(name, **arguments) for name, arguments in TOOLS.items()],
        call("imbalance_start", seed=1),
    )

    assert str(SEED) not in json.dumps(played.record.messages) + json.dumps(played.record.tools)


def test_the_schema_carries_the_ranges(fresh: ImbalanceEpisode) -> None:
    ranges = {
        f"{tool.name}.{name}": {key: value for key, value in spec.items() if "imum" in key}
        for tool in tools_of(fresh).values()
        if tool.name != "imbalance_start"
        for name, spec in tool.input_schema["properties"].items()
    }
    (seed, _) = tools_of(fresh)["smote"].input_schema["properties"]["seed"]["anyOf"]

    assert ranges == {
        "smote.ratio": {"exclusiveMinimum": 0, "maximum": 1},
        "smote.k": {"minimum": 1, "maximum": 100},
        "smote.seed": {},
        "set_class_weights.beta": {"minimum": 0, "exclusiveMaximum": 1},
        "use_focal.alpha": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "use_focal.gamma": {"minimum": 0, "maximum": 10},
        "set_threshold.threshold": {"exclusiveMinimum": 0, "exclusiveMaximum": 1},
        "train.epochs": {"minimum": 1, "maximum": FREE_EPOCHS},
        "train.lr": {"exclusiveMinimum": 0, "maximum": MAX_LR},
        "sweep_thresholds.num_points": {"minimum": 1, "maximum": 101},
        "submit_answer.answer": {},
    }
    assert (seed["minimum"], seed["exclusiveMaximum"]) == (0, 2**32)
    assert list(tools_of(fresh)) == list(TOOLS)


def reminder(remaining: int, used: int) -> str:
    return (
        f"You may use up to {remaining + used} paid actions; remaining: {remaining} (steps_used={used}). "
        "Free tools: train, eval_on_val, sweep_thresholds."
    )


def test_each_turn_ends_with_the_budget_in_the_agreed_words() -> None:
    played = conversation(
        call("get_budget"),
        call("imbalance_start"),
        [call("smote", ratio=0.5, k=3), call("smote", ratio=0.5, k=3), call("use_focal", alpha=0.4, gamma=2.0)],
        [call("train", epochs=10), call("sweep_thresholds")],
        call("set_threshold", threshold=2.0),
        call("set_class_weights", beta=0.99),
        call("set_threshold", threshold=0.123),
        call("submit_answer"),
        task=Imbalance(max_steps=3),
    )

    assert [said for said in played.reminders if "replies remain" not in said] == [
        reminder(3, 0),
        reminder(3, 0),
        reminder(1, 2),
        reminder(1, 2),
        reminder(1, 2),
        reminder(0, 3),
        reminder(0, 3),
        reminder(0, 3),
    ]


@pytest.mark.parametrize(("steps", "is_told"), [(3, True), (5, True), (6, False), (10, False)])
def test_a_model_with_few_turns_is_told_how_many_and_that_calls_may_share_one(steps: int, is_told: bool) -> None:
    record = conversation(call("imbalance_start"), call("submit_answer"), steps=steps).record
    texts = [block["text"] for message in record.messages for block in message["content"] if block["type"] == "text"]

    assert (f"You have {steps} replies in all. One reply may call several tools." in texts) == is_told
    assert (f"{steps - 1} of {steps} replies remain. One reply may call several tools." in texts) == is_told


def test_the_record_knows_the_data_and_the_agent_not_the_test_set(fresh: ImbalanceEpisode, tiny: Dataset) -> None:
    assert fresh.info == {
        "data": "tiny blobs",
        "train_rows": 240,
        "train_positives": 40,
        "validation_positives": 30,
        "test_positives": 30,
    }
    assert "test" not in json.dumps(fresh.imbalance_start())
