"""The task: find out, with few paid actions, how to train a classifier for a rare class.

Its parts: ``data.py`` draws or loads and splits the data, ``session.py`` holds the rules, ``learner.py`` and
``losses.py`` the model, ``policies.py`` the scripted players that show the task to be sound.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from benchmarks.imbalance import synthetic
from benchmarks.imbalance.data import Dataset, credit_card, gaussian_blobs
from benchmarks.imbalance.difficulty import SAMPLE_SIZES, Source, check_tau
from benchmarks.imbalance.policies import POLICIES
from benchmarks.imbalance.scores import probability
from benchmarks.imbalance.session import AUTO_EPOCHS, FREE_EPOCHS, MAX_LR, Session
from pytest_rltask import Episode, Grade, Limits, Policy, Task, ToolError, tool

__all__ = ["AutoSubmit", "Imbalance", "ImbalanceEpisode"]

AutoSubmit = Literal["end", "sweep"]

_PROMPT = """\
Train a classifier for a rare class: reach an F1 of at least {tau:g} on a hidden test set, with at most {max_steps} \
paid actions.

The data are {data}. They are split into training, validation and test rows; you see metrics on the validation rows \
only. Start with imbalance_start(). Data and rules are fixed ({configuration}): its arguments may be left out.

Paid actions, one step each if they change anything:
- smote(ratio, k[, seed]): add synthetic rows of the rare class, until there are `ratio` of them per row of the other. \
Always made from the original rows, in place of an earlier SMOTE.
- set_class_weights(beta): weigh classes by their effective number of samples (Cui et al. 2019).
- use_focal(alpha, gamma): train with the focal loss (Lin et al. 2017); alpha is the weight of the rare class.
- set_threshold(threshold): the probability from which on a row counts as positive; 0.5 at first.
Free tools:
- train(epochs, lr): train the current model on, at most {free_epochs} epochs in all for each configuration, with a \
learning rate of at most {max_lr:g}.
- eval_on_val(): F1, precision and recall on the validation rows.
- sweep_thresholds([num_points]): find the threshold with the best validation F1, and use it.{sweep_submits}
- get_budget(): how many paid actions remain.
- submit_answer(): hand in the current model and threshold. It ends the task, and only once.

The model is a neural network with one hidden layer. At the start, and whenever smote, set_class_weights or use_focal \
change the configuration, it is trained from the same initial weights for {auto_epochs} epochs, free of charge; the \
threshold stays as it was, and belongs to the older model then (threshold_stale). Configurations add up: each action \
replaces only what it sets itself. Arguments out of range are refused at no cost.

So: set a configuration by a paid action, train, sweep thresholds, and compare the validation F1 with {tau:g}. While \
it is lower and paid actions remain, try another configuration; then submit. A reply without a call ends the task: \
what you have then is graded even if you do not submit it."""


@dataclass(frozen=True)
class Imbalance(Task):
    """Find out how to train a classifier on imbalanced data.

    Raises:
        ValueError: a field is out of range, or no classifier could or every one would reach tau.
    """

    source: Source = "synthetic"
    """Gaussian blobs, or Kaggle's creditcardfraud."""
    sample_n: int | None = None
    """Rows of the kaggle data for training and validation; None for 70 % of all. The rest is the test set."""
    minority_frac: float = 0.03
    """Share of the minority in the synthetic data."""
    max_steps: int = 5
    """Paid actions."""
    tau: float = 0.3
    """Test F1 that passes."""
    auto_submit: AutoSubmit = "end"
    """Whether a sweep of thresholds submits, or only the end of the conversation."""

    policies: ClassVar[Mapping[str, Policy]] = POLICIES

    def __post_init__(self) -> None:
        if self.source not in get_args(Source):
            raise ValueError(f"source {self.source!r} is not {' or '.join(get_args(Source))}")
        if self.auto_submit not in get_args(AutoSubmit):
            raise ValueError(f"auto_submit {self.auto_submit!r} is not {' or '.join(get_args(AutoSubmit))}")
        low, high = synthetic.MINORITY_FRACS
        if not low <= self.minority_frac <= high:
            raise ValueError(f"minority_frac {self.minority_frac:g} is not within {low:g} to {high:g}")
        least, most = SAMPLE_SIZES
        if self.sample_n is not None and not least <= self.sample_n <= most:
            raise ValueError(f"sample_n {self.sample_n} is not within {least} to {most}")
        if self.max_steps < 1:
            raise ValueError(f"max_steps {self.max_steps} is not at least 1")
        check_tau(self.tau, self.source, self.minority_frac)

    @property
    def limits(self) -> Limits:
        """The default limits, with time to load the kaggle data once."""
        return Limits(tool_s=900.0) if self.source == "kaggle" else Limits()

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The budget, beside tau."""
        return {"paid actions": self.max_steps, "free epochs": FREE_EPOCHS, "learning rate": MAX_LR}

    def open(self, seed: int) -> ImbalanceEpisode:
        """Load and split the data of a seed, if they are not drawn."""
        return ImbalanceEpisode(self, seed)


class ImbalanceEpisode(Episode):
    """One dataset, and the session of the agent that works on it."""

    def __init__(self, task: Imbalance, seed: int) -> None:
        self._task = task
        self._seed = seed
        self._is_started = False
        self._is_submitted_for = False
        if task.source == "kaggle":  # at once: it may not be there
            self._begin(credit_card(task.sample_n, seed))

    def lay_out(self) -> None:
        """Draw the data, which takes seconds."""
        if self._task.source != "kaggle":
            self._begin(gaussian_blobs(self._task.minority_frac, self._seed))

    def _begin(self, data: Dataset) -> None:
        self._data = data
        self._session = Session(data, seed=self._seed, max_steps=self._task.max_steps)

    @property
    def prompt(self) -> str:
        """The rules, and all that is demanded."""
        task = self._task
        blobs = f"synthetic, with a rare class of {100 * task.minority_frac:g} % of the rows"
        cards = "card payments, of which 0.17 % are fraud, the rare class"
        return _PROMPT.format(
            tau=task.tau,
            max_steps=task.max_steps,
            data=cards if task.source == "kaggle" else blobs,
            configuration=", ".join(f"{name}={value!r}" for name, value in self._fixed().items() if name != "seed"),
            auto_epochs=AUTO_EPOCHS,
            free_epochs=FREE_EPOCHS,
            max_lr=MAX_LR,
            sweep_submits=" This also submits." if task.auto_submit == "sweep" else "",
        )

    @property
    def info(self) -> Mapping[str, float | int | str | bool | None]:
        """Sizes and origin of the data."""
        data = self._data
        return {
            "data": data.origin,
            "train_rows": data.train.rows,
            "train_positives": data.train.positives,
            "validation_positives": data.validation.positives,
            "test_positives": data.test.positives,
        }

    @property
    def hidden(self) -> Mapping[str, object]:
        """The rows that the answer is graded on."""
        return {
            "labels of the test rows": self._data.test.labels,
            "features of the test rows": self._data.test.features,
        }

    @property
    def done(self) -> bool:
        """Whether the answer is submitted."""
        return self._session.is_submitted

    @property
    def tried(self) -> str:
        """The paid actions that took effect."""
        return ", ".join(self._session.actions) or "no paid action"

    def remind(self) -> str:
        """Say what remains of the budget."""
        budget = self._session.budget()
        # In the words that were agreed: what they cannot say, that no free epoch is left, stands in the results.
        return (
            f"You may use up to {budget['max_steps']} paid actions; remaining: {budget['remaining']} "
            f"(steps_used={budget['steps_used']}). Free tools: train, eval_on_val, sweep_thresholds."
        )

    @tool
    def imbalance_start(
        self,
        seed: int | None = None,
        max_steps: int | None = None,
        tau: float | None = None,
        minority_frac: float | None = None,
        source: str | None = None,
        sample_n: int | None = None,
    ) -> dict[str, Any]:
        """Start the session: must be called before any other tool. Free.

        The configuration is fixed; an argument that differs from it is refused.

        Args:
            seed: Seed of the data. Leave it out.
            max_steps: Paid actions.
            tau: Test F1 to reach.
            minority_frac: Share of the rare class.
            source: synthetic or kaggle.
            sample_n: Rows for training and validation.
        """
        given: dict[str, Any] = {"seed": seed, "max_steps": max_steps, "tau": tau}
        given |= {"minority_frac": minority_frac, "source": source, "sample_n": sample_n}
        fixed = self._fixed()
        for name, value in given.items():
            if value is not None and value != fixed.get(name):
                known = "fixed by the harness" if name not in fixed or name == "seed" else f"{fixed[name]!r}"
                raise ToolError(
                    f"imbalance_start: {name}={value!r} is refused, and nothing was changed: {name} is {known}. "
                    "Call imbalance_start without arguments."
                )
        if self._is_started:
            raise ToolError("imbalance_start: the session has started already, and nothing was changed.")
        self._is_started = True
        parts = {"training": self._data.train, "validation": self._data.validation}
        sizes = {name: {"rows": part.rows, "minority_rows": part.positives} for name, part in parts.items()}
        features = self._data.train.features.shape[1]
        return {"started": True, "features": features, **sizes, "tau": self._task.tau, **self._session.state()}

    @tool
    def smote(
        self,
        ratio: Annotated[float, Field(gt=0, le=1)],
        k: Annotated[int, Field(ge=1, le=100)],
        seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None,
    ) -> dict[str, Any]:
        """Paid: oversample the rare class of the training rows with SMOTE, and train again.

        Args:
            ratio: Rows of the rare class per row of the other one afterwards; above the ratio of the original rows.
            k: Nearest neighbours to interpolate with; below the number of original rows of the rare class.
            seed: Of the synthetic rows; by default the session's own.
        """
        return self._running.smote(ratio, k, seed)

    @tool
    def set_class_weights(self, beta: Annotated[float, Field(ge=0, lt=1)]) -> dict[str, Any]:
        """Paid: weigh both classes by their effective number of original training rows, and train again.

        Args:
            beta: 0 for equal weights, which it changes close to 1 alone: at 0.99 both classes still weigh nearly the
                same, from 0.999 on the rare class weighs more, at 0.9999 nearly as its number of rows asks for.
        """
        return self._running.set_class_weights(beta)

    @tool
    def use_focal(
        self, alpha: Annotated[float, Field(gt=0, lt=1)], gamma: Annotated[float, Field(ge=0, le=10)]
    ) -> dict[str, Any]:
        """Paid: train with the focal loss, again from the start.

        Args:
            alpha: Weight of the rare class; the other one has 1 - alpha.
            gamma: How much examples that are easily told are played down.
        """
        return self._running.use_focal(alpha, gamma)

    @tool
    def set_threshold(self, threshold: Annotated[float, Field(gt=0, lt=1)]) -> dict[str, Any]:
        """Paid: set the decision threshold. The model is not trained again.

        Args:
            threshold: Probability from which on a row counts as positive.
        """
        return self._running.set_threshold(threshold)

    @tool
    def train(
        self,
        epochs: Annotated[int, Field(ge=1, le=FREE_EPOCHS)],
        lr: Annotated[float, Field(gt=0, le=MAX_LR)] = MAX_LR,
    ) -> dict[str, Any]:
        """Free: train the current model on.

        Args:
            epochs: Epochs to add; each configuration has 10 of them in all.
            lr: Learning rate.
        """
        return self._running.train(epochs, lr)

    @tool
    def eval_on_val(self) -> dict[str, Any]:
        """Free: evaluate the current model and threshold on the validation rows."""
        return self._running.eval_on_val()

    @tool
    def sweep_thresholds(self, num_points: Annotated[int, Field(ge=1, le=101)] = 9) -> dict[str, Any]:
        """Free: find the threshold with the best validation F1 among all there are, and use it from now on.

        Args:
            num_points: How many evenly spaced thresholds to show the F1 of.
        """
        swept = self._running.sweep_thresholds(num_points)
        if self._task.auto_submit == "sweep":
            self._session.submit()
            self._is_submitted_for = True
            swept["submitted"] = True
        return swept

    @tool
    def get_budget(self) -> dict[str, int]:
        """Free: say how many paid actions there are, were used, and remain."""
        return self._session.budget()  # before the start too: whoever asks first has lost nothing

    @tool
    def submit_answer(self, answer: Any = None) -> dict[str, Any]:
        """Hand in the current model and threshold for grading on the hidden test rows. Possible once.

        Args:
            answer: Ignored.
        """
        self._running.submit()
        return {"submitted": True, **self._session.budget()}

    def finish(self) -> None:
        """Submit what there is."""
        if self._is_started and not self._session.is_submitted:
            self._session.submit()
            self._is_submitted_for = True

    def grade(self) -> Grade:
        """Score the submitted model and threshold by their F1 on the test rows."""
        task, session = self._task, self._session
        if not self._is_started:
            return Grade(0.0, task.tau, label="never started", reason="imbalance_start was never called")
        test = session.test()
        return Grade(
            test.f1,
            task.tau,
            label="F1 below tau",
            reason=f"test F1 {test.f1:.3f} is below tau {task.tau:g} ({self.tried}; {session.epochs} epochs)",
            metrics={
                "precision": test.precision,
                "recall": test.recall,
                "validation_f1": session.validation().f1,
                "threshold": probability(session.threshold),
                "threshold_stale": session.is_threshold_stale,
                "steps_used": len(session.actions),
                "actions": self.tried,
                "epochs": session.epochs,
                "auto_submitted": self._is_submitted_for,
            },
        )

    @property
    def _running(self) -> Session:
        if not self._is_started:
            raise ToolError("Call imbalance_start first.")
        return self._session

    def _fixed(self) -> dict[str, Any]:
        """Return the configuration by the names of imbalance_start's arguments."""
        task = self._task
        own = {"sample_n": task.sample_n} if task.source == "kaggle" else {"minority_frac": task.minority_frac}
        fixed = {"source": task.source, **own, "max_steps": task.max_steps, "tau": task.tau, "seed": self._seed}
        return {name: value for name, value in fixed.items() if value is not None}
