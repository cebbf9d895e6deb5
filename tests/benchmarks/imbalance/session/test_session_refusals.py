"""What a session refuses."""

from __future__ import annotations

import math

import pytest

from benchmarks.imbalance.session import FREE_EPOCHS, MAX_LR, Session
from tests.benchmarks.imbalance.session.game import MAJORITY, MINORITY, refusal


@pytest.mark.parametrize("ratio", [math.nan, math.inf, -1.0, 0.0, 0.1, 0.2, 0.2049, 1.001, 1e308])
def test_a_ratio_that_adds_no_row_or_too_many_is_refused(ratio: float, session: Session) -> None:
    said = refusal(session, "smote", ratio, 5, None)

    assert "now 0.2: give a larger one, up to 1." in said


@pytest.mark.parametrize("k", [-1, 0, MINORITY, 10**9])
def test_k_must_leave_a_row_to_be_the_neighbour_of(k: int, session: Session) -> None:
    assert f"not within 1 to {MINORITY - 1}" in refusal(session, "smote", 0.5, k, None)


def test_the_largest_k_is_taken(session: Session) -> None:
    assert session.smote(1.0, MINORITY - 1, None)["changed"]
    assert session.eval_on_val()["minority_rows"] == MAJORITY


@pytest.mark.parametrize("beta", [math.nan, math.inf, -0.1, 1.0, 2.0])
def test_a_beta_out_of_range_is_refused(beta: float, session: Session) -> None:
    assert "0 <= beta < 1" in refusal(session, "set_class_weights", beta)


@pytest.mark.parametrize(
    ("alpha", "gamma"), [(0.0, 1.0), (1.0, 1.0), (math.nan, 1.0), (0.5, math.nan), (0.5, -0.1), (0.5, 10.1), (0.5, 1e9)]
)
def test_a_focal_loss_out_of_range_is_refused(alpha: float, gamma: float, session: Session) -> None:
    said = refusal(session, "use_focal", alpha, gamma)

    assert "0 < alpha < 1" in said
    assert "0 <= gamma <= 10" in said


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -math.inf, 0.0, 1.0, -0.5, 1.5])
def test_a_threshold_out_of_range_is_refused(threshold: float, session: Session) -> None:
    assert "0 < threshold < 1" in refusal(session, "set_threshold", threshold)


@pytest.mark.parametrize(("epochs", "left"), [(0, 10), (-1, 10), (11, 10), (10**9, 10), (8, 7), (4, 3)])
def test_more_epochs_than_are_left_are_refused_not_cut(epochs: int, left: int, session: Session) -> None:
    if left < FREE_EPOCHS:
        session.train(FREE_EPOCHS - left, MAX_LR)

    assert f"{left} of 10 free epochs are left for this configuration; give 1 to {left}." in refusal(
        session, "train", epochs, MAX_LR
    )


@pytest.mark.parametrize("lr", [math.nan, math.inf, 0.0, -MAX_LR, MAX_LR * 1.01, 1.0])
def test_a_learning_rate_out_of_range_is_refused(lr: float, session: Session) -> None:
    assert "0 < lr <= 0.001" in refusal(session, "train", 1, lr)
