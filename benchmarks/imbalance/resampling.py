"""SMOTE (Chawla et al. 2002) by imbalanced-learn, which searches neighbours once for each k instead of each time.

The neighbours of a minority row depend on the original training rows and k alone; a session that tries another
ratio or seed finds them again here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.imbalance.learner import Examples

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Resampler", "Smote"]


@dataclass(frozen=True)
class Smote:
    """Arguments of SMOTE."""

    minority_rows: int
    """Minority rows afterwards."""
    k: int
    """Neighbours of a minority row among which synthetic rows are placed."""
    seed: int


class Resampler:
    """Oversamples the minority of one training set.

    Args:
        features: shape (rows, features).
        labels: 0 and 1.
    """

    def __init__(self, features: NDArray[np.float32], labels: NDArray[np.int8]) -> None:
        self._features = features
        self._labels = labels
        self.minority = int(labels.sum())
        self.majority = len(labels) - self.minority
        self._neighbours: dict[int, Any] = {}

    @property
    def ratio(self) -> float:
        """Minority over majority rows of the original training set."""
        return self.minority / self.majority

    def minority_after(self, ratio: float) -> int:
        """Return how many minority rows a ratio makes."""
        return int(ratio * self.majority)

    def oversample(self, smote: Smote) -> Examples:
        """Return the training set with synthetic minority rows, always made from the original ones.

        Args:
            smote: it must add a row, and k be below the number of minority rows.
        """
        from imblearn.over_sampling import SMOTE

        sampler = SMOTE(
            sampling_strategy={1: smote.minority_rows},
            k_neighbors=self._searched(smote.k),
            random_state=smote.seed,
        )
        return Examples.of(*sampler.fit_resample(self._features, self._labels))

    def _searched(self, k: int) -> Any:
        if k not in self._neighbours:
            self._neighbours[k] = _search(self._features[self._labels == 1], k)
        return self._neighbours[k]


def _search(minority: NDArray[np.float32], k: int) -> Any:
    """Search the k nearest neighbours of each minority row, and return them as imbalanced-learn asks for them."""
    from sklearn.neighbors import NearestNeighbors

    class FoundNeighbors(NearestNeighbors):
        """Answers with what was found; the rows it is asked about are always the same."""

        def fit(self, X: Any, y: Any = None) -> FoundNeighbors:  # noqa: N803
            return self

        def kneighbors(self, *args: Any, **kwargs: Any) -> Any:
            return found

        def __sklearn_clone__(self) -> FoundNeighbors:
            return self

    # A tree, whose search is no matrix product: one thread, and the same bits on any number of cores.
    search = NearestNeighbors(n_neighbors=k + 1, algorithm="kd_tree").fit(minority)
    found = search.kneighbors(minority, return_distance=False)
    return FoundNeighbors(n_neighbors=k + 1)
