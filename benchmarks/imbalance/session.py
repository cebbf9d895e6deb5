"""The rules of the game: what each tool does to the session, what it costs, and what is refused.

Paid actions set the configuration (SMOTE, class weights, focal loss) or the threshold. Each effectful one takes a
step of the budget; what would change nothing is free, and so is whatever is refused. After a change of the
configuration the model is trained again from the same initial weights for :data:`AUTO_EPOCHS` epochs; ``train`` goes
on from there for at most :data:`FREE_EPOCHS` more. The model is therefore a pure function of configuration, seed and
free training: no order of actions, and no detour, can buy more training. It also need not exist before somebody asks
what it predicts, and a configuration that is replaced before that is never trained.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from benchmarks.imbalance.data import Dataset
from benchmarks.imbalance.learner import BATCHES_PER_EPOCH, Examples, Learner
from benchmarks.imbalance.losses import CROSS_ENTROPY, Focal, Objective, class_weights
from benchmarks.imbalance.resampling import Resampler, Smote
from benchmarks.imbalance.scores import Confusion, best_threshold, confusion, f1_curve, logit, probability
from pytest_rltask import ToolError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["AUTO_EPOCHS", "FREE_EPOCHS", "MAX_LR", "Configuration", "Session"]

AUTO_EPOCHS = 5
"""Epochs that a model is trained for, unasked and free, whenever its configuration changes."""
FREE_EPOCHS = 10
"""Epochs that ``train`` may add to a configuration's model: with unlimited ones nothing else would matter."""
MAX_LR = 0.001
"""Highest learning rate, for the same reason."""


@dataclass(frozen=True)
class Configuration:
    """What the paid actions have made of training."""

    smote: Smote | None = None
    weights: tuple[float, float] = (1.0, 1.0)
    """Class weights of the negative and of the positive class."""
    focal: Focal = CROSS_ENTROPY


@dataclass(frozen=True)
class _ModelKey:
    """All that a model depends on, besides data and seed."""

    configuration: Configuration
    free_training: tuple[float, ...] = ()
    """Learning rate of each epoch of ``train`` since the configuration changed."""


_STALE = "the threshold was chosen for the model before: call sweep_thresholds"
_NONE_POSITIVE = "no row reaches the threshold, so F1 is 0: sweep_thresholds finds and sets one, free of charge"


class Session:
    """One agent at work on one dataset.

    Args:
        data: what to train and to choose on, and to be graded by.
        seed: of models and, unless an action names another one, of SMOTE.
        max_steps: paid actions that may take effect.
    """

    def __init__(self, data: Dataset, *, seed: int, max_steps: int) -> None:
        self.actions: list[str] = []
        """The paid actions that took effect, in order."""
        self.is_submitted = False
        self._data = data
        self._seed = seed
        self._max_steps = max_steps
        self._resampler = Resampler(data.train.features, data.train.labels)
        self._key = _ModelKey(Configuration())
        self._threshold = 0.0  # as a logit
        self._threshold_of: _ModelKey | None = None  # the model it was chosen for; None before any choice
        self._model: tuple[_ModelKey, Learner] | None = None
        self._examples: tuple[Smote | None, Examples] | None = None
        self._validation: tuple[_ModelKey, NDArray[np.float64]] | None = None

    # Paid actions

    def smote(self, ratio: float, k: int, seed: int | None) -> dict[str, Any]:
        """Oversample the minority of the original training rows, in place of any earlier SMOTE."""
        resampler = self._resampler
        if not 0.0 < ratio <= 1.0 or resampler.minority_after(ratio) <= resampler.minority:
            raise ToolError(
                f"smote: ratio {ratio:g} adds no row; it is minority rows per majority row afterwards, now "
                f"{resampler.ratio:.4g}: give a larger one, up to 1."
            )
        if not 1 <= k < resampler.minority:
            raise ToolError(f"smote: k {k} is not within 1 to {resampler.minority - 1}, the other minority rows.")
        # A session's seed may have more bits than SMOTE takes.
        smote = Smote(resampler.minority_after(ratio), k, self._seed % 2**32 if seed is None else seed)
        own = "" if seed is None else f", seed={seed}"
        return self._configure(f"smote(ratio={ratio:.12g}, k={k}{own})", smote=smote)

    def set_class_weights(self, beta: float) -> dict[str, Any]:
        """Weigh classes by their effective number of original training rows."""
        if not 0.0 <= beta < 1.0:
            raise ToolError(f"set_class_weights: beta {beta:g} is not within 0 <= beta < 1.")
        negative, positive = class_weights(beta, (self._resampler.majority, self._resampler.minority))
        weights = (round(negative, 6), round(positive, 6))  # so that what differs by rounding alone is the same
        return self._configure(f"set_class_weights(beta={beta:.12g})", weights=weights)

    def use_focal(self, alpha: float, gamma: float) -> dict[str, Any]:
        """Use the focal loss."""
        if not (0.0 < alpha < 1.0 and 0.0 <= gamma <= 10.0):
            raise ToolError(f"use_focal: alpha {alpha:g}, gamma {gamma:g}; it takes 0 < alpha < 1, 0 <= gamma <= 10.")
        return self._configure(f"use_focal(alpha={alpha:.12g}, gamma={gamma:.12g})", focal=Focal(alpha, gamma))

    def set_threshold(self, threshold: float) -> dict[str, Any]:
        """Choose the probability from which on a row counts as positive. The model stays as it is."""
        if not 0.0 < threshold < 1.0:
            raise ToolError(f"set_threshold: {threshold:g} is not within 0 < threshold < 1.")
        if round(threshold, 6) == round(probability(self._threshold), 6):
            return self._unchanged("this is the threshold already")
        self._pay(f"set_threshold({threshold:.12g})")
        self._choose(logit(threshold))
        return {"changed": True, **self.state()}

    # Free tools

    def train(self, epochs: int, lr: float) -> dict[str, Any]:
        """Train the current model on."""
        self._check_open()
        left = self.free_epochs_left
        if not 0.0 < lr <= MAX_LR:
            raise ToolError(f"train: lr {lr:g} is not within 0 < lr <= {MAX_LR:g}.")
        if not 1 <= epochs <= left:
            has = f"give 1 to {left}" if left else f"nothing was changed. {self._after_training()}"
            raise ToolError(f"train: {left} of {FREE_EPOCHS} free epochs are left for this configuration; {has}.")
        self._key = replace(self._key, free_training=(*self._key.free_training, *[lr] * epochs))
        return {**self.state(), **self._next()}

    def eval_on_val(self) -> dict[str, Any]:
        """Measure the current model and threshold on the validation rows."""
        self._check_open()
        found = self.validation()
        none = not found.true_positives + found.false_positives
        return {**_told(found), **self.state(), **({"next": _NONE_POSITIVE} if none else {})}

    def sweep_thresholds(self, num_points: int) -> dict[str, Any]:
        """Choose the threshold that is best on the validation rows; exact, however many points are shown."""
        self._check_open()
        logits, labels = self._validation_logits(), self._data.validation.labels
        used = {}
        if best := best_threshold(logits, labels):
            self._choose(best[0])
            used = {"in_use": "the best threshold is set now, free of charge; set_threshold would only replace it"}
        shown = [point / (num_points + 1) for point in range(1, num_points + 1)]
        curve = f1_curve(logits, labels, [logit(threshold) for threshold in shown])
        points = [[round(threshold, 4), round(f1, 4)] for threshold, f1 in zip(shown, curve, strict=True)]
        found = {"threshold": round(probability(self._threshold), 6), **_told(self.validation())}
        return {"best": found, **used, **self.state(), "f1_by_threshold": points}

    def budget(self) -> dict[str, int]:
        """Say how many paid actions there are, were used and remain."""
        used = len(self.actions)
        return {"max_steps": self._max_steps, "steps_used": used, "remaining": self._max_steps - used}

    def submit(self) -> None:
        """Hand the model and its threshold in; nothing changes thereafter."""
        self._check_open()
        self.is_submitted = True

    # What is known of it

    @property
    def threshold(self) -> float:
        """The threshold, as a logit."""
        return self._threshold

    @property
    def is_threshold_stale(self) -> bool:
        """Whether the threshold was chosen for an earlier model than the current one."""
        return self._threshold_of is not None and self._threshold_of != self._key

    @property
    def free_epochs_left(self) -> int:
        """Epochs that ``train`` may still add to the current model."""
        return FREE_EPOCHS - len(self._key.free_training)

    @property
    def epochs(self) -> int:
        """Epochs that the current model is trained for."""
        return AUTO_EPOCHS + len(self._key.free_training)

    def state(self) -> dict[str, Any]:
        """Say what the model, the threshold and the budget are now; nothing of how good they are."""
        smote = self._key.configuration.smote
        minority = smote.minority_rows if smote else self._resampler.minority
        return {
            "training_rows": self._resampler.majority + minority,
            "minority_rows": minority,
            "epochs_trained": self.epochs,
            "free_epochs_left": self.free_epochs_left,
            "threshold": round(probability(self._threshold), 6),
            "threshold_stale": self.is_threshold_stale,
            **self.budget(),
        }

    def validation(self) -> Confusion:
        """Return what the current model and threshold get right on the validation rows."""
        return confusion(self._validation_logits(), self._data.validation.labels, self._threshold)

    def test(self) -> Confusion:
        """Return what the current model and threshold get right on the test rows. For the grader."""
        return confusion(self._learner().logits(self._data.test.features), self._data.test.labels, self._threshold)

    # Parts

    def _configure(self, action: str, **change: Any) -> dict[str, Any]:
        """Change the configuration, which costs a step and trains the model again; or nothing, which is free."""
        configuration = replace(self._key.configuration, **change)
        if configuration == self._key.configuration:
            return self._unchanged("training would be the same as now")
        self._pay(action)
        self._key = _ModelKey(configuration)
        return {"changed": True, **self.state(), **self._next()}

    def _next(self) -> dict[str, str]:
        """Say what can be done now, where models were seen to do something else again and again."""
        if not self.free_epochs_left:
            return {"next": self._after_training()}
        return {"next": _STALE} if self.is_threshold_stale else {}

    def _after_training(self) -> str:
        """Say what can be done once the free epochs are used up: a model that is merely told so calls train again."""
        if self.budget()["remaining"]:
            return (
                "train is refused until smote, set_class_weights or use_focal changes the configuration: call "
                "sweep_thresholds now; if its F1 is too low, call one of these three, else submit_answer"
            )
        return "train is refused from now on, and no paid action is left: call sweep_thresholds, then submit_answer"

    def _pay(self, action: str) -> None:
        self._check_open()
        if len(self.actions) >= self._max_steps:
            raise ToolError(
                f"step_budget_exceeded: all {self._max_steps} paid actions are used, and nothing was changed. "
                "Free tools still work; then call submit_answer."
            )
        self.actions.append(action)

    def _unchanged(self, why: str) -> dict[str, Any]:
        self._check_open()
        return {"changed": False, "why": f"{why}; no step was used", **self.state()}

    def _check_open(self) -> None:
        if self.is_submitted:
            raise ToolError("The answer is submitted; nothing can be changed or submitted any more.")

    def _choose(self, threshold: float) -> None:
        self._threshold, self._threshold_of = threshold, self._key

    def _validation_logits(self) -> NDArray[np.float64]:
        if self._validation is None or self._validation[0] != self._key:
            self._validation = (self._key, self._learner().logits(self._data.validation.features))
        return self._validation[1]

    def _learner(self) -> Learner:
        """Return the current model, trained on from what there is of it, or from the initial weights."""
        key, train = self._key, self._data.train
        if self._model is None or not _continues(self._model[0], key):
            done = _ModelKey(key.configuration)
            learner = Learner(train.features.shape[1], batch_rows=-(-train.rows // BATCHES_PER_EPOCH), seed=self._seed)
            self._train(learner, key.configuration, AUTO_EPOCHS, MAX_LR)
        else:
            done, learner = self._model
        for lr in key.free_training[len(done.free_training) :]:
            self._train(learner, key.configuration, 1, lr)
        self._model = (key, learner)
        return learner

    def _train(self, learner: Learner, configuration: Configuration, epochs: int, lr: float) -> None:
        if self._examples is None or self._examples[0] != configuration.smote:
            smote, train = configuration.smote, self._data.train
            made = self._resampler.oversample(smote) if smote else Examples.of(train.features, train.labels)
            self._examples = (smote, made)
        objective = Objective(configuration.focal, configuration.weights)
        learner.train(self._examples[1], objective, epochs=epochs, lr=lr)


def _continues(model: _ModelKey, key: _ModelKey) -> bool:
    """Say whether a model can be trained on to become another one."""
    begun = model.free_training
    return model.configuration == key.configuration and key.free_training[: len(begun)] == begun


def _told(counts: Confusion) -> dict[str, Any]:
    return {
        "f1": round(counts.f1, 4),
        "precision": round(counts.precision, 4),
        "recall": round(counts.recall, 4),
        "true_positives": counts.true_positives,
        "false_positives": counts.false_positives,
        "false_negatives": counts.false_negatives,
    }
