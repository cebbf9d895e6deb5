"""The task imbalance as one would write it straight away, to measure the shipped one against.

pandas reads the file for each trial; scikit-learn splits, scales and scores; torch trains with its own layers, Adam,
autograd and a DataLoader of batches of 256 rows; imbalanced-learn oversamples. Nothing is done carelessly, and nothing
twice that the rules do not ask for: after the start and after each paid action the model is trained anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from imblearn.over_sampling import SMOTE
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from benchmarks.imbalance.data import SAMPLE_SHARES, WHOLE_SHARES, Dataset
from benchmarks.imbalance.learner import HIDDEN_UNITS
from benchmarks.imbalance.session import AUTO_EPOCHS

BATCH_ROWS = 256
THRESHOLDS = np.arange(1, 100) / 100


@dataclass(frozen=True)
class Split:
    """Features and labels of the training, validation and test rows, not yet scaled."""

    train: tuple[NDArray[Any], NDArray[Any]]
    validation: tuple[NDArray[Any], NDArray[Any]]
    test: tuple[NDArray[Any], NDArray[Any]]


def read_split(csv: Path, sample_n: int | None, seed: int) -> Split:
    """Read the file and split it in the proportions of the shipped task."""
    table = pd.read_csv(csv)
    features, labels = table.drop(columns="Class").to_numpy(), table["Class"].to_numpy()
    shares, total = (WHOLE_SHARES, len(labels)) if sample_n is None else (SAMPLE_SHARES, sample_n)
    train, validation = round(shares[0] * total), round(shares[1] * total)
    train_x, rest_x, train_y, rest_y = train_test_split(
        features, labels, train_size=train, stratify=labels, random_state=seed
    )
    val_x, test_x, val_y, test_y = train_test_split(
        rest_x, rest_y, train_size=validation, stratify=rest_y, random_state=seed
    )
    return Split((train_x, train_y), (val_x, val_y), (test_x, test_y))


def same_split(data: Dataset) -> Split:
    """Take the very rows of the shipped task. They are scaled already; to scale them again changes nothing."""
    parts = [(part.features, part.labels) for part in (data.train, data.validation, data.test)]
    return Split(*parts)


class PlainTrial:
    """One trial.

    Args:
        split: its rows.
        seed: of the weights, the order of rows and SMOTE.
        batch_rows: rows of a mini-batch. Above 256, whole batches are indexed at once, which is much faster than
            collecting single rows, the DataLoader's default.
    """

    def __init__(self, split: Split, seed: int, batch_rows: int = BATCH_ROWS) -> None:
        scaler = StandardScaler().fit(split.train[0])
        self._features, self._labels = scaler.transform(split.train[0]), split.train[1]
        self._validation = scaler.transform(split.validation[0]), split.validation[1]
        self._test = scaler.transform(split.test[0]), split.test[1]
        self._seed = seed
        self._batch_rows = batch_rows
        self._focal: tuple[float, float] | None = None
        self._threshold = 0.5
        self._use(self._features, self._labels)

    def smote(self, ratio: float, k: int) -> None:
        """Oversample the frauds."""
        sampler = SMOTE(sampling_strategy=ratio, k_neighbors=k, random_state=self._seed)
        self._use(*sampler.fit_resample(self._features, self._labels))

    def use_focal(self, alpha: float, gamma: float) -> None:
        """Use the focal loss."""
        self._focal = alpha, gamma

    def retrain(self) -> None:
        """Train from the same initial weights, as the rules say."""
        torch.manual_seed(self._seed)
        inputs = self._features.shape[1]
        self._model = nn.Sequential(nn.Linear(inputs, HIDDEN_UNITS), nn.ReLU(), nn.Linear(HIDDEN_UNITS, 1))
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-3)
        self.train(AUTO_EPOCHS)

    def train(self, epochs: int) -> None:
        """Train on."""
        self._model.train()
        for _ in range(epochs):
            for features, labels in self._batches():
                self._optimizer.zero_grad()
                self._loss(self._model(features).squeeze(1), labels).backward()
                self._optimizer.step()

    def sweep(self) -> float:
        """Take the best of 99 thresholds, and return its F1 on the validation rows."""
        features, labels = self._validation
        probabilities = self._probabilities(features)
        scores = [float(f1_score(labels, probabilities >= threshold)) for threshold in THRESHOLDS]
        self._threshold = THRESHOLDS[int(np.argmax(scores))]
        return max(scores)

    def test_f1(self) -> float:
        """Return the F1 on the test rows."""
        features, labels = self._test
        return float(f1_score(labels, self._probabilities(features) >= self._threshold))

    def _use(self, features: NDArray[Any], labels: NDArray[Any]) -> None:
        self._dataset = TensorDataset(
            torch.tensor(features, dtype=torch.float32), torch.tensor(labels, dtype=torch.float32)
        )

    def _batches(self) -> Iterator[Any]:
        if self._batch_rows <= BATCH_ROWS:
            return iter(DataLoader(self._dataset, batch_size=self._batch_rows, shuffle=True))
        sampler = BatchSampler(RandomSampler(self._dataset), self._batch_rows, drop_last=False)
        return iter(DataLoader(self._dataset, sampler=sampler, batch_size=None))

    def _loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        surprise = binary_cross_entropy_with_logits(logits, labels, reduction="none")
        if self._focal is None:
            return surprise.mean()
        alpha, gamma = self._focal
        weights = torch.where(labels == 1, alpha, 1 - alpha)
        return (weights * (1 - torch.exp(-surprise)) ** gamma * surprise).mean()

    def _probabilities(self, features: NDArray[Any]) -> NDArray[np.float32]:
        self._model.eval()
        with torch.no_grad():
            logits = self._model(torch.tensor(features, dtype=torch.float32)).squeeze(1)
        found: NDArray[np.float32] = torch.sigmoid(logits).numpy()
        return found


def play(trial: PlainTrial, *, only_last: bool = False) -> tuple[float, float]:
    """Play SMOTE, the focal loss, training and the sweep; return the F1 on the validation and on the test rows.

    Args:
        trial: to play.
        only_last: train only the model that is handed in. The result is the same, since each begins anew.
    """
    if not only_last:
        trial.retrain()
    trial.smote(0.5, 5)
    if not only_last:
        trial.retrain()
    trial.use_focal(0.25, 2.0)
    trial.retrain()
    trial.train(10)
    return trial.sweep(), trial.test_f1()
