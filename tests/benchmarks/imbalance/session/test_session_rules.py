"""Any game follows all rules of a session at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from benchmarks.imbalance.data import Dataset
from benchmarks.imbalance.session import AUTO_EPOCHS, FREE_EPOCHS, MAX_LR, Session
from pytest_rltask import ToolError
from tests.benchmarks.imbalance.session.game import MAJORITY, MINORITY, SEED


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
