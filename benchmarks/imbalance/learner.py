"""The model that the agent steers: a small neural network, trained the same way whenever it is trained again.

Initial weights, the order of rows and everything else random follow from the seed and the number of the epoch, so
that a model is a pure function of its data, objective, seed and learning rates: training for 5 and then 10 epochs
is training for 15. An epoch is eight mini-batches whatever the number of rows: how long a model may learn is what
makes the task hard (see README.md), and large batches are fast.

The gradient is written out rather than left to autograd, whose bookkeeping costs more than the arithmetic of so
small a network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.imbalance.losses import Objective, loss_slope

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["BATCHES_PER_EPOCH", "HIDDEN_UNITS", "Examples", "Learner", "use_one_thread"]

HIDDEN_UNITS = 32
BATCHES_PER_EPOCH = 8
"""Mini-batches in an epoch over the original training rows; rows that SMOTE adds make further ones."""
CHUNK_ROWS = 2048
"""Rows whose hidden units are in the processor's cache at once."""

_INITIAL_WEIGHTS, _ORDER_OF_ROWS = 5, 6  # streams of random numbers; those of the data are 1 to 4


@dataclass(frozen=True)
class Examples:
    """What a model is trained on: tensors, made once."""

    features: torch.Tensor
    """float32, shape (rows, features)."""
    signs: torch.Tensor
    """float32, shape (rows,): 1 for the positive class, -1 for the negative one."""

    @classmethod
    def of(cls, features: NDArray[np.float32], labels: NDArray[np.int8]) -> Examples:
        """Make examples of arrays; labels are 0 and 1."""
        import torch

        return cls(torch.from_numpy(features), torch.from_numpy(labels).float().mul_(2.0).sub_(1.0))


class Learner:
    """A network of one hidden layer of rectified units, and the state of its optimiser.

    Adam (Kingma and Ba 2015, algorithm 1), with beta1 = 0.9, beta2 = 0.999 and epsilon = 1e-8.

    Args:
        features: number of inputs.
        batch_rows: rows of a mini-batch.
        seed: of the initial weights and of the order of rows.
    """

    def __init__(self, features: int, *, batch_rows: int, seed: int) -> None:
        import torch

        self.epochs = 0
        """Epochs trained so far."""
        self._batch_rows = batch_rows
        self._seed = seed
        self._steps = 0
        size = features * HIDDEN_UNITS + 2 * HIDDEN_UNITS + 1
        self._weights, self._slope, self._mean, self._square = torch.zeros(4, size).unbind()
        self._network = _Network(self._weights, features)
        self._gradient = _Network(self._slope, features)
        self._network.draw(_generator(seed, _INITIAL_WEIGHTS))

    def train(self, examples: Examples, objective: Objective, *, epochs: int, lr: float) -> None:
        """Train on for some epochs.

        Args:
            examples: what to train on.
            objective: what to minimise.
            epochs: number of passes over the examples.
            lr: learning rate.
        """
        import torch

        use_one_thread()
        negative, positive = objective.factors
        # The loss depends on margins; seen from the logit, its slope also has the class's factor and the sign.
        factors = torch.where(examples.signs > 0, positive, -negative)
        with torch.inference_mode():
            for _ in range(epochs):
                order = _generator(self._seed, _ORDER_OF_ROWS, self.epochs).permutation(len(factors))
                for rows in torch.from_numpy(order).split(self._batch_rows):
                    self._step(examples, factors, rows, gamma=objective.focal.gamma, lr=lr)
                self.epochs += 1

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logit of each row; float64, in which as a probability it is not yet 0 or 1."""
        import torch

        use_one_thread()
        with torch.inference_mode():
            chunks = [self._network.forward(chunk)[1] for chunk in torch.from_numpy(features).split(CHUNK_ROWS)]
            found: NDArray[np.float64] = torch.cat(chunks).double().numpy()
        return found

    def _step(self, examples: Examples, factors: torch.Tensor, rows: torch.Tensor, *, gamma: float, lr: float) -> None:
        """Do one step down the mean gradient of a mini-batch."""
        self._slope.zero_()
        for chunk in rows.split(CHUNK_ROWS):
            features = examples.features.index_select(0, chunk)
            hidden, logits = self._network.forward(features)
            slope = loss_slope(logits.mul_(examples.signs.index_select(0, chunk)), gamma)
            slope.mul_(factors.index_select(0, chunk)).div_(len(rows))
            self._network.backward(features, hidden, slope, into=self._gradient)
        self._steps += 1
        self._mean.lerp_(self._slope, 0.1)
        self._square.lerp_(self._slope.square_(), 0.001)
        unbias = math.sqrt(1.0 - 0.999**self._steps)
        size = self._square.sqrt().add_(1e-8 * unbias)
        self._weights.addcdiv_(self._mean, size, value=-lr * unbias / (1.0 - 0.9**self._steps))


class _Network:
    """The parts of a flat vector of weights, or of a gradient."""

    def __init__(self, flat: torch.Tensor, features: int) -> None:
        inside, rest = flat[: features * HIDDEN_UNITS], flat[features * HIDDEN_UNITS :]
        self.inside = inside.view(features, HIDDEN_UNITS)
        self.inside_bias, self.outside, self.outside_bias = rest.split([HIDDEN_UNITS, HIDDEN_UNITS, 1])

    def draw(self, rng: np.random.Generator) -> None:
        """Draw initial weights, uniform within 1 / sqrt(inputs), as torch.nn.Linear does."""
        import torch

        for part, inputs in (
            (self.inside, len(self.inside)),
            (self.inside_bias, len(self.inside)),
            (self.outside, HIDDEN_UNITS),
            (self.outside_bias, HIDDEN_UNITS),
        ):
            bound = 1.0 / math.sqrt(inputs)
            part.copy_(torch.from_numpy(rng.uniform(-bound, bound, tuple(part.shape))))

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return hidden units and logits of some rows."""
        import torch

        hidden = torch.addmm(self.inside_bias, features, self.inside).relu_()
        return hidden, torch.addmv(self.outside_bias, hidden, self.outside)

    def backward(self, features: torch.Tensor, hidden: torch.Tensor, slope: torch.Tensor, *, into: _Network) -> None:
        """Add the gradient of some rows, given the slope of the loss by their logits."""
        into.outside.addmv_(hidden.t(), slope)
        into.outside_bias.add_(slope.sum())
        # The slope by a hidden unit is slope * outside where the unit is active; `outside` is put in at the end.
        active = hidden.sign_()
        into.inside.addcmul_((features * slope.unsqueeze(1)).t() @ active, self.outside)
        into.inside_bias.addcmul_(active.t() @ slope, self.outside)


def use_one_thread() -> None:
    """Keep torch's arithmetic in the calling thread, for the rest of the process.

    Trials run side by side, and two of them with two threads each on two cores are slower than one by a factor of a
    hundred (measured). One thread also means the same bits whatever the machine's number of cores.
    """
    import torch

    if torch.get_num_threads() != 1:
        torch.set_num_threads(1)


def _generator(*words: int) -> np.random.Generator:
    import numpy as np

    entropy: Any = words
    return np.random.default_rng(entropy)
