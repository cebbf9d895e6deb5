"""What model the configuration of a session makes, and what its free epochs are."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from benchmarks.imbalance.data import Dataset
from benchmarks.imbalance.session import AUTO_EPOCHS, FREE_EPOCHS, MAX_LR, Session
from tests.benchmarks.imbalance.session.game import OTHERS, PAID, SEED, Action, do, logits, reference_logits, refusal

# The model


CONFIGURED: dict[str, tuple[list[Action], dict[str, Any]]] = {
    "nothing": ([], {}),
    "SMOTE": ([PAID["smote"]], {"smote": (0.5, 3, SEED)}),
    "SMOTE with a seed": ([OTHERS["smote"]], {"smote": (1.0, 5, 3)}),
    "weights": ([PAID["weights"]], {"beta": 0.99}),
    "focal loss": ([PAID["focal"]], {"focal": (0.4, 2.0)}),
    "everything": (list(PAID.values()), {"smote": (0.5, 3, SEED), "beta": 0.99, "focal": (0.4, 2.0)}),
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_the_model_is_what_the_configuration_says(name: str, rich: Session, tiny: Dataset) -> None:
    actions, configured = CONFIGURED[name]

    do(rich, *actions)

    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS, MAX_LR)], **configured)
    rich.train(4, 0.0005)
    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS, MAX_LR), (4, 0.0005)], **configured)


def test_neither_order_nor_detours_change_the_model(tiny: Dataset) -> None:
    found = {}
    for order in itertools.permutations(PAID):
        straight, detour = (Session(tiny, seed=SEED, max_steps=100) for _ in range(2))
        do(straight, *(PAID[name] for name in order))
        for name in order:
            do(detour, OTHERS[name], ("train", (7, MAX_LR)), ("eval_on_val", ()), ("set_threshold", (0.3,)))
            do(detour, PAID[name], ("sweep_thresholds", (9,)))
        found[order] = {logits(straight), logits(detour)}

    assert len(set().union(*found.values())) == 1


def test_another_configuration_does_not_train_on_a_model_that_was_looked_at(rich: Session, tiny: Dataset) -> None:
    do(rich, ("eval_on_val", ()), PAID["weights"])

    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS, MAX_LR)], beta=0.99)


def test_smote_always_starts_from_the_original_rows(rich: Session, tiny: Dataset) -> None:
    do(rich, ("smote", (1.0, 5, None)), ("smote", (0.3, 5, None)))

    assert rich.state()["minority_rows"] == 60
    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS, MAX_LR)], smote=(0.3, 5, SEED))


def test_the_rows_that_are_told_are_those_trained_on(rich: Session) -> None:
    for ratio in (0.21, 0.333, 0.57, 1.0):
        told = rich.smote(ratio, 3, None)
        logits(rich)

        assert rich._examples is not None
        signs = rich._examples[1].signs
        assert (told["training_rows"], told["minority_rows"]) == (len(signs), int((signs > 0).sum()))


@pytest.mark.parametrize("parts", [(3, 7), (1, 1, 8), (10,), (1,) * 10])
def test_free_epochs_may_be_trained_in_parts(parts: tuple[int, ...], rich: Session, tiny: Dataset) -> None:
    for part in parts:
        rich.train(part, MAX_LR)
        logits(rich)

    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS + 10, MAX_LR)])


def test_a_session_that_looks_all_the_time_sees_what_one_that_looks_once_sees(tiny: Dataset) -> None:
    play = [PAID["smote"], ("train", (2, MAX_LR)), PAID["focal"], ("train", (3, MAX_LR)), ("train", (4, 0.0002))]
    busy, lazy = (Session(tiny, seed=SEED, max_steps=100) for _ in range(2))

    told = [do(busy, action, ("eval_on_val", ()))[0] for action in play]

    assert told == do(lazy, *play)
    assert busy.eval_on_val() == lazy.eval_on_val()
    assert busy.sweep_thresholds(101) == lazy.sweep_thresholds(101)
    assert (busy.test(), busy.threshold) == (lazy.test(), lazy.threshold)


def test_sessions_share_nothing(tiny: Dataset) -> None:
    one, two = (Session(tiny, seed=SEED, max_steps=3) for _ in range(2))
    before = two.state(), logits(two)

    do(one, *PAID.values(), ("train", (10, MAX_LR)), ("sweep_thresholds", (9,)))
    one.submit()

    assert (two.state(), logits(two), two.actions, two.is_submitted) == (*before, [], False)


def test_another_seed_is_another_model(tiny: Dataset) -> None:
    assert len({logits(Session(tiny, seed=seed, max_steps=1)) for seed in range(4)}) == 4


def test_a_seed_of_any_size_will_do(tiny: Dataset) -> None:
    session = Session(tiny, seed=2**64 + 7, max_steps=1)
    do(session, PAID["smote"])

    assert session.eval_on_val()["minority_rows"] == 100
    assert session.smote(0.5, 3, 7)["changed"] is False


# Free epochs


def test_each_configuration_has_ten_free_epochs_of_its_own(rich: Session) -> None:
    assert rich.train(FREE_EPOCHS, MAX_LR)["free_epochs_left"] == 0
    assert "0 of 10" in refusal(rich, "train", 1, MAX_LR)

    (told,) = do(rich, PAID["focal"])

    assert (told["epochs_trained"], told["free_epochs_left"]) == (AUTO_EPOCHS, FREE_EPOCHS)
    assert rich.train(FREE_EPOCHS, MAX_LR)["epochs_trained"] == AUTO_EPOCHS + FREE_EPOCHS


@pytest.mark.parametrize(
    "action",
    [
        ("use_focal", (0.5, 0.0)),
        ("set_class_weights", (0.0,)),
        ("set_threshold", (0.5,)),
        ("set_threshold", (0.3,)),
        ("sweep_thresholds", (9,)),
        ("eval_on_val", ()),
    ],
    ids=str,
)
def test_what_does_not_change_the_configuration_renews_no_free_epochs(action: Action, rich: Session) -> None:
    rich.train(FREE_EPOCHS, MAX_LR)
    trained = logits(rich)

    do(rich, action)

    assert rich.state()["free_epochs_left"] == 0
    assert logits(rich) == trained


def test_free_training_is_lost_with_its_configuration(rich: Session) -> None:
    fresh = logits(rich)
    rich.train(FREE_EPOCHS, MAX_LR)

    do(rich, PAID["focal"], ("use_focal", (0.5, 0.0)))

    assert rich.epochs == AUTO_EPOCHS
    assert logits(rich) == fresh


def test_the_learning_rate_matters_and_a_slow_epoch_counts_as_one(tiny: Dataset) -> None:
    slow, fast = (Session(tiny, seed=SEED, max_steps=1) for _ in range(2))

    told = slow.train(5, 1e-6)
    fast.train(5, MAX_LR)

    assert told["free_epochs_left"] == FREE_EPOCHS - 5
    assert logits(slow) != logits(fast)
