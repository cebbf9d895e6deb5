"""The data of an episode: three parts of one set, drawn or split by the trial's seed.

Models learn from ``train``, thresholds are chosen on ``validation``, and ``test`` is for the grader alone. All three
are scaled by the means and standard deviations of ``train``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.imbalance import kaggle, synthetic
from benchmarks.imbalance.certificate import is_certified
from benchmarks.imbalance.difficulty import calibrated_tau

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Dataset", "Part", "credit_card", "gaussian_blobs"]

WHOLE_SHARES = (0.5, 0.2)
"""Shares of the credit-card rows that are for training and validation; the rest, 148 frauds, is the test set."""
SAMPLE_SHARES = (2 / 3, 1 / 3)
"""The same of a sample of them: every row outside the sample is in the test set."""

MAX_ATTEMPTS = 200

_SPLIT = 4  # stream of random numbers


@dataclass(frozen=True)
class Part:
    """Some rows."""

    features: NDArray[np.float32]
    """Shape (rows, features)."""
    labels: NDArray[np.int8]
    """1 for the minority, else 0."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.labels)

    @property
    def positives(self) -> int:
        """Number of minority rows."""
        return int(self.labels.sum())


@dataclass(frozen=True)
class Dataset:
    """The three parts, scaled."""

    train: Part
    validation: Part
    test: Part
    origin: str
    """Which data these are, in a few words."""


def gaussian_blobs(minority_frac: float, seed: int) -> Dataset:
    """Return the first draw of a seed that has its certificate.

    Raises:
        RuntimeError: none of the first :data:`MAX_ATTEMPTS` has.
    """
    for attempt in range(MAX_ATTEMPTS):
        data = _drawn(minority_frac, seed, attempt)
        if is_certified(data, calibrated_tau("synthetic", minority_frac), seed, attempt):
            return data
    raise RuntimeError(f"none of {MAX_ATTEMPTS} draws of seed {seed} at a minority of {minority_frac:g} can be passed")


def _drawn(minority_frac: float, seed: int, attempt: int) -> Dataset:
    import numpy as np

    sizes = synthetic.sizes(minority_frac)
    features, labels = synthetic.draw(minority_frac, seed, sum(sizes), attempt)
    rows = _stratified(labels, np.arange(len(labels)), sizes[:2], seed)
    return _dataset(features, labels, rows, f"Gaussian blobs, {minority_frac:g} minority")


def credit_card(sample_n: int | None, seed: int) -> Dataset:
    """Load the credit-card transactions of Kaggle and split them by a seed; equal rows stay together.

    Args:
        sample_n: rows for training and validation together, None for 70 % of all.
        seed: of the split.

    Raises:
        kaggle.DataUnavailableError: they cannot be had.
        kaggle.DataInvalidError: a file is there but holds something else.
    """
    transactions = kaggle.load()
    labels = transactions.labels
    shares, total = (WHOLE_SHARES, len(labels)) if sample_n is None else (SAMPLE_SHARES, sample_n)
    sizes = (round(shares[0] * total), round(shares[1] * total))
    rows = _stratified(labels, transactions.groups, sizes, seed)
    return _dataset(transactions.features, labels, rows, f"creditcardfraud {transactions.csv_sha256[:12]}")


def _stratified(
    labels: NDArray[np.int8], groups: NDArray[np.integer[Any]], sizes: tuple[int, int], seed: int
) -> list[NDArray[np.intp]]:
    """Deal rows out at random: two parts of given sizes and the rest, each with the same share of positives.

    Rows of one group, which has the label of its positives if it has any, stay together; a part may therefore lack a
    few rows of its size.
    """
    import numpy as np

    rng = np.random.default_rng([seed, _SPLIT])
    group_rows = np.bincount(groups)
    group_labels = np.zeros(len(group_rows), dtype=np.int8)
    group_labels[groups[labels == 1]] = 1
    part_of_group = np.full(len(group_rows), 2, dtype=np.int8)
    ends = np.cumsum(sizes)
    positive_ends = np.rint(ends * group_rows[group_labels == 1].sum() / len(labels))
    for label, wanted in ((0, ends - positive_ends), (1, positive_ends)):
        members = rng.permutation(np.flatnonzero(group_labels == label))
        first, second = np.searchsorted(np.cumsum(group_rows[members]), wanted, side="right")
        part_of_group[members[:first]] = 0
        part_of_group[members[first:second]] = 1
    part_of_row = part_of_group[groups]
    return [np.flatnonzero(part_of_row == part) for part in range(3)]


def _dataset(
    features: NDArray[np.float32], labels: NDArray[np.int8], rows: list[NDArray[np.intp]], origin: str
) -> Dataset:
    """Take the rows of each part and scale them by what the training rows alone say."""
    import numpy as np

    parts = [np.take(features, own, axis=0) for own in rows]
    centre = parts[0].mean(axis=0, dtype=np.float64).astype(np.float32)
    spread = parts[0].std(axis=0, dtype=np.float64).astype(np.float32)
    spread[spread == 0.0] = 1.0
    for part in parts:
        part -= centre
        part /= spread
    train, validation, test = (Part(part, labels[own]) for part, own in zip(parts, rows, strict=True))
    return Dataset(train, validation, test, origin)
