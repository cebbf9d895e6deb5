"""The training objective: cross-entropy, weighted by class and focused on hard examples.

With the margin s = (2y - 1) z of an example of class y and logit z, the probability of its true class is
p_t = sigmoid(s), and its loss is

    w_y * a_y * (1 - p_t)^gamma * -log(p_t)

where w are class weights (:func:`class_weights`) and a, gamma those of the focal loss (:class:`Focal`). Everything is
computed from s, never from p_t: in float32 1 - p_t is 0 from s = 17 on, and log(p_t) infinite from s = -104 on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["CROSS_ENTROPY", "Focal", "Objective", "class_weights", "loss", "loss_slope"]


@dataclass(frozen=True)
class Focal:
    """The focal loss of Lin et al. 2017 (arXiv 1708.02002, eq. 5)."""

    alpha: float
    """Weight of the positive class, in (0, 1); the negative class has 1 - alpha."""
    gamma: float
    """How much easy examples are played down, in [0, 10]; 0 for not at all."""


CROSS_ENTROPY = Focal(alpha=0.5, gamma=0.0)
"""Plain cross-entropy, up to a factor of one half."""


@dataclass(frozen=True)
class Objective:
    """What training minimises."""

    focal: Focal = CROSS_ENTROPY
    weights: tuple[float, float] = (1.0, 1.0)
    """Weights of the negative and of the positive class."""

    @property
    def factors(self) -> tuple[float, float]:
        """The constant factors w_y * a_y of the negative and of the positive class."""
        negative, positive = self.weights
        return negative * (1.0 - self.focal.alpha), positive * self.focal.alpha


def class_weights(beta: float, counts: tuple[int, int]) -> tuple[float, float]:
    """Return the weights of both classes by their effective number of samples, scaled to sum to 2.

    Cui et al. 2019 (arXiv 1901.05555), eq. 2: E_n = (1 - beta^n) / (1 - beta), and w_c is proportional to 1 / E_n.
    In float64 and with expm1, since 1 - 1e-8 is 1 in float32, and the weights then 0 / 0.

    Args:
        beta: in [0, 1); 0 weighs both classes alike, values close to 1 by the inverse of their frequency.
        counts: examples of the negative and of the positive class, each at least 1.

    Example:
        >>> class_weights(0.0, (970, 30))
        (1.0, 1.0)
        >>> [round(weight, 3) for weight in class_weights(0.999, (970, 30))]
        [0.092, 1.908]
    """
    if beta == 0.0:
        return 1.0, 1.0
    # The factor 1 / (1 - beta) is common to both classes.
    negative, positive = (-1.0 / math.expm1(count * math.log(beta)) for count in counts)
    scale = 2.0 / (negative + positive)
    return negative * scale, positive * scale


def loss(margins: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return (1 - p_t)^gamma * -log(p_t) of each margin."""
    from torch.nn.functional import softplus

    surprise = softplus(-margins)  # -log(p_t)
    return surprise if gamma == 0.0 else surprise * (-gamma * softplus(margins)).exp()


def loss_slope(margins: torch.Tensor, gamma: float) -> torch.Tensor:
    """Return the derivative of :func:`loss` by the margin: -(1 - p_t)^gamma (gamma p_t * -log(p_t) + 1 - p_t).

    By the product rule, since the derivative of 1 - p_t is -p_t (1 - p_t), and that of -log(p_t) is -(1 - p_t).
    """
    from torch.nn.functional import softplus

    doubt = (-margins).sigmoid()  # 1 - p_t
    if gamma == 0.0:
        return doubt.neg_()
    surprise = softplus(-margins)
    focus = (surprise + margins).mul_(-gamma).exp_()  # softplus(s) = softplus(-s) + s
    return surprise.mul_(1.0 - doubt).mul_(gamma).add_(doubt).mul_(focus).neg_()
