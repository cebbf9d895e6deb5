"""Gaussian blobs in which strategy matters: small clusters of the minority beside large ones of the majority.

Two plain blobs do not tell strategies apart: whatever is done, a model that has converged and a good threshold reach
about the same F1. Here the minority are eight tight clusters, each at distance 3 from the centre of one of six
majority clusters, in eight of twelve dimensions. Where they lie is fixed, so that each seed is equally hard; each
seed then turns space in a way of its own, so that nothing learnt of one helps with another.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.imbalance.learner import use_one_thread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FEATURES", "MINORITY_FRACS", "bayes_f1", "draw", "sizes"]

FEATURES, INFORMATIVE = 12, 8
MAJORITY_CLUSTERS, MINORITY_CLUSTERS = 6, 8
MAJORITY_SPREAD = 1.2
"""Standard deviation of the majority clusters' centres; within a cluster it is 1."""
MINORITY_WIDTH = 0.5
"""Standard deviation within a minority cluster."""
DISTANCE = 3.0
"""From a minority cluster's centre to that of a majority cluster."""
GEOMETRY_SEED = 7
"""Fixes where the clusters lie. Another one is another task: F1 then moves by up to 0.1, and so must tau."""

MINORITY_FRACS = (0.003, 0.4)
"""Smallest and largest share of the minority: below, 60 training rows are too few; above, nothing is imbalanced."""
TRAIN_ROWS = 20_000

_GEOMETRY, _ROTATION, _ROWS = 1, 2, 3  # streams of random numbers


def sizes(minority_frac: float) -> tuple[int, int, int]:
    """Return the number of training, validation and test rows.

    Rare minorities get more rows: 300 positives choose a threshold well, and the F1 of 1200 test positives has a
    standard deviation of 0.012, so that the grade is no coin toss.

    Example:
        >>> sizes(0.03)
        (20000, 10000, 40000)
    """
    validation = min(max(round(300 / minority_frac), 10_000), 30_000)
    test = min(max(round(1200 / minority_frac), 20_000), 120_000)
    return TRAIN_ROWS, validation, test


def draw(minority_frac: float, seed: int, rows: int) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Draw the rows of a seed, in random order.

    Args:
        minority_frac: share of the minority, which is class 1.
        seed: of rows and rotation.
        rows: how many.

    Returns:
        Features, shape (rows, 12), and labels.
    """
    import numpy as np
    import torch

    use_one_thread()
    centres = _centres()
    rng = np.random.default_rng([seed, _ROWS])
    labels = np.zeros(rows, dtype=np.int8)
    labels[: round(rows * minority_frac)] = 1
    labels = rng.permutation(labels)
    features = rng.standard_normal((rows, FEATURES))
    for label, members in enumerate((centres.majority, centres.minority)):
        own = np.flatnonzero(labels == label)
        features[own, :INFORMATIVE] *= (1.0, MINORITY_WIDTH)[label]
        features[own, :INFORMATIVE] += members[rng.integers(len(members), size=len(own))]
    # By torch, which keeps to one thread; numpy's product may not.
    turned = torch.from_numpy(features) @ torch.from_numpy(_rotation(seed))
    return turned.float().numpy(), labels


@dataclass(frozen=True)
class _Centres:
    majority: NDArray[np.float64]
    """Shape (6, 8)."""
    minority: NDArray[np.float64]
    """Shape (8, 8)."""


def _centres() -> _Centres:
    import numpy as np

    rng = np.random.default_rng(GEOMETRY_SEED)
    majority = rng.normal(0.0, MAJORITY_SPREAD, (MAJORITY_CLUSTERS, INFORMATIVE))
    directions = rng.normal(size=(MINORITY_CLUSTERS, INFORMATIVE))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    beside = rng.integers(MAJORITY_CLUSTERS, size=MINORITY_CLUSTERS)
    return _Centres(majority, majority[beside] + DISTANCE * directions)


def _rotation(seed: int) -> NDArray[np.float64]:
    """Draw an orthogonal matrix, all of them equally likely: a QR decomposition with positive diagonal."""
    import numpy as np

    q, r = np.linalg.qr(np.random.default_rng([seed, _ROTATION]).standard_normal((FEATURES, FEATURES)))
    rotation: NDArray[np.float64] = q * np.sign(np.diag(r))
    return rotation


@functools.lru_cache(maxsize=16)
def bayes_f1(minority_frac: float) -> float:
    """Return the highest F1 that any classifier can reach on the population.

    The best classifier calls positive where the density ratio of the classes exceeds a threshold (Lipton, Elkan and
    Narayanaswamy 2014, theorem 1); both densities are known mixtures. Its recall is estimated from 20,000 minority
    rows, and so are its false alarms, by weighing each row with the inverse of its ratio: majority rows that look
    like the minority are too rare to be counted. That makes the result certain to about 0.002.
    """
    import numpy as np

    centres = _centres()
    rng = np.random.default_rng([GEOMETRY_SEED, _GEOMETRY])
    minority = centres.minority[rng.integers(MINORITY_CLUSTERS, size=20_000)]
    minority = minority + MINORITY_WIDTH * rng.standard_normal(minority.shape)
    ratios = np.sort(_density_ratio(minority, centres))[::-1]
    recall = np.arange(1, len(ratios) + 1) / len(ratios)
    false_alarms = np.cumsum(np.exp(-ratios)) / len(ratios)
    called = minority_frac * recall + (1.0 - minority_frac) * false_alarms
    return float((2.0 * minority_frac * recall / (called + minority_frac)).max())


def _density_ratio(rows: NDArray[np.float64], centres: _Centres) -> NDArray[np.float64]:
    """Return the logarithm of minority over majority density."""
    import numpy as np

    def density(means: NDArray[np.float64], width: float) -> NDArray[np.float64]:
        squares = np.stack([((rows - mean) ** 2).sum(axis=1) for mean in means])
        total: NDArray[np.float64] = np.exp(-squares / (2.0 * width**2)).mean(axis=0)
        return total

    tiny = 1e-300
    ratio: NDArray[np.float64] = np.log(density(centres.minority, MINORITY_WIDTH) + tiny)
    return ratio - INFORMATIVE * np.log(MINORITY_WIDTH) - np.log(density(centres.majority, 1.0) + tiny)
