"""F1 of a threshold, and the threshold of the best F1.

A row counts as positive if its logit is at least the threshold's. Thresholds are kept as logits in float64:
probabilities close to 0 or 1 would be rounded to the same number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Confusion", "all_positive_f1", "best_threshold", "confusion", "f1_curve", "logit", "probability"]


@dataclass(frozen=True)
class Confusion:
    """How predictions and labels agree."""

    true_positives: int
    false_positives: int
    false_negatives: int

    @property
    def precision(self) -> float:
        """Share of true positives in what is called positive; 0 if nothing is."""
        called = self.true_positives + self.false_positives
        return self.true_positives / called if called else 0.0

    @property
    def recall(self) -> float:
        """Share of the positives that is found; 0 if there are none."""
        positives = self.true_positives + self.false_negatives
        return self.true_positives / positives if positives else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 without a true positive."""
        total = 2 * self.true_positives + self.false_positives + self.false_negatives
        return 2 * self.true_positives / total if total else 0.0


def confusion(logits: NDArray[np.float64], labels: NDArray[np.int8], threshold: float) -> Confusion:
    """Count what a threshold, as a logit, gets right and wrong; labels are 0 and 1."""
    called = logits >= threshold
    true_positives = int(labels[called].sum())
    return Confusion(true_positives, int(called.sum()) - true_positives, int(labels.sum()) - true_positives)


def best_threshold(logits: NDArray[np.float64], labels: NDArray[np.int8]) -> tuple[float, float] | None:
    """Return the threshold, as a logit, with the highest F1, and that F1; None without a positive row.

    Exact: of all thresholds only the logits of positives can be best, since any other one can be raised to the next
    positive without losing a true positive. The one returned lies midway to the next lower logit, which counts the
    same rows and is less tied to a single one of them. Of several equally good ones it is the highest.
    """
    import numpy as np

    positives, true_positives, false_positives = _counts(logits, labels)
    if not len(positives):
        return None
    scores = 2 * true_positives / (true_positives + false_positives + len(positives))
    best = len(scores) - 1 - int(np.argmax(scores[::-1]))
    lowest = float(positives[best])
    below = logits[logits < lowest]
    if not len(below):
        return lowest, float(scores[best])
    middle = lowest / 2 + float(below.max()) / 2  # halved first, as the sum may be infinite
    threshold = middle if below.max() < middle else lowest  # between neighbouring numbers there is none
    return threshold, float(scores[best])


def f1_curve(logits: NDArray[np.float64], labels: NDArray[np.int8], thresholds: list[float]) -> list[float]:
    """Return the F1 of each of some thresholds, given as logits."""
    import numpy as np

    positives, negatives = np.sort(logits[labels == 1]), np.sort(logits[labels == 0])
    true_positives = len(positives) - np.searchsorted(positives, thresholds)
    false_positives = len(negatives) - np.searchsorted(negatives, thresholds)
    total = true_positives + false_positives + len(positives)
    return [float(score) for score in 2 * true_positives / np.maximum(total, 1)]


def _counts(
    logits: NDArray[np.float64], labels: NDArray[np.int8]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the positives' logits in order, and true and false positives with each of them as the threshold."""
    import numpy as np

    positives, negatives = np.sort(logits[labels == 1]), np.sort(logits[labels == 0])
    true_positives = len(positives) - np.searchsorted(positives, positives)  # of equal logits all count
    return positives, true_positives, len(negatives) - np.searchsorted(negatives, positives)


def all_positive_f1(minority_frac: float) -> float:
    """Return the F1 of calling every row positive: 2 pi / (1 + pi) for a share pi of positives.

    Example:
        >>> round(all_positive_f1(0.2), 3)
        0.333
    """
    return 2 * minority_frac / (1 + minority_frac)


def logit(probability: float) -> float:
    """Return the logit of a probability in (0, 1)."""
    return math.log(probability) - math.log1p(-probability)


def probability(logit: float) -> float:
    """Return the probability of a logit."""
    return 1.0 / (1.0 + math.exp(-logit)) if logit >= 0 else math.exp(logit) / (1.0 + math.exp(logit))
