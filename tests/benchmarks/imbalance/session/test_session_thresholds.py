"""What thresholds and sweeps do in a session, and what its results say of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.imbalance.data import Dataset, Part
from benchmarks.imbalance.session import MAX_LR, Session
from tests.benchmarks.imbalance.session.game import BACK, PAID, SEED, SET, SWEEP, TRAIN, Action, do, logits

# Thresholds


def test_a_threshold_does_not_train(rich: Session) -> None:
    rich.train(3, MAX_LR)
    trained = logits(rich)

    told = rich.set_threshold(0.2)

    assert (told["threshold"], told["epochs_trained"], told["free_epochs_left"]) == (0.2, 8, 7)
    assert logits(rich) == trained


@pytest.mark.parametrize(
    ("actions", "is_stale"),
    [
        ([], False),
        ([TRAIN], False),
        ([PAID["focal"]], False),
        ([SET], False),
        ([SWEEP], False),
        ([SWEEP, ("eval_on_val", ())], False),
        ([SET, TRAIN], True),
        ([SWEEP, TRAIN], True),
        ([SET, PAID["smote"]], True),
        ([SWEEP, PAID["weights"]], True),
        ([SWEEP, PAID["focal"]], True),
        ([SWEEP, BACK], False),
        ([SWEEP, TRAIN, SWEEP], False),
        ([SWEEP, TRAIN, SET], False),
        ([SWEEP, PAID["focal"], BACK], False),
        ([TRAIN, SWEEP, PAID["focal"], BACK], True),
        ([TRAIN, SWEEP, PAID["focal"], BACK, TRAIN], False),
    ],
)
def test_a_threshold_is_stale_when_its_model_is_another(actions: list[Action], is_stale: bool, rich: Session) -> None:
    do(rich, *actions)

    assert rich.is_threshold_stale is is_stale
    assert rich.state()["threshold_stale"] is is_stale
    assert rich.eval_on_val()["threshold_stale"] is is_stale


def test_a_threshold_is_not_stale_for_the_same_model_trained_in_other_parts(rich: Session) -> None:
    do(rich, ("train", (2, MAX_LR)), ("train", (3, MAX_LR)), SWEEP)
    swept_for = logits(rich)

    do(rich, PAID["focal"], BACK, ("train", (5, MAX_LR)))

    assert logits(rich) == swept_for
    assert not rich.is_threshold_stale


@pytest.mark.parametrize("actions", [[], [TRAIN], list(PAID.values()), [PAID["smote"], ("train", (10, MAX_LR))]])
def test_a_sweep_finds_the_best_of_all_thresholds(actions: list[Action], rich: Session, tiny: Dataset) -> None:
    do(rich, *actions)
    found = rich._validation_logits()
    labels = tiny.validation.labels == 1

    swept = rich.sweep_thresholds(3)

    def f1(threshold: float) -> float:
        called = found >= threshold
        return float(2 * (called & labels).sum() / (called.sum() + labels.sum()))

    best = max(f1(threshold) for threshold in found)
    assert f1(rich.threshold) == best
    assert rich.validation().f1 == best
    assert swept["best"]["f1"] == round(best, 4)
    assert rich.eval_on_val()["f1"] == swept["best"]["f1"]


def test_the_number_of_points_changes_only_what_is_shown(tiny: Dataset) -> None:
    found = []
    for number in (1, 9, 101):
        session = Session(tiny, seed=SEED, max_steps=1)
        swept = session.sweep_thresholds(number)
        points = swept.pop("f1_by_threshold")
        found.append((swept, session.threshold, session.test()))

        assert [threshold for threshold, _ in points] == [round(i / (number + 1), 4) for i in range(1, number + 1)]
        for threshold, f1 in points:
            session._threshold = math.log(threshold / (1 - threshold))
            if len(points) < 10:
                assert f1 == round(session.validation().f1, 4)

    assert found[0] == found[1] == found[2]


def test_a_sweep_keeps_the_threshold_when_there_is_nothing_to_choose(tiny: Dataset) -> None:
    blank = Part(tiny.validation.features, np.zeros_like(tiny.validation.labels))
    session = Session(replace(tiny, validation=blank), seed=SEED, max_steps=3)
    do(session, SET, TRAIN)

    swept = session.sweep_thresholds(3)

    assert (swept["threshold"], swept["threshold_stale"], swept["best"]["f1"]) == (0.3, True, 0.0)
    assert [f1 for _, f1 in swept["f1_by_threshold"]] == [0.0, 0.0, 0.0]


# What the results say, where a model had been misled


def test_a_sweep_says_which_threshold_is_best_and_that_it_is_in_use(rich: Session) -> None:
    swept = rich.sweep_thresholds(3)

    assert swept["best"]["threshold"] == swept["threshold"]
    assert "is set now" in swept["in_use"]
