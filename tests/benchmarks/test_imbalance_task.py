"""The episode: what the agent is told, how it starts, what is refused, and how it ends."""

from __future__ import annotations

import asyncio
import json
import math
import pickle
import re
import subprocess
import sys
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from benchmarks.imbalance import task as task_module
from benchmarks.imbalance.data import Dataset
from benchmarks.imbalance.session import AUTO_EPOCHS, FREE_EPOCHS, MAX_LR
from benchmarks.imbalance.task import Imbalance, ImbalanceEpisode
from pytest_rltask import Policy, PolicyView, ToolCall, ToolError, ToolResult, call
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.run.record import Record
from pytest_rltask.tools import tools_of
from pytest_rltask.trial.play import TrialSpec, play

ROOT = Path(__file__).parents[2]
SEED = 987_654_321
TOOLS = {
    "imbalance_start": {},
    "smote": {"ratio": 0.5, "k": 3},
    "set_class_weights": {"beta": 0.99},
    "use_focal": {"alpha": 0.4, "gamma": 2.0},
    "set_threshold": {"threshold": 0.3},
    "train": {"epochs": 1},
    "eval_on_val": {},
    "sweep_thresholds": {},
    "get_budget": {},
    "submit_answer": {},
}


@pytest.fixture(autouse=True)
def small(tiny: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Open every episode on tiny blobs: real data are tested elsewhere."""
    monkeypatch.setattr(task_module, "gaussian_blobs", lambda *_: tiny)
    monkeypatch.setattr(task_module, "credit_card", lambda *_: tiny)


@pytest.fixture
def fresh() -> ImbalanceEpisode:
    """An episode that has not been started."""
    return Imbalance().open(SEED)


@pytest.fixture
def episode(fresh: ImbalanceEpisode) -> ImbalanceEpisode:
    """An episode that has been started."""
    fresh.imbalance_start()
    return fresh


@dataclass(frozen=True)
class Played:
    """A played trial: the text of each result and reminder, in order, and the record."""

    results: list[ToolResult]
    reminders: list[str]
    record: Record


def conversation(*turns: list[ToolCall] | ToolCall | str, task: Imbalance | None = None, steps: int = 10) -> Played:
    """Play turns through the harness's own loop."""
    heard: list[ToolResult] = []

    def moves(view: PolicyView) -> Generator[Any, Any, None]:
        for turn in turns:
            answer = yield turn
            heard.extend([answer] if isinstance(answer, ToolResult) else answer)

    class Scripted(Imbalance):
        policies: ClassVar[Mapping[str, Policy]] = {"moves": moves}

    played = Scripted(**vars(task or Imbalance()))
    limits = replace(played.limits, turns=steps)
    spec = TrialSpec("trial", played, "imbalance", "policy:moves", 0, SEED, limits)
    record = asyncio.run(play(spec, PolicyModel("moves")))
    blocks = [block for message in record.messages[1:] if message["role"] == "user" for block in message["content"]]
    results = [ToolResult(b["content"], b.get("is_error", False)) for b in blocks if b["type"] == "tool_result"]
    return Played(results, [block["text"] for block in blocks if block["type"] == "text"], record)


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

    assert played.reminders == [
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
    assert fresh.imbalance_start() == Imbalance().open(SEED).imbalance_start()


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
    played = conversation(call("imbalance_start", **odd), call("get_budget"))

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
    assert task.open(SEED).imbalance_start(**given)["started"]


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


@pytest.mark.parametrize("name", [name for name in TOOLS if name != "imbalance_start"])
def test_a_tool_before_the_start_is_refused_and_free(name: str, fresh: ImbalanceEpisode) -> None:
    with pytest.raises(ToolError, match="Call imbalance_start first"):
        getattr(fresh, name)(**TOOLS[name])

    assert not fresh.done
    assert fresh.imbalance_start() == Imbalance().open(SEED).imbalance_start()


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
    other = Imbalance().open(SEED)
    other.imbalance_start()

    episode.train(5)
    other.train(5, MAX_LR)

    assert episode.sweep_thresholds(101) == other.sweep_thresholds(101)


# The end


def test_the_submission_ends_the_trial_and_says_no_score(episode: ImbalanceEpisode) -> None:
    assert not episode.done

    told = episode.submit_answer()

    assert told == {"submitted": True, "max_steps": 5, "steps_used": 0, "remaining": 5}
    assert episode.done
    with pytest.raises(ToolError, match="The answer is submitted"):
        episode.submit_answer()


@pytest.mark.parametrize("answer", [None, 1.0, "done", {"f1": 1.0}, [1, 2]])
def test_whatever_is_handed_in_the_session_is_graded(answer: Any) -> None:
    played = conversation(call("imbalance_start"), call("sweep_thresholds"), call("submit_answer", answer=answer))
    nothing = conversation(call("imbalance_start"), call("sweep_thresholds"), call("submit_answer"))

    assert played.results[-1].text == nothing.results[-1].text
    assert played.record.score == nothing.record.score
    assert played.record.stop == "done"


def test_what_follows_the_submission_in_the_same_reply_is_not_run() -> None:
    play = [call("imbalance_start"), call("submit_answer"), call("sweep_thresholds"), call("submit_answer")]

    played = conversation(play)

    assert [result.is_error for result in played.results] == [False, False, True, True]
    assert played.record.metrics["threshold"] == 0.5
    assert not played.record.metrics["auto_submitted"]


def test_the_end_of_the_conversation_submits() -> None:
    game = [call("imbalance_start"), call("smote", ratio=1.0, k=5), call("train", epochs=10), call("sweep_thresholds")]
    for ending in (["I am done."], []):
        silent = conversation(game, *ending)
        loud = conversation(game, call("submit_answer"))

        assert (silent.record.score, loud.record.score) == (loud.record.score, silent.record.score)
        assert silent.record.score is not None
        assert silent.record.score > 0.3
        assert silent.record.metrics == {**loud.record.metrics, "auto_submitted": True}


def test_the_turn_limit_submits() -> None:
    played = conversation(*[call("imbalance_start"), *[call("sweep_thresholds")] * 5], steps=3)

    assert (played.record.turns, played.record.limit) == (3, "turns")
    assert played.record.metrics["auto_submitted"]


def test_a_sweep_submits_where_the_options_say_so() -> None:
    task = Imbalance(auto_submit="sweep")
    game = [call("imbalance_start"), call("smote", ratio=1.0, k=5)]

    played = conversation(game, [call("sweep_thresholds"), call("train", epochs=5)], call("submit_answer"), task=task)
    by_hand = conversation(game, call("sweep_thresholds"), call("submit_answer"))

    assert played.results[2].json()["submitted"] is True
    assert played.results[3].text == "This call was not run: the episode has ended."
    assert (played.record.turns, played.record.stop) == (2, "done")
    assert played.record.metrics == {**by_hand.record.metrics, "auto_submitted": True}
    assert "submitted" not in by_hand.results[2].text


def test_a_sweep_that_is_refused_submits_nothing() -> None:
    task = Imbalance(auto_submit="sweep")

    played = conversation(
        call("sweep_thresholds"), call("imbalance_start"), call("sweep_thresholds", num_points=0), task=task
    )

    assert [result.is_error for result in played.results] == [True, False, True]
    assert played.record.stop != "done"


# The grade


def test_an_episode_never_started_fails_with_zero() -> None:
    played = conversation(call("train", epochs=10), "I give up.")

    assert (played.record.outcome, played.record.score) == ("failed", 0.0)
    assert (played.record.label, played.record.reason) == ("never started", "imbalance_start was never called")


def test_the_grade_is_the_f1_on_the_test_rows(episode: ImbalanceEpisode, tiny: Dataset) -> None:
    episode.smote(1.0, 5)
    swept = episode.sweep_thresholds()
    session = episode._session
    called = session._learner().logits(tiny.test.features) >= session.threshold
    hits = int((called & (tiny.test.labels == 1)).sum())
    episode.submit_answer()
    episode.finish()

    grade = episode.grade()

    assert grade.score == 2 * hits / (int(called.sum()) + 30)
    assert grade.threshold == 0.3
    assert grade.metrics == {
        "precision": hits / int(called.sum()),
        "recall": hits / 30,
        "validation_f1": pytest.approx(swept["best"]["f1"], abs=1e-4),
        "threshold": pytest.approx(swept["threshold"], abs=1e-6),
        "threshold_stale": False,
        "steps_used": 1,
        "actions": "smote(ratio=1, k=5)",
        "epochs": AUTO_EPOCHS,
        "auto_submitted": False,
    }


def test_a_score_of_tau_passes_and_a_lower_one_says_why() -> None:
    learn = [call("sweep_thresholds"), call("train", epochs=3)]
    game = [call("imbalance_start"), call("smote", ratio=1.0, k=5), *learn, call("submit_answer")]
    score = conversation(game).record.score
    assert score is not None

    at, above = (conversation(game, task=Imbalance(tau=tau)).record for tau in (score, score + 1e-9))

    assert (at.outcome, at.reason) == ("passed", "")
    assert (above.outcome, above.label) == ("failed", "F1 below tau")
    assert above.reason == (
        f"test F1 {score:.3f} is below tau {score + 1e-9:g} (smote(ratio=1, k=5); {AUTO_EPOCHS + 3} epochs)"
    )
    assert above.metrics["threshold_stale"] is True


def test_what_was_tried_lists_what_took_effect_and_nothing_else(episode: ImbalanceEpisode) -> None:
    assert episode.tried == "no paid action"
    with pytest.raises(ToolError):
        episode.smote(0.1, 3)
    episode.set_threshold(0.5)
    episode.train(10)
    assert episode.tried == "no paid action"

    episode.smote(0.5, 3)
    episode.smote(0.5, 3)
    episode.set_threshold(0.25)

    assert episode.tried == "smote(ratio=0.5, k=3), set_threshold(0.25)"
