"""What the tests of a session share: its actions, how they are done, and what a model of the same settings says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from imblearn.over_sampling import SMOTE

from benchmarks.imbalance.data import Dataset
from benchmarks.imbalance.learner import BATCHES_PER_EPOCH, Examples, Learner
from benchmarks.imbalance.losses import Focal, Objective, class_weights
from benchmarks.imbalance.session import MAX_LR, Session
from pytest_rltask import ToolError

SEED = 11
MINORITY, MAJORITY = 40, 200  # of the training rows of `tiny`

Action = tuple[str, tuple[Any, ...]]
PAID: dict[str, Action] = {
    "smote": ("smote", (0.5, 3, None)),
    "weights": ("set_class_weights", (0.99,)),
    "focal": ("use_focal", (0.4, 2.0)),
}
OTHERS: dict[str, Action] = {
    "smote": ("smote", (1.0, 5, 3)),
    "weights": ("set_class_weights", (0.9,)),
    "focal": ("use_focal", (0.7, 0.5)),
}


def do(session: Session, *actions: Action) -> list[dict[str, Any]]:
    return [getattr(session, name)(*arguments) for name, arguments in actions]


def logits(session: Session) -> bytes:
    """Return what the current model says of each validation row, bit for bit."""
    return session._validation_logits().tobytes()


def refusal(session: Session, name: str, *arguments: Any) -> str:
    """Return why a call is refused, having checked that it changed nothing."""
    before = session.state(), list(session.actions), session.threshold, logits(session)
    with pytest.raises(ToolError) as caught:
        getattr(session, name)(*arguments)
    assert (session.state(), list(session.actions), session.threshold, logits(session)) == before
    return str(caught.value)


def reference_logits(
    data: Dataset,
    *,
    epochs: Sequence[tuple[int, float]],
    smote: tuple[float, int, int] | None = None,
    beta: float = 0.0,
    focal: tuple[float, float] = (0.5, 0.0),
) -> bytes:
    """Train a model by hand, with imbalanced-learn's own SMOTE."""
    features, labels = data.train.features, data.train.labels
    if smote:
        ratio, k, seed = smote
        features, labels = SMOTE(
            sampling_strategy={1: int(ratio * MAJORITY)}, k_neighbors=k, random_state=seed
        ).fit_resample(features, labels)
    weights = class_weights(beta, (MAJORITY, MINORITY))
    objective = Objective(Focal(*focal), (round(weights[0], 6), round(weights[1], 6)))
    learner = Learner(features.shape[1], batch_rows=len(data.train.labels) // BATCHES_PER_EPOCH, seed=SEED)
    for number, lr in epochs:
        learner.train(Examples.of(features, labels), objective, epochs=number, lr=lr)
    return learner.logits(data.validation.features).tobytes()


SWEEP: Action = ("sweep_thresholds", (9,))
SET: Action = ("set_threshold", (0.3,))
TRAIN: Action = ("train", (2, MAX_LR))
BACK: Action = ("use_focal", (0.5, 0.0))
