"""The data of a trial: three samples of one population, drawn from the machine's secret and the trial's seed.

``train`` and ``test`` become files that the agent sees; ``fresh`` never touches its disk. The population is
scikit-learn's ``make_classification`` with 10 features. The seed also draws its *geometry*, in how many dimensions how
many Gaussian clusters lie, and how many columns say nothing: each favours other ways to classify, so that none decides
for all seeds. How hard a draw is varies about as much as recipes differ, so a draw only counts with its *certificate*:
a support vector machine as the yardstick of ordinary skill within a narrow band of test accuracy, and Gaussians, which
know the clusters, far above the task's threshold.
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
    "GEOMETRIES",
    "TEST_ROWS",
    "TRAIN_ROWS",
    "Certificate",
    "Data",
    "Geometry",
    "Rows",
    "UncertifiedError",
    "draw",
]

FEATURES = 10
FLIPPED_LABELS = 0.01
TRAIN_ROWS, TEST_ROWS, FRESH_ROWS = 1000, 1000, 3000
COLUMNS = (*(f"feature_{i}" for i in range(FEATURES)), "label")


@dataclass(frozen=True)
class Geometry:
    """How a population lies in its ten dimensions."""

    informative: int
    """Columns in which the clusters lie."""
    redundant: int
    """Columns that are sums of those; the others are noise."""
    clusters: int
    """Gaussian clusters per class: about as many as 1000 rows can still tell apart."""
    stretch: float
    """What the task's ``class_sep`` is multiplied by, so that ordinary skill is worth the same everywhere."""
    svc_band: tuple[float, float]
    """Test accuracy of the yardstick, both ends included: the middle half or so of all draws."""


GEOMETRIES = (
    Geometry(10, 0, 16, 2.5, (0.848, 0.864)),
    Geometry(8, 2, 24, 2.97, (0.832, 0.848)),
    Geometry(8, 0, 24, 3.12, (0.827, 0.843)),
    Geometry(7, 0, 20, 3.1, (0.81, 0.826)),
)
"""One of these is drawn for each seed."""

SVC_CEILING = 0.86
"""Below this the yardstick stays on fresh rows, where the grader demands it: patches on test rows alone buy no pass."""
MIXTURE_FLOOR = 0.90
"""Least test accuracy of Gaussians that are fitted to the true clusters: without it, skill could not pass."""
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
    """What two reference methods reach on a draw's test rows, and the first of them on its fresh rows."""

    svc_accuracy: float
    svc_fresh_accuracy: float
    mixture_accuracy: float
    svc_band: tuple[float, float]

    @property
    def holds(self) -> bool:
        """Whether the draw is neither too easy nor too hard."""
        low, high = self.svc_band
        ordinary = low <= self.svc_accuracy <= high and self.svc_fresh_accuracy < SVC_CEILING
        return ordinary and self.mixture_accuracy >= MIXTURE_FLOOR


@dataclass(frozen=True)
class Data:
    """The certified draw of a trial."""

    train: Rows
    test: Rows
    fresh: Rows
    geometry: Geometry
    certificate: Certificate
    attempt: int
    """How many draws of this seed were refused before."""


def draw(secret: bytes, seed: int, *, class_sep: float) -> Data:
    """Return the first certified draw of a seed.

    Args:
        secret: 128 bits; see ``secret.py``.
        seed: the trial's seed, not negative.
        class_sep: distance of the clusters from the origin, before a geometry stretches it; smaller is harder.

    Raises:
        UncertifiedError: none of the first 200 draws got its certificate.
    """
    geometry = GEOMETRIES[_random_state(secret, seed).randint(len(GEOMETRIES))]
    for attempt in range(MAX_ATTEMPTS):
        (train, test, fresh), known = _sample(_random_state(secret, seed, attempt), geometry, class_sep)
        certificate = _certify(train, test, fresh, known, geometry)
        if certificate.holds:
            return Data(train, test, fresh, geometry, certificate, attempt)
    low, high = geometry.svc_band
    raise UncertifiedError(
        f"none of {MAX_ATTEMPTS} draws of seed {seed} with class_sep={class_sep:g} was certified (the last one: "
        f"SVC {certificate.svc_accuracy:.3f}, wanted {low:g} to {high:g}, and {certificate.svc_fresh_accuracy:.3f} on "
        f"fresh rows, wanted less than {SVC_CEILING:g}; Gaussians of the true clusters "
        f"{certificate.mixture_accuracy:.3f}, wanted at least {MIXTURE_FLOOR:g}); class_sep 0.65 to 0.75 works"
    )


def _random_state(secret: bytes, *words: int) -> np.random.RandomState:
    """Return the generator of a seed, or of its attempt; a RandomState, since make_classification takes no other."""
    import numpy as np

    key = [int.from_bytes(secret[i : i + 4], "big") for i in range(0, len(secret), 4)]
    return np.random.RandomState(np.random.MT19937(np.random.SeedSequence([*key, *words])))


@dataclass(frozen=True)
class _Known:
    """What nobody sees of a draw."""

    columns: NDArray[np.intp]
    """Those in which the clusters lie."""
    clusters: NDArray[np.int64]
    """Of each row for training; those of class 0 are even."""


def _sample(
    random_state: np.random.RandomState, geometry: Geometry, class_sep: float
) -> tuple[tuple[Rows, Rows, Rows], _Known]:
    """Draw all rows at once, hence from the same clusters, shuffle rows and columns, and deal the rows out."""
    import numpy as np
    from sklearn.datasets import make_classification

    rows, clusters = TRAIN_ROWS + TEST_ROWS + FRESH_ROWS, 2 * geometry.clusters
    values, labels = make_classification(
        n_samples=rows,
        n_features=FEATURES,
        n_informative=geometry.informative,
        n_redundant=geometry.redundant,
        n_clusters_per_class=geometry.clusters,
        class_sep=class_sep * geometry.stretch,
        flip_y=FLIPPED_LABELS,
        shuffle=False,
        random_state=random_state,
    )
    # Unshuffled, the clusters come one after another, the first of them a row longer where they do not come out even.
    which = np.repeat(np.arange(clusters), [rows // clusters + (i < rows % clusters) for i in range(clusters)])
    order, columns = random_state.permutation(rows), random_state.permutation(FEATURES)
    # Through their decimals, so that the grader's copy equals what anybody reads from the file.
    features = np.array([[float(f"{value:.6f}") for value in row] for row in values[order][:, columns].tolist()])
    ends = [TRAIN_ROWS, TRAIN_ROWS + TEST_ROWS]
    parts = zip(np.split(features, ends), np.split(labels[order].astype(np.int64), ends), strict=True)
    train, test, fresh = (Rows(*part) for part in parts)
    return (train, test, fresh), _Known(np.flatnonzero(columns < geometry.informative), which[order][:TRAIN_ROWS])


def _certify(train: Rows, test: Rows, fresh: Rows, known: _Known, geometry: Geometry) -> Certificate:
    """Measure a draw; the Gaussians only if the yardstick, which rejects most draws, accepts it."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # the same numbers on every machine, and no threads beside other trials
        svc, svc_fresh = _svc_accuracies(train, test, fresh)
        low, high = geometry.svc_band
        mixture = _mixture_accuracy(train, test, known) if low <= svc <= high else 0.0
    return Certificate(svc, svc_fresh, mixture, geometry.svc_band)


def _svc_accuracies(train: Rows, *asked: Rows) -> list[float]:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    model = make_pipeline(StandardScaler(), SVC(C=3.0)).fit(train.features, train.labels)
    return [float(model.score(rows.features, rows.labels)) for rows in asked]


def _mixture_accuracy(train: Rows, test: Rows, known: _Known) -> float:
    """Fit a Gaussian to each true cluster, where it lies, and classify by the larger sum of likelihoods."""
    import numpy as np

    rows, asked = train.features[:, known.columns], test.features[:, known.columns]
    likelihoods = np.zeros((2, len(asked)))
    for cluster in range(known.clusters.max() + 1):
        own = rows[known.clusters == cluster]
        spread = np.cov(own.T) + 0.01 * np.eye(len(known.columns))
        away = asked - own.mean(axis=0)
        distance = (away @ np.linalg.inv(spread) * away).sum(axis=1)
        likelihoods[cluster % 2] += np.exp(-(distance + np.linalg.slogdet(spread)[1]) / 2)
    return float(((likelihoods[1] > likelihoods[0]) == test.labels).mean())
