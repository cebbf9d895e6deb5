"""The data of a trial: three samples of one population, drawn from the machine's secret and the trial's seed.

``train`` and ``test`` become files that the agent sees; ``fresh`` never touches its disk. The population is
scikit-learn's ``make_classification`` with four Gaussian clusters per class in eight dimensions. How hard a
draw is varies about as much as recipes differ, so a draw only counts with its *certificate*: a
support vector machine as the yardstick of ordinary skill within a narrow band of test accuracy, and a
Gaussian mixture, which knows how the data were made, far above the task's threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "COLUMNS",
    "FRESH_ROWS",
    "TEST_ROWS",
    "TRAIN_ROWS",
    "Certificate",
    "Data",
    "Rows",
    "UncertifiedError",
    "draw",
]

FEATURES = 10
INFORMATIVE = 8
CLUSTERS_PER_CLASS = 4
FLIPPED_LABELS = 0.01
TRAIN_ROWS, TEST_ROWS, FRESH_ROWS = 1000, 1000, 3000
COLUMNS = (*(f"feature_{i}" for i in range(FEATURES)), "label")

SVC_BAND = (0.82, 0.835)
"""Test accuracy of the yardstick, both ends included. Accepts about three draws in ten."""
MIXTURE_FLOOR = 0.90
"""Least test accuracy of the mixture: a draw on which skill cannot pass is no task."""
MAX_ATTEMPTS = 200


class UncertifiedError(RuntimeError):
    """No draw of a seed got its certificate: the task's parameters make it too easy or too hard."""


@dataclass(frozen=True)
class Rows:
    """A sample: features exactly as its CSV file says them, and labels."""

    features: NDArray[np.float64]
    """Shape (rows, 10)."""
    labels: NDArray[np.int64]
    """0 or 1."""

    def csv(self) -> str:
        """Return the sample as a CSV file with a header."""
        lines = [",".join(COLUMNS)]
        for values, label in zip(self.features.tolist(), self.labels.tolist(), strict=True):
            lines.append(",".join([*(f"{value:.6f}" for value in values), str(label)]))
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Certificate:
    """What two reference methods reach on a draw's test rows."""

    svc_accuracy: float
    mixture_accuracy: float

    @property
    def holds(self) -> bool:
        """Whether the draw is neither too easy nor too hard."""
        low, high = SVC_BAND
        return low <= self.svc_accuracy <= high and self.mixture_accuracy >= MIXTURE_FLOOR


@dataclass(frozen=True)
class Data:
    """The certified draw of a trial."""

    train: Rows
    test: Rows
    fresh: Rows
    certificate: Certificate
    attempt: int
    """How many draws of this seed were refused before."""


def draw(secret: bytes, seed: int, *, class_sep: float) -> Data:
    """Return the first certified draw of a seed.

    Args:
        secret: 128 bits; see ``secret.py``.
        seed: the trial's seed, not negative.
        class_sep: distance of the clusters from the origin; smaller is harder.

    Raises:
        UncertifiedError: none of the first 200 draws got its certificate.
    """
    for attempt in range(MAX_ATTEMPTS):
        train, test, fresh = _sample(_random_state(secret, seed, attempt), class_sep)
        certificate = _certify(train, test)
        if certificate.holds:
            return Data(train, test, fresh, certificate, attempt)
    low, high = SVC_BAND
    raise UncertifiedError(
        f"none of {MAX_ATTEMPTS} draws of seed {seed} with class_sep={class_sep:g} was certified (the last one: "
        f"SVC {certificate.svc_accuracy:.3f}, wanted {low:g} to {high:g}; Gaussian mixture "
        f"{certificate.mixture_accuracy:.3f}, wanted at least {MIXTURE_FLOOR:g}); class_sep 0.6 to 0.8 works"
    )


def _random_state(secret: bytes, seed: int, attempt: int) -> np.random.RandomState:
    """Return the generator of an attempt; a RandomState, since make_classification takes no other."""
    import numpy as np

    words = [int.from_bytes(secret[i : i + 4], "big") for i in range(0, len(secret), 4)]
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence([*words, seed, attempt])))


def _sample(random_state: np.random.RandomState, class_sep: float) -> tuple[Rows, Rows, Rows]:
    """Draw all rows at once, hence from the same clusters, and deal them out; the generator shuffles them."""
    import numpy as np
    from sklearn.datasets import make_classification

    values, labels = make_classification(
        n_samples=TRAIN_ROWS + TEST_ROWS + FRESH_ROWS,
        n_features=FEATURES,
        n_informative=INFORMATIVE,
        n_redundant=FEATURES - INFORMATIVE,
        n_clusters_per_class=CLUSTERS_PER_CLASS,
        class_sep=class_sep,
        flip_y=FLIPPED_LABELS,
        random_state=random_state,
    )
    # Through their decimals, so that the grader's copy equals what anybody reads from the file.
    features = np.array([[float(f"{value:.6f}") for value in row] for row in values.tolist()])
    ends = [TRAIN_ROWS, TRAIN_ROWS + TEST_ROWS]
    parts = zip(np.split(features, ends), np.split(labels.astype(np.int64), ends), strict=True)
    train, test, fresh = (Rows(*part) for part in parts)
    return train, test, fresh


def _certify(train: Rows, test: Rows) -> Certificate:
    """Measure a draw; the mixture only if the yardstick, which rejects most draws, accepts it."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the same numbers on every machine, and no threads beside other trials
        svc = _svc_accuracy(train, test)
        low, high = SVC_BAND
        mixture = _mixture_accuracy(train, test) if low <= svc <= high else 0.0
    return Certificate(svc, mixture)


def _svc_accuracy(train: Rows, test: Rows) -> float:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    model = make_pipeline(StandardScaler(), SVC(C=3.0)).fit(train.features, train.labels)
    return float(model.score(test.features, test.labels))


def _mixture_accuracy(train: Rows, test: Rows) -> float:
    """Fit a mixture per class in the informative subspace and classify by the larger likelihood."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    whiten = PCA(INFORMATIVE, whiten=True).fit(train.features)
    likelihoods = []
    for label in (0, 1):
        rows = whiten.transform(train.features[train.labels == label])
        mixture = GaussianMixture(CLUSTERS_PER_CLASS, reg_covar=1e-3, n_init=3, random_state=0).fit(rows)
        likelihoods.append(mixture.score_samples(whiten.transform(test.features)))
    return float(((likelihoods[1] > likelihoods[0]) == test.labels).mean())
