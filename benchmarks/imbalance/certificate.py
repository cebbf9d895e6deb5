"""What a draw of the blobs must show before it is a task: that a plan known to suit them passes.

Geometries differ, and some are too hard for whatever can be done in so short a training. As with the other shipped
task, such a draw is refused, and the next one of the same seed is tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.imbalance.learner import BATCHES_PER_EPOCH, Learner
from benchmarks.imbalance.losses import Focal, Objective
from benchmarks.imbalance.resampling import Resampler, Smote
from benchmarks.imbalance.scores import best_threshold, confusion

if TYPE_CHECKING:
    from benchmarks.imbalance.data import Dataset

__all__ = ["ALPHAS", "GAMMA", "SURE", "is_certified"]

GAMMA = 6.0
ALPHAS = (0.5, 0.75, 0.3)
"""Focal losses that suit the blobs once SMOTE has balanced the classes, in the order in which they are tried."""
SURE = 0.02
"""How far above tau the validation F1 must lie for a player to leave it at that, and the test F1 for a certificate."""
EPOCHS, LR = 15, 0.001
"""As long and as fast as a session may train a configuration."""


def is_certified(data: Dataset, tau: float, seed: int) -> bool:
    """Say whether the plan passes: balanced SMOTE, then one focal loss after the other until validation shows enough.

    Args:
        data: the draw.
        tau: test F1 that passes.
        seed: of the trial: of SMOTE and of the model, as in a session.
    """
    resampler = Resampler(data.train.features, data.train.labels)
    examples = resampler.oversample(Smote(resampler.majority, 5, seed % 2**32))
    for alpha in ALPHAS:
        learner = Learner(data.train.features.shape[1], batch_rows=-(-data.train.rows // BATCHES_PER_EPOCH), seed=seed)
        learner.train(examples, Objective(Focal(alpha, GAMMA)), epochs=EPOCHS, lr=LR)
        found = best_threshold(learner.logits(data.validation.features), data.validation.labels)
        if found and found[1] >= tau + SURE:
            logits = learner.logits(data.test.features)
            return confusion(logits, data.test.labels, found[0]).f1 >= tau + SURE
    return False
