"""The rules of the game: what is paid and free, what is refused, and what model the configuration makes."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from imblearn.over_sampling import SMOTE

from benchmarks.imbalance.data import Dataset, Part
from benchmarks.imbalance.learner import BATCHES_PER_EPOCH, Examples, Learner
from benchmarks.imbalance.losses import Focal, Objective, class_weights
from benchmarks.imbalance.session import AUTO_EPOCHS, FREE_EPOCHS, MAX_LR, Session
from pytest_rltask import ToolError

SEED = 11
MINORITY, MAJORITY = 40, 200  # of the training rows of `tiny`

Action = tuple[str, tuple[Any, ...]]
PAID: dict[str, Action] = {
    "smote": ("smote", (0.5, 3, None)),
    "weights": ("set_class_weights", (0.99,)),
    "focal": ("use_focal", (0.4, 2.0)),
}
OTHERS: dict[str, Action] = {
    "smote": ("smote", (1.0, 5, 3)),
    "weights": ("set_class_weights", (0.9,)),
    "focal": ("use_focal", (0.7, 0.5)),
}


@pytest.fixture
def session(tiny: Dataset) -> Session:
    """A session with three paid actions."""
    return Session(tiny, seed=SEED, max_steps=3)


@pytest.fixture
def rich(tiny: Dataset) -> Session:
    """A session with more paid actions than any test needs."""
    return Session(tiny, seed=SEED, max_steps=100)


def do(session: Session, *actions: Action) -> list[dict[str, Any]]:
    return [getattr(session, name)(*arguments) for name, arguments in actions]


def logits(session: Session) -> bytes:
    """Return what the current model says of each validation row, bit for bit."""
    return session._validation_logits().tobytes()


def refusal(session: Session, name: str, *arguments: Any) -> str:
    """Return why a call is refused, having checked that it changed nothing."""
    before = session.state(), list(session.actions), session.threshold, logits(session)
    with pytest.raises(ToolError) as caught:
        getattr(session, name)(*arguments)
    assert (session.state(), list(session.actions), session.threshold, logits(session)) == before
    return str(caught.value)


# The model


def reference_logits(
    data: Dataset,
    *,
    epochs: Sequence[tuple[int, float]],
    smote: tuple[float, int, int] | None = None,
    beta: float = 0.0,
    focal: tuple[float, float] = (0.5, 0.0),
) -> bytes:
    """Train a model by hand, with imbalanced-learn's own SMOTE."""
    features, labels = data.train.features, data.train.labels
    if smote:
        ratio, k, seed = smote
        features, labels = SMOTE(
            sampling_strategy={1: int(ratio * MAJORITY)}, k_neighbors=k, random_state=seed
        ).fit_resample(features, labels)
    weights = class_weights(beta, (MAJORITY, MINORITY))
    objective = Objective(Focal(*focal), (round(weights[0], 6), round(weights[1], 6)))
    learner = Learner(features.shape[1], batch_rows=len(data.train.labels) // BATCHES_PER_EPOCH, seed=SEED)
    for number, lr in epochs:
        learner.train(Examples.of(features, labels), objective, epochs=number, lr=lr)
    return learner.logits(data.validation.features).tobytes()


CONFIGURED: dict[str, tuple[list[Action], dict[str, Any]]] = {
    "nothing": ([], {}),
    "SMOTE": ([PAID["smote"]], {"smote": (0.5, 3, SEED)}),
    "SMOTE with a seed": ([OTHERS["smote"]], {"smote": (1.0, 5, 3)}),
    "weights": ([PAID["weights"]], {"beta": 0.99}),
    "focal loss": ([PAID["focal"]], {"focal": (0.4, 2.0)}),
    "everything": (list(PAID.values()), {"smote": (0.5, 3, SEED), "beta": 0.99, "focal": (0.4, 2.0)}),
}


@pytest.mark.parametrize("name", CONFIGURED)
def test_the_model_is_what_the_configuration_says(name: str, rich: Session, tiny: Dataset) -> None:
    actions, configured = CONFIGURED[name]

    do(rich, *actions)

    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS, MAX_LR)], **configured)
    rich.train(4, 0.0005)
    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS, MAX_LR), (4, 0.0005)], **configured)


def test_neither_order_nor_detours_change_the_model(tiny: Dataset) -> None:
    found = {}
    for order in itertools.permutations(PAID):
        straight, detour = (Session(tiny, seed=SEED, max_steps=100) for _ in range(2))
        do(straight, *(PAID[name] for name in order))
        for name in order:
            do(detour, OTHERS[name], ("train", (7, MAX_LR)), ("eval_on_val", ()), ("set_threshold", (0.3,)))
            do(detour, PAID[name], ("sweep_thresholds", (9,)))
        found[order] = {logits(straight), logits(detour)}

    assert len(set().union(*found.values())) == 1


def test_another_configuration_does_not_train_on_a_model_that_was_looked_at(rich: Session, tiny: Dataset) -> None:
    do(rich, ("eval_on_val", ()), PAID["weights"])

    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS, MAX_LR)], beta=0.99)


def test_smote_always_starts_from_the_original_rows(rich: Session, tiny: Dataset) -> None:
    do(rich, ("smote", (1.0, 5, None)), ("smote", (0.3, 5, None)))

    assert rich.state()["minority_rows"] == 60
    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS, MAX_LR)], smote=(0.3, 5, SEED))


def test_the_rows_that_are_told_are_those_trained_on(rich: Session) -> None:
    for ratio in (0.21, 0.333, 0.57, 1.0):
        told = rich.smote(ratio, 3, None)
        logits(rich)

        assert rich._examples is not None
        signs = rich._examples[1].signs
        assert (told["training_rows"], told["minority_rows"]) == (len(signs), int((signs > 0).sum()))


@pytest.mark.parametrize("parts", [(3, 7), (1, 1, 8), (10,), (1,) * 10])
def test_free_epochs_may_be_trained_in_parts(parts: tuple[int, ...], rich: Session, tiny: Dataset) -> None:
    for part in parts:
        rich.train(part, MAX_LR)
        logits(rich)

    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS + 10, MAX_LR)])


def test_a_session_that_looks_all_the_time_sees_what_one_that_looks_once_sees(tiny: Dataset) -> None:
    play = [PAID["smote"], ("train", (2, MAX_LR)), PAID["focal"], ("train", (3, MAX_LR)), ("train", (4, 0.0002))]
    busy, lazy = (Session(tiny, seed=SEED, max_steps=100) for _ in range(2))

    told = [do(busy, action, ("eval_on_val", ()))[0] for action in play]

    assert told == do(lazy, *play)
    assert busy.eval_on_val() == lazy.eval_on_val()
    assert busy.sweep_thresholds(101) == lazy.sweep_thresholds(101)
    assert (busy.test(), busy.threshold) == (lazy.test(), lazy.threshold)


def test_sessions_share_nothing(tiny: Dataset) -> None:
    one, two = (Session(tiny, seed=SEED, max_steps=3) for _ in range(2))
    before = two.state(), logits(two)

    do(one, *PAID.values(), ("train", (10, MAX_LR)), ("sweep_thresholds", (9,)))
    one.submit()

    assert (two.state(), logits(two), two.actions, two.is_submitted) == (*before, [], False)


def test_another_seed_is_another_model(tiny: Dataset) -> None:
    assert len({logits(Session(tiny, seed=seed, max_steps=1)) for seed in range(4)}) == 4


def test_a_seed_of_any_size_will_do(tiny: Dataset) -> None:
    session = Session(tiny, seed=2**64 + 7, max_steps=1)
    do(session, PAID["smote"])

    assert session.eval_on_val()["minority_rows"] == 100
    assert session.smote(0.5, 3, 7)["changed"] is False


# Free epochs


def test_each_configuration_has_ten_free_epochs_of_its_own(rich: Session) -> None:
    assert rich.train(FREE_EPOCHS, MAX_LR)["free_epochs_left"] == 0
    assert "0 of 10" in refusal(rich, "train", 1, MAX_LR)

    (told,) = do(rich, PAID["focal"])

    assert (told["epochs_trained"], told["free_epochs_left"]) == (AUTO_EPOCHS, FREE_EPOCHS)
    assert rich.train(FREE_EPOCHS, MAX_LR)["epochs_trained"] == AUTO_EPOCHS + FREE_EPOCHS


@pytest.mark.parametrize(
    "action",
    [
        ("use_focal", (0.5, 0.0)),
        ("set_class_weights", (0.0,)),
        ("set_threshold", (0.5,)),
        ("set_threshold", (0.3,)),
        ("sweep_thresholds", (9,)),
        ("eval_on_val", ()),
    ],
    ids=str,
)
def test_what_does_not_change_the_configuration_renews_no_free_epochs(action: Action, rich: Session) -> None:
    rich.train(FREE_EPOCHS, MAX_LR)
    trained = logits(rich)

    do(rich, action)

    assert rich.state()["free_epochs_left"] == 0
    assert logits(rich) == trained


def test_free_training_is_lost_with_its_configuration(rich: Session) -> None:
    fresh = logits(rich)
    rich.train(FREE_EPOCHS, MAX_LR)

    do(rich, PAID["focal"], ("use_focal", (0.5, 0.0)))

    assert rich.epochs == AUTO_EPOCHS
    assert logits(rich) == fresh


def test_the_learning_rate_matters_and_a_slow_epoch_counts_as_one(tiny: Dataset) -> None:
    slow, fast = (Session(tiny, seed=SEED, max_steps=1) for _ in range(2))

    told = slow.train(5, 1e-6)
    fast.train(5, MAX_LR)

    assert told["free_epochs_left"] == FREE_EPOCHS - 5
    assert logits(slow) != logits(fast)


# What is refused


@pytest.mark.parametrize("ratio", [math.nan, math.inf, -1.0, 0.0, 0.1, 0.2, 0.2049, 1.001, 1e308])
def test_a_ratio_that_adds_no_row_or_too_many_is_refused(ratio: float, session: Session) -> None:
    said = refusal(session, "smote", ratio, 5, None)

    assert "now 0.2: give a larger one, up to 1." in said


@pytest.mark.parametrize("k", [-1, 0, MINORITY, 10**9])
def test_k_must_leave_a_row_to_be_the_neighbour_of(k: int, session: Session) -> None:
    assert f"not within 1 to {MINORITY - 1}" in refusal(session, "smote", 0.5, k, None)


def test_the_largest_k_is_taken(session: Session) -> None:
    assert session.smote(1.0, MINORITY - 1, None)["changed"]
    assert session.eval_on_val()["minority_rows"] == MAJORITY


@pytest.mark.parametrize("beta", [math.nan, math.inf, -0.1, 1.0, 2.0])
def test_a_beta_out_of_range_is_refused(beta: float, session: Session) -> None:
    assert "0 <= beta < 1" in refusal(session, "set_class_weights", beta)


@pytest.mark.parametrize(
    ("alpha", "gamma"), [(0.0, 1.0), (1.0, 1.0), (math.nan, 1.0), (0.5, math.nan), (0.5, -0.1), (0.5, 10.1), (0.5, 1e9)]
)
def test_a_focal_loss_out_of_range_is_refused(alpha: float, gamma: float, session: Session) -> None:
    said = refusal(session, "use_focal", alpha, gamma)

    assert "0 < alpha < 1" in said
    assert "0 <= gamma <= 10" in said


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -math.inf, 0.0, 1.0, -0.5, 1.5])
def test_a_threshold_out_of_range_is_refused(threshold: float, session: Session) -> None:
    assert "0 < threshold < 1" in refusal(session, "set_threshold", threshold)


@pytest.mark.parametrize(("epochs", "left"), [(0, 10), (-1, 10), (11, 10), (10**9, 10), (8, 7), (4, 3)])
def test_more_epochs_than_are_left_are_refused_not_cut(epochs: int, left: int, session: Session) -> None:
    if left < FREE_EPOCHS:
        session.train(FREE_EPOCHS - left, MAX_LR)

    assert f"{left} of 10 free epochs are left for this configuration; give 1 to {left}." in refusal(
        session, "train", epochs, MAX_LR
    )


@pytest.mark.parametrize("lr", [math.nan, math.inf, 0.0, -MAX_LR, MAX_LR * 1.01, 1.0])
def test_a_learning_rate_out_of_range_is_refused(lr: float, session: Session) -> None:
    assert "0 < lr <= 0.001" in refusal(session, "train", 1, lr)


# What is paid


def test_every_effectful_action_is_paid_once(session: Session) -> None:
    told = do(session, *PAID.values())

    assert [result["changed"] for result in told] == [True, True, True]
    assert [(result["steps_used"], result["remaining"]) for result in told] == [(1, 2), (2, 1), (3, 0)]
    assert session.actions == [
        "smote(ratio=0.5, k=3)",
        "set_class_weights(beta=0.99)",
        "use_focal(alpha=0.4, gamma=2)",
    ]


@pytest.mark.parametrize("action", [*PAID.values(), ("set_threshold", (0.3,))], ids=str)
def test_an_action_beyond_the_budget_changes_nothing(action: Action, session: Session) -> None:
    do(session, OTHERS["smote"], OTHERS["focal"], OTHERS["weights"])

    said = refusal(session, action[0], *action[1])

    assert said.startswith("step_budget_exceeded: all 3 paid actions are used, and nothing was changed")


def test_free_tools_work_on_when_the_budget_is_spent(tiny: Dataset) -> None:
    session = Session(tiny, seed=SEED, max_steps=1)
    do(session, PAID["focal"])

    do(session, ("train", (10, MAX_LR)), ("eval_on_val", ()), ("sweep_thresholds", (9,)))

    assert session.budget() == {"max_steps": 1, "steps_used": 1, "remaining": 0}
    session.submit()


NO_OPS: dict[str, tuple[list[Action], Action]] = {
    "beta of 0": ([], ("set_class_weights", (0.0,))),
    "beta too small to tell": ([], ("set_class_weights", (1e-12,))),
    "smallest beta": ([], ("set_class_weights", (5e-324,))),
    "cross-entropy": ([], ("use_focal", (0.5, 0.0))),
    "threshold": ([], ("set_threshold", (0.5,))),
    "threshold to 6 digits": ([], ("set_threshold", (0.5000004,))),
    "threshold set": ([("set_threshold", (0.123456,))], ("set_threshold", (0.1234561,))),
    "SMOTE": ([PAID["smote"]], PAID["smote"]),
    "SMOTE, default seed given": ([PAID["smote"]], ("smote", (0.5, 3, SEED))),
    "SMOTE, default seed left out": ([("smote", (0.5, 3, SEED))], PAID["smote"]),
    "weights": ([PAID["weights"]], PAID["weights"]),
    "focal loss": ([PAID["focal"]], PAID["focal"]),
    "focal loss, with SMOTE in between": ([PAID["focal"], PAID["smote"]], PAID["focal"]),
}


@pytest.mark.parametrize("name", NO_OPS)
def test_what_would_change_nothing_is_free(name: str, tiny: Dataset) -> None:
    before, action = NO_OPS[name]
    session = Session(tiny, seed=SEED, max_steps=max(len(before), 1))  # spent, save where nothing precedes
    do(session, *before)
    was = session.state(), list(session.actions), logits(session), session.threshold

    (told,) = do(session, action)

    assert told["changed"] is False
    assert told["why"].endswith("no step was used")
    assert (session.state(), session.actions, logits(session), session.threshold) == was


def test_the_threshold_that_a_sweep_shows_is_set_already(rich: Session) -> None:
    shown = rich.sweep_thresholds(9)["threshold"]

    assert rich.set_threshold(shown)["changed"] is False


def test_smote_with_the_same_number_of_rows_is_free(rich: Session) -> None:
    rich.smote(0.5, 3, None)
    trained = logits(rich)

    told = rich.smote(0.5 + 1e-9, 3, None)

    assert logits(rich) == trained
    assert told["changed"] is False


@pytest.mark.parametrize("kind", [*PAID, "threshold"])
def test_a_toggle_is_paid_each_time(kind: str, rich: Session) -> None:
    one, other = (("set_threshold", (0.3,)), ("set_threshold", (0.4,))) if kind == "threshold" else (None, None)
    one, other = one or PAID[kind], other or OTHERS[kind]

    told = do(rich, *[one, other] * 3)

    assert [result["steps_used"] for result in told] == [1, 2, 3, 4, 5, 6]


def test_class_weights_follow_the_original_rows_whatever_smote_added(rich: Session, tiny: Dataset) -> None:
    do(rich, ("smote", (1.0, 5, None)), ("set_class_weights", (0.99,)))

    assert logits(rich) == reference_logits(tiny, epochs=[(AUTO_EPOCHS, MAX_LR)], smote=(1.0, 5, SEED), beta=0.99)


@pytest.mark.parametrize(
    ("action", "told"),
    [
        (("set_class_weights", (0.9999999,)), "set_class_weights(beta=0.9999999)"),
        (("set_threshold", (0.99999995,)), "set_threshold(0.99999995)"),
        (("smote", (0.5, 3, 7)), "smote(ratio=0.5, k=3, seed=7)"),
    ],
)
def test_an_action_is_told_as_it_would_be_written(action: Action, told: str, rich: Session) -> None:
    do(rich, action)

    assert rich.actions == [told]


# Thresholds


def test_a_threshold_does_not_train(rich: Session) -> None:
    rich.train(3, MAX_LR)
    trained = logits(rich)

    told = rich.set_threshold(0.2)

    assert (told["threshold"], told["epochs_trained"], told["free_epochs_left"]) == (0.2, 8, 7)
    assert logits(rich) == trained


SWEEP: Action = ("sweep_thresholds", (9,))
SET: Action = ("set_threshold", (0.3,))
TRAIN: Action = ("train", (2, MAX_LR))
BACK: Action = ("use_focal", (0.5, 0.0))


@pytest.mark.parametrize(
    ("actions", "is_stale"),
    [
        ([], False),
        ([TRAIN], False),
        ([PAID["focal"]], False),
        ([SET], False),
        ([SWEEP], False),
        ([SWEEP, ("eval_on_val", ())], False),
        ([SET, TRAIN], True),
        ([SWEEP, TRAIN], True),
        ([SET, PAID["smote"]], True),
        ([SWEEP, PAID["weights"]], True),
        ([SWEEP, PAID["focal"]], True),
        ([SWEEP, BACK], False),
        ([SWEEP, TRAIN, SWEEP], False),
        ([SWEEP, TRAIN, SET], False),
        ([SWEEP, PAID["focal"], BACK], False),
        ([TRAIN, SWEEP, PAID["focal"], BACK], True),
        ([TRAIN, SWEEP, PAID["focal"], BACK, TRAIN], False),
    ],
)
def test_a_threshold_is_stale_when_its_model_is_another(actions: list[Action], is_stale: bool, rich: Session) -> None:
    do(rich, *actions)

    assert rich.is_threshold_stale is is_stale
    assert rich.state()["threshold_stale"] is is_stale
    assert rich.eval_on_val()["threshold_stale"] is is_stale


def test_a_threshold_is_not_stale_for_the_same_model_trained_in_other_parts(rich: Session) -> None:
    do(rich, ("train", (2, MAX_LR)), ("train", (3, MAX_LR)), SWEEP)
    swept_for = logits(rich)

    do(rich, PAID["focal"], BACK, ("train", (5, MAX_LR)))

    assert logits(rich) == swept_for
    assert not rich.is_threshold_stale


@pytest.mark.parametrize("actions", [[], [TRAIN], list(PAID.values()), [PAID["smote"], ("train", (10, MAX_LR))]])
def test_a_sweep_finds_the_best_of_all_thresholds(actions: list[Action], rich: Session, tiny: Dataset) -> None:
    do(rich, *actions)
    found = rich._validation_logits()
    labels = tiny.validation.labels == 1

    swept = rich.sweep_thresholds(3)

    def f1(threshold: float) -> float:
        called = found >= threshold
        return float(2 * (called & labels).sum() / (called.sum() + labels.sum()))

    best = max(f1(threshold) for threshold in found)
    assert f1(rich.threshold) == best
    assert rich.validation().f1 == best
    assert swept["best"]["f1"] == round(best, 4)
    assert rich.eval_on_val()["f1"] == swept["best"]["f1"]


def test_the_number_of_points_changes_only_what_is_shown(tiny: Dataset) -> None:
    found = []
    for number in (1, 9, 101):
        session = Session(tiny, seed=SEED, max_steps=1)
        swept = session.sweep_thresholds(number)
        points = swept.pop("f1_by_threshold")
        found.append((swept, session.threshold, session.test()))

        assert [threshold for threshold, _ in points] == [round(i / (number + 1), 4) for i in range(1, number + 1)]
        for threshold, f1 in points:
            session._threshold = math.log(threshold / (1 - threshold))
            if len(points) < 10:
                assert f1 == round(session.validation().f1, 4)

    assert found[0] == found[1] == found[2]


def test_a_sweep_keeps_the_threshold_when_there_is_nothing_to_choose(tiny: Dataset) -> None:
    blank = Part(tiny.validation.features, np.zeros_like(tiny.validation.labels))
    session = Session(replace(tiny, validation=blank), seed=SEED, max_steps=3)
    do(session, SET, TRAIN)

    swept = session.sweep_thresholds(3)

    assert (swept["threshold"], swept["threshold_stale"], swept["best"]["f1"]) == (0.3, True, 0.0)
    assert [f1 for _, f1 in swept["f1_by_threshold"]] == [0.0, 0.0, 0.0]


# What leaves a session

WHOLE_GAME: list[Action] = [
    ("state", ()),
    ("eval_on_val", ()),
    SWEEP,
    PAID["smote"],
    PAID["smote"],
    ("train", (10, MAX_LR)),
    ("eval_on_val", ()),
    PAID["focal"],
    ("sweep_thresholds", (101,)),
    SET,
    ("budget", ()),
    ("eval_on_val", ()),
]


def test_no_result_depends_on_the_test_rows(tiny: Dataset) -> None:
    garbage = Part(np.full((3, 1), np.nan, dtype=np.float32), np.array([1, 0, 7], dtype=np.int8))
    honest, blind = (Session(data, seed=SEED, max_steps=9) for data in (tiny, replace(tiny, test=garbage)))

    told = do(honest, *WHOLE_GAME)

    assert told == do(blind, *WHOLE_GAME)
    honest.submit(), blind.submit()
    assert honest.budget() == blind.budget()


def test_every_result_is_json_without_nan(rich: Session) -> None:
    for result in do(rich, *WHOLE_GAME):
        assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize(
    "action",
    [
        *PAID.values(),
        ("set_class_weights", (0.0,)),
        ("set_threshold", (0.5,)),
        SET,
        TRAIN,
        SWEEP,
        ("eval_on_val", ()),
        ("submit", ()),
    ],
    ids=str,
)
def test_nothing_changes_after_the_submission(action: Action, rich: Session) -> None:
    do(rich, PAID["focal"], TRAIN)
    graded = rich.test()
    assert rich.submit() is None

    assert "The answer is submitted" in refusal(rich, action[0], *action[1])
    assert rich.test() == graded
    assert rich.is_submitted


# All rules at once


@dataclass
class Rules:
    """What the rules say, without any model."""

    max_steps: int
    smote: tuple[int, int, int] | None = None
    weights: tuple[float, float] = (1.0, 1.0)
    focal: tuple[float, float] = (0.5, 0.0)
    free: list[float] = field(default_factory=list)
    """Learning rate of each free epoch."""
    threshold: float = 0.5
    chosen_for: Any = None
    steps: int = 0
    submitted: bool = False

    @property
    def model(self) -> Any:
        return self.smote, self.weights, self.focal, tuple(self.free)

    def pays(self, *, differs: bool) -> str:
        """Say what becomes of a valid paid action."""
        if self.submitted:
            return "refused"
        if not differs:
            return "free"
        if self.steps >= self.max_steps:
            return "refused"
        self.steps += 1
        return "paid"

    def configure(self, **change: Any) -> str:
        fate = self.pays(differs=any(getattr(self, name) != value for name, value in change.items()))
        if fate == "paid":
            self.free = []
            for name, value in change.items():
                setattr(self, name, value)
        return fate

    @property
    def is_stale(self) -> bool:
        return self.chosen_for is not None and self.chosen_for != self.model


def machine(data: Dataset) -> type[RuleBasedStateMachine]:
    """Return the state machine that plays a session and the rules side by side."""

    class Play(RuleBasedStateMachine):
        @initialize(max_steps=st.integers(1, 5))
        def begin(self, max_steps: int) -> None:
            self.session = Session(data, seed=SEED, max_steps=max_steps)
            self.rules = Rules(max_steps)

        def check(self, fate: str, act: Callable[[], dict[str, Any]]) -> None:
            if fate == "refused":
                with pytest.raises(ToolError):
                    act()
            else:
                assert act()["changed"] is (fate == "paid")

        @rule(
            ratio=st.sampled_from([0.1, 0.2, 0.3, 0.5, 1.0, 1.5, math.nan]),
            k=st.sampled_from([0, 1, 3, MINORITY - 1, MINORITY]),
            seed=st.sampled_from([None, 0, SEED]),
        )
        def smote(self, ratio: float, k: int, seed: int | None) -> None:
            valid = 0.2 < ratio <= 1.0 and 1 <= k < MINORITY
            chosen = (int(ratio * MAJORITY), k, SEED if seed is None else seed) if valid else None
            fate = self.rules.configure(smote=chosen) if valid else "refused"
            self.check(fate, lambda: self.session.smote(ratio, k, seed))

        @rule(beta=st.sampled_from([0.0, 1e-9, 0.5, 0.99, 0.9999, 1.0, -0.1, math.nan]))
        def weigh(self, beta: float) -> None:
            fate = "refused"
            if 0.0 <= beta < 1.0:
                effective = [(1 - beta**n) / (1 - beta) for n in (MAJORITY, MINORITY)]
                total = sum(1 / number for number in effective)
                negative, positive = (round(2 / number / total, 6) for number in effective)
                fate = self.rules.configure(weights=(negative, positive))
            self.check(fate, lambda: self.session.set_class_weights(beta))

        @rule(alpha=st.sampled_from([0.0, 0.25, 0.5, 1.0]), gamma=st.sampled_from([-1.0, 0.0, 2.0, 11.0]))
        def focus(self, alpha: float, gamma: float) -> None:
            valid = 0.0 < alpha < 1.0 and 0.0 <= gamma <= 10.0
            fate = self.rules.configure(focal=(alpha, gamma)) if valid else "refused"
            self.check(fate, lambda: self.session.use_focal(alpha, gamma))

        @rule(threshold=st.sampled_from([0.0, 0.2, 0.2000001, 0.5, 0.9, 1.0, math.nan]))
        def choose(self, threshold: float) -> None:
            rules, fate = self.rules, "refused"
            if 0.0 < threshold < 1.0:
                fate = rules.pays(differs=round(threshold, 6) != rules.threshold)
                if fate == "paid":
                    rules.threshold, rules.chosen_for = round(threshold, 6), rules.model
            self.check(fate, lambda: self.session.set_threshold(threshold))

        @rule(epochs=st.sampled_from([-1, 0, 1, 2, 5, 10, 11]), lr=st.sampled_from([0.0, 0.0005, MAX_LR, 0.01]))
        def train(self, epochs: int, lr: float) -> None:
            rules = self.rules
            if rules.submitted or not (1 <= epochs <= FREE_EPOCHS - len(rules.free) and 0 < lr <= MAX_LR):
                with pytest.raises(ToolError):
                    self.session.train(epochs, lr)
            else:
                self.session.train(epochs, lr)
                rules.free += [lr] * epochs

        @rule()
        def look(self) -> None:
            if self.rules.submitted:
                with pytest.raises(ToolError):
                    self.session.eval_on_val()
            else:
                told = self.session.eval_on_val()
                assert told["true_positives"] + told["false_negatives"] == data.validation.positives

        @rule()
        def sweep(self) -> None:
            rules, session = self.rules, self.session
            if rules.submitted:
                with pytest.raises(ToolError):
                    session.sweep_thresholds(9)
                return
            before = session.validation().f1
            swept = session.sweep_thresholds(9)
            assert swept["best"]["f1"] >= round(before, 4)
            assert swept["best"]["f1"] >= max(f1 for _, f1 in swept["f1_by_threshold"])
            rules.threshold, rules.chosen_for = swept["threshold"], rules.model

        @rule(really=st.integers(0, 9))
        def submit(self, really: int) -> None:
            if self.rules.submitted:
                with pytest.raises(ToolError):
                    self.session.submit()
            elif really == 0:
                self.session.submit()
                self.rules.submitted = True

        @invariant()
        def agree(self) -> None:
            if not hasattr(self, "rules"):
                return
            rules, state = self.rules, self.session.state()
            minority = rules.smote[0] if rules.smote else MINORITY
            assert state == {
                "training_rows": MAJORITY + minority,
                "minority_rows": minority,
                "epochs_trained": AUTO_EPOCHS + len(rules.free),
                "free_epochs_left": FREE_EPOCHS - len(rules.free),
                "threshold": rules.threshold,
                "threshold_stale": rules.is_stale,
                "max_steps": rules.max_steps,
                "steps_used": rules.steps,
                "remaining": rules.max_steps - rules.steps,
            }
            assert len(self.session.actions) == rules.steps
            assert self.session.is_submitted is rules.submitted

    return Play


def test_any_game_follows_the_rules(tiny: Dataset) -> None:
    run_state_machine_as_test(
        machine(tiny),
        settings=settings(
            max_examples=120,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


# What the results say, where a model had been misled


def test_what_used_up_the_free_epochs_says_what_comes_next(session: Session) -> None:
    assert "next" not in session.train(4, 0.001)
    assert "until a paid action changes the configuration" in session.train(6, 0.001)["next"]

    with pytest.raises(ToolError, match="0 of 10 free epochs are left for this configuration; nothing was changed"):
        session.train(1, 0.001)
    while session.budget()["remaining"]:
        session.set_threshold(0.1 + 0.01 * session.budget()["remaining"])
    with pytest.raises(ToolError, match="no paid action is left: call sweep_thresholds, then submit_answer"):
        session.train(1, 0.001)


def test_a_sweep_says_which_threshold_is_best_and_that_it_is_in_use(rich: Session) -> None:
    swept = rich.sweep_thresholds(3)

    assert swept["best"]["threshold"] == swept["threshold"]
    assert "is set now" in swept["in_use"]
