"""What a draw of the blobs must show before it is a task: a plan known to suit them passes, and doing nothing does not.

Geometries differ: some are too hard for whatever can be done in so short a training, and in some the plain model comes
close to tau. As with the other shipped task, such a draw is refused, and the next one of the same seed is tried.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.imbalance.learner import BATCHES_PER_EPOCH, Examples, Learner
from benchmarks.imbalance.losses import CROSS_ENTROPY, Focal, Objective
from benchmarks.imbalance.resampling import Resampler, Smote
from benchmarks.imbalance.scores import best_threshold, confusion

if TYPE_CHECKING:
    from benchmarks.imbalance.data import Dataset, Part

__all__ = ["ALPHAS", "GAMMA", "SURE", "is_certified"]

GAMMA = 6.0
ALPHAS = (0.5, 0.75, 0.3)
"""Focal losses that suit the blobs once SMOTE has balanced the classes, in the order in which they are tried."""
SURE = 0.02
"""How far above tau the validation F1 must lie for a player to leave it at that, and the test F1 for a certificate."""
PLAIN_GAP = 0.12
"""How far below tau the plain model must stay at first; where tau itself is low, two fifths of it."""
PATIENCE = 20
"""After how many refused draws the plain model need only miss tau: with some initial weights it does well anyway."""
RARE = 0.2
"""Share of the minority above which the plain model cannot stay so far below."""
EPOCHS, LR = 15, 0.001
"""As long and as fast as a session may train a configuration."""


def is_certified(data: Dataset, tau: float, seed: int, attempt: int = 0) -> bool:
    """Say whether a draw is neither too hard nor too easy.

    The plan that must pass is balanced SMOTE, then one focal loss after the other until validation shows enough.

    Args:
        data: the draw.
        tau: test F1 that passes.
        seed: of the trial: of SMOTE and of the model, as in a session.
        attempt: how many draws of this seed were refused before.
    """
    train = data.train
    gap = min(PLAIN_GAP, 0.4 * tau) * max(0.0, 1.0 - attempt / PATIENCE)
    if train.positives <= RARE * train.rows:
        plain = _trained(Examples.of(train.features, train.labels), CROSS_ENTROPY, train.rows, seed)
        chosen = _chosen(plain, data.validation)
        if chosen and chosen[1] > tau - gap:
            return False
    resampler = Resampler(train.features, train.labels)
    balanced = resampler.oversample(Smote(resampler.majority, 5, seed % 2**32))
    for alpha in ALPHAS:
        learner = _trained(balanced, Focal(alpha, GAMMA), train.rows, seed)
        chosen = _chosen(learner, data.validation)
        if chosen and chosen[1] >= tau + SURE:
            logits = learner.logits(data.test.features)
            return confusion(logits, data.test.labels, chosen[0]).f1 >= tau + SURE
    return False


def _trained(examples: Examples, focal: Focal, original_rows: int, seed: int) -> Learner:
    """Train as a session does, as long as it may."""
    learner = Learner(examples.features.shape[1], batch_rows=-(-original_rows // BATCHES_PER_EPOCH), seed=seed)
    learner.train(examples, Objective(focal), epochs=EPOCHS, lr=LR)
    return learner


def _chosen(learner: Learner, validation: Part) -> tuple[float, float] | None:
    return best_threshold(learner.logits(validation.features), validation.labels)
