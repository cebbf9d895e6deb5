"""Gaussian blobs in which strategy matters: small clusters of the minority inside large ones of the majority.

Two plain blobs do not tell strategies apart: whatever is done, a model that has converged and a good threshold reach
about the same F1. Here the minority are a few tight clusters *inside* the majority, off its centres: whoever only makes
the rare class weigh more calls whole regions positive. Each seed draws a geometry of its own, how many clusters there
are, where and how tight, and turns space at random: what was best for one seed need not be for another.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.imbalance.learner import use_one_thread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["FEATURES", "MINORITY_FRACS", "Geometry", "bayes_f1", "bayes_f1_of", "draw", "geometry", "sizes"]

FEATURES, INFORMATIVE = 12, 8
MAJORITY_CLUSTERS = 3
MAJORITY_SPREAD = 0.7
"""Standard deviation of the majority clusters' centres."""
MAJORITY_WIDTH = 1.3
"""Standard deviation within a majority cluster."""
MINORITY_CLUSTERS = (4, 6)
"""Fewest and most clusters of the minority."""
DISTANCE = 1.6
"""From a minority cluster's centre to that of a majority cluster."""
MINORITY_WIDTHS = {0.003: (0.30, 0.45), 0.01: (0.36, 0.52), 0.03: (0.37, 0.80), 0.2: (0.30, 0.68), 0.4: (0.36, 0.56)}
"""By minority fraction, between which standard deviations a seed draws that of its minority clusters."""

MINORITY_FRACS = (0.003, 0.4)
"""Smallest and largest share of the minority: below, 60 training rows are too few; above, nothing is imbalanced."""
TRAIN_ROWS = 20_000

_GEOMETRY, _ROTATION, _ROWS = 1, 2, 3  # streams of random numbers


@dataclass(frozen=True)
class Geometry:
    """Where the clusters of a seed lie, before space is turned; in a class all are equally common."""

    majority: NDArray[np.float64]
    """Centres, shape (clusters, 8)."""
    minority: NDArray[np.float64]
    """Centres, shape (clusters, 8)."""
    widths: NDArray[np.float64]
    """Standard deviation within each minority cluster; within those of the majority it is 1.3."""


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


def geometry(minority_frac: float, seed: int, attempt: int = 0) -> Geometry:
    """Draw where the clusters lie.

    Args:
        minority_frac: share of the minority: the rarer, the tighter its clusters.
        seed: of the trial.
        attempt: how many draws of this seed were refused before.
    """
    import numpy as np

    rng = np.random.default_rng([seed, _GEOMETRY, attempt])
    majority = rng.normal(0.0, MAJORITY_SPREAD, (MAJORITY_CLUSTERS, INFORMATIVE))
    clusters = int(rng.integers(MINORITY_CLUSTERS[0], MINORITY_CLUSTERS[1] + 1))
    directions = rng.normal(size=(clusters, INFORMATIVE))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    minority = majority[np.arange(clusters) % MAJORITY_CLUSTERS] + DISTANCE * directions
    tightness = rng.uniform(*_widths(minority_frac))
    return Geometry(majority, minority, tightness * rng.uniform(0.85, 1.15, size=clusters))


def draw(minority_frac: float, seed: int, rows: int, attempt: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Draw the rows of a seed, in random order.

    Args:
        minority_frac: share of the minority, which is class 1.
        seed: of geometry, rotation and rows.
        rows: how many.
        attempt: how many draws of this seed were refused before.

    Returns:
        Features, shape (rows, 12), and labels.
    """
    import numpy as np
    import torch

    use_one_thread()
    drawn = geometry(minority_frac, seed, attempt)
    rng = np.random.default_rng([seed, _ROWS, attempt])
    labels = np.zeros(rows, dtype=np.int8)
    labels[: round(rows * minority_frac)] = 1
    labels = rng.permutation(labels)
    features = rng.standard_normal((rows, FEATURES))
    majority_widths = np.full(len(drawn.majority), MAJORITY_WIDTH)
    for label, (centres, widths) in enumerate(((drawn.majority, majority_widths), (drawn.minority, drawn.widths))):
        own = np.flatnonzero(labels == label)
        cluster = rng.integers(len(centres), size=len(own))
        features[own, :INFORMATIVE] *= widths[cluster, None]
        features[own, :INFORMATIVE] += centres[cluster]
    # By torch, which keeps to one thread; numpy's product may not.
    turned = torch.from_numpy(features) @ torch.from_numpy(_rotation(seed))
    return turned.float().numpy(), labels


def _widths(minority_frac: float) -> tuple[float, float]:
    """Interpolate over the logarithm of the fraction, as tau is."""
    for low, high in itertools.pairwise(sorted(MINORITY_WIDTHS)):
        if minority_frac <= high:
            share = math.log(minority_frac / low) / math.log(high / low)
            pairs = zip(MINORITY_WIDTHS[low], MINORITY_WIDTHS[high], strict=True)
            least, most = (first + share * (second - first) for first, second in pairs)
            return least, most
    raise AssertionError(f"no width covers a minority of {minority_frac:g}")


def _rotation(seed: int) -> NDArray[np.float64]:
    """Draw an orthogonal matrix, all of them equally likely: a QR decomposition with positive diagonal."""
    import numpy as np

    q, r = np.linalg.qr(np.random.default_rng([seed, _ROTATION]).standard_normal((FEATURES, FEATURES)))
    rotation: NDArray[np.float64] = q * np.sign(np.diag(r))
    return rotation


@functools.lru_cache(maxsize=16)
def bayes_f1(minority_frac: float) -> float:
    """Return the highest F1 that any classifier can reach on the easiest of sixteen geometries (seeds 0 to 15).

    The best classifier calls positive where the density ratio of the classes exceeds a threshold (Lipton, Elkan and
    Narayanaswamy 2014, theorem 1); both densities are known mixtures.
    """
    return max(bayes_f1_of(geometry(minority_frac, seed), minority_frac) for seed in range(16))


def bayes_f1_of(drawn: Geometry, minority_frac: float) -> float:
    """Return the highest F1 that any classifier can reach on one geometry.

    The best classifier's recall is estimated from 20,000 minority rows, and so are its false alarms, by weighing each
    row with the inverse of its density ratio: majority rows that look like the minority are too rare to be counted.
    That makes the result certain to about 0.005.
    """
    import numpy as np

    rng = np.random.default_rng(_GEOMETRY)
    cluster = rng.integers(len(drawn.minority), size=20_000)
    rows = rng.standard_normal((len(cluster), INFORMATIVE))
    rows = drawn.minority[cluster] + drawn.widths[cluster, None] * rows
    ratios = np.sort(_log_density_ratio(rows, drawn))[::-1]
    recall = np.arange(1, len(ratios) + 1) / len(ratios)
    false_alarms = np.cumsum(np.exp(-ratios)) / len(ratios)
    called = minority_frac * recall + (1.0 - minority_frac) * false_alarms
    return float((2.0 * minority_frac * recall / (called + minority_frac)).max())


def _log_density_ratio(rows: NDArray[np.float64], drawn: Geometry) -> NDArray[np.float64]:
    """Return the logarithm of minority over majority density."""
    import numpy as np

    def density(means: NDArray[np.float64], widths: Sequence[float]) -> NDArray[np.float64]:
        parts = [
            np.exp(-((rows - mean) ** 2).sum(axis=1) / (2.0 * width**2)) / width**INFORMATIVE
            for mean, width in zip(means, widths, strict=True)
        ]
        total: NDArray[np.float64] = np.mean(parts, axis=0)
        return total

    tiny = 1e-300
    majority = density(drawn.majority, [MAJORITY_WIDTH] * len(drawn.majority))
    ratio: NDArray[np.float64] = np.log(density(drawn.minority, drawn.widths.tolist()) + tiny) - np.log(majority + tiny)
    return ratio
