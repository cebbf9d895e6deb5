"""What is paid in a session, and what is free."""

from __future__ import annotations

import pytest

from benchmarks.imbalance.data import Dataset
from benchmarks.imbalance.session import AUTO_EPOCHS, MAX_LR, Session
from tests.benchmarks.imbalance.session.game import OTHERS, PAID, SEED, Action, do, logits, reference_logits, refusal


def test_every_effectful_action_is_paid_once(session: Session) -> None:
    told = do(session, *PAID.values())

    assert [result["changed"] for result in told] == [True, True, True]
    assert [(result["steps_used"], result["remaining"]) for result in told] == [(1, 2), (2, 1), (3, 0)]
    assert session.actions == [
        "smote(ratio=0.5, k=3)",
        "set_class_weights(beta=0.99)",
        "use_focal(alpha=0.4, gamma=2)",
    ]


@pytest.mark.parametrize("action", [*PAID.values(), ("set_threshold", (0.3,))], ids=str)
def test_an_action_beyond_the_budget_changes_nothing(action: Action, session: Session) -> None:
    do(session, OTHERS["smote"], OTHERS["focal"], OTHERS["weights"])

    said = refusal(session, action[0], *action[1])

    assert said.startswith("step_budget_exceeded: all 3 paid actions are used, and nothing was changed")


def test_free_tools_work_on_when_the_budget_is_spent(tiny: Dataset) -> None:
    session = Session(tiny, seed=SEED, max_steps=1)
    do(session, PAID["focal"])

    do(session, ("train", (10, MAX_LR)), ("eval_on_val", ()), ("sweep_thresholds", (9,)))

    assert session.budget() == {"max_steps": 1, "steps_used": 1, "remaining": 0}
    session.submit()


NO_OPS: dict[str, tuple[list[Action], Action]] = {
    "beta of 0": ([], ("set_class_weights", (0.0,))),
    "beta too small to tell": ([], ("set_class_weights", (1e-12,))),
    "smallest beta": ([], ("set_class_weights", (5e-324,))),
    "cross-entropy": ([], ("use_focal", (0.5, 0.0))),
    "threshold": ([], ("set_threshold", (0.5,))),
    "threshold to 6 digits": ([], ("set_threshold", (0.5000004,))),
    "threshold set": ([("set_threshold", (0.123456,))], ("set_threshold", (0.1234561,))),
    "SMOTE": ([PAID["smote"]], PAID["smote"]),
    "SMOTE, default seed given": ([PAID["smote"]], ("smote", (0.5, 3, SEED))),
    "SMOTE, default seed left out": ([("smote", (0.5, 3, SEED))], PAID["smote"]),
    "weights": ([PAID["weights"]], PAID["weights"]),
    "focal loss": ([PAID["focal"]], PAID["focal"]),
    "focal loss, with SMOTE in between": ([PAID["focal"], PAID["smote"]], PAID["focal"]),
}


@pytest.mark.parametrize("name", NO_OPS)
def test_what_would_change_nothing_is_free(name: str, tiny: Dataset) -> None:
    before, action = NO_OPS[name]
    session = Session(tiny, seed=SEED, max_steps=max(len(before), 1))  # spent, save where nothing precedes
    do(session, *before)
    was = session.state(), list(session.actions), logits(session), session.threshold

    (told,) = do(session, action)

    assert told["changed"] is False
    assert told["why"].endswith("no step was used")
    assert (session.state(), session.actions, logits(session), session.threshold) == was


def test_the_threshold_that_a_sweep_shows_is_set_already(rich: Session) -> None:
    shown = rich.sweep_thresholds(9)["threshold"]

    assert rich.set_threshold(shown)["changed"] is False


def test_smote_with_the_same_number_of_rows_is_free(rich: Session) -> None:
    rich.smote(0.5, 3, None)
    trained = logits(rich)

    told = rich.smote(0.5 + 1e-9, 3, None)

    assert logits(rich) == trained
    assert told["changed"] is False


@pytest.mark.parametrize("kind", [*PAID, "threshold"])
def test_a_toggle_is_paid_each_time(kind: str, rich: Session) -> None:
    one, other = (("set_threshold", (0.3,)), ("set_threshold", (0.4,))) if kind == "threshold" else (None, None)
    one, other = one or PAID[kind], other or OTHERS[kind]

    told = do(rich, *[one, other] * 3)

    assert [result["steps_used"] for result in told] == [1, 2, 3, 4, 5, 6]


def test_class_weights_follow_the_original_rows_whatever_smote_added(rich: Session, tiny: Dataset) -> None:
    do(rich, ("smote", (1.0, 5, None)), ("set_class_weights", (0.99,)))

    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS, MAX_LR)], smote=(1.0, 5, SEED), beta=0.99)


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (("set_class_weights", (0.9999999,)), "set_class_weights(beta=0.9999999)"),
        (("set_threshold", (0.99999995,)), "set_threshold(0.99999995)"),
        (("smote", (0.5, 3, 7)), "smote(ratio=0.5, k=3, seed=7)"),
    ],
)
def test_an_action_is_told_as_it_would_be_written(action: Action, told: str, rich: Session) -> None:
    do(rich, action)

    assert rich.actions == [told]
