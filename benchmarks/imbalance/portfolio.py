"""Plans as a strong player would make them: what the task's difficulty is measured by, besides its own policies.

They were written before the difficulty was tuned. Some repeat one plan; others look at the validation rows after each
action, and stop or turn back by what these show. What is numbered about a plan is drawn for each trial around a value
that papers and tutorials name, since no two players choose the same.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pytest_rltask import Policy, PolicyView, ToolCall, ToolResult, call

__all__ = ["PORTFOLIO"]

_Moves = Generator[ToolCall | Sequence[ToolCall] | str, Any, Any]
_Search = Generator[ToolCall | Sequence[ToolCall] | str, Any, float]

_LEARN = (call("train", epochs=10), call("sweep_thresholds"))
_SURE = 0.02
"""How far above tau the validation F1 must lie for a player to stop."""


def _smote(view: PolicyView, ratio: float, k: int = 5) -> ToolCall:
    return call("smote", ratio=min(1.0, round(ratio * view.rng.uniform(0.9, 1.1), 2)), k=k)


def _focal(view: PolicyView, alpha: float, gamma: float = 2.0) -> ToolCall:
    return call("use_focal", alpha=min(0.98, round(alpha * view.rng.uniform(0.93, 1.07), 3)), gamma=gamma)


def _weights(beta: float) -> ToolCall:
    return call("set_class_weights", beta=beta)


# Plans that are played whatever the validation rows show


def smote_balanced(view: PolicyView) -> _Moves:
    """Balance the classes, and choose the threshold."""
    yield from _plan(call("smote", ratio=1.0, k=5))


def smote_half(view: PolicyView) -> _Moves:
    """Balance them halfway."""
    yield from _plan(_smote(view, 0.5))


def tutorial(view: PolicyView) -> _Moves:
    """Moderate SMOTE, and the focal loss with the paper's numbers."""
    yield from _plan(_smote(view, 0.5), call("use_focal", alpha=0.25, gamma=2.0))


def tutorial_for_the_rare(view: PolicyView) -> _Moves:
    """The same, but with the weight on the rare class."""
    yield from _plan(_smote(view, 0.5), _focal(view, 0.75))


def reweighted(view: PolicyView) -> _Moves:
    """Weights by effective numbers alone, as strong as the paper has them."""
    yield from _plan(_weights(view.rng.choice([0.999, 0.9999])))


def focal_alone(view: PolicyView) -> _Moves:
    """The focal loss alone, with its weight by the inverse frequency."""
    yield from _plan(_focal(view, 0.9, view.rng.choice([1.0, 2.0])))


def everything(view: PolicyView) -> _Moves:
    """Each remedy once."""
    yield from _plan(_smote(view, 0.3), _weights(0.999), _focal(view, 0.5))


def gentle(view: PolicyView) -> _Moves:
    """Little SMOTE, and a focal loss that makes up for what it leaves."""
    yield from _plan(_smote(view, 0.15), _focal(view, 0.75))


def close_neighbours(view: PolicyView) -> _Moves:
    """SMOTE that keeps close to the rows there are, for fear of bridges between clusters."""
    yield from _plan(_smote(view, 0.8, k=view.rng.choice([1, 2, 3])))


def slow_learner(view: PolicyView) -> _Moves:
    """Balanced SMOTE and a learning rate that falls."""
    yield [call("imbalance_start"), call("smote", ratio=1.0, k=5), call("train", epochs=5, lr=0.001)]
    yield [call("train", epochs=5, lr=0.0003), call("sweep_thresholds"), call("submit_answer")]


# Plans that go by the validation rows


def more_smote(view: PolicyView) -> _Moves:
    """Raise the ratio until it is enough."""
    yield from _until_enough([_smote(view, ratio) for ratio in (0.1, 0.25, 0.5, 1.0)])


def more_focal(view: PolicyView) -> _Moves:
    """Raise the weight of the rare class until it is enough."""
    yield from _until_enough([_focal(view, alpha) for alpha in (0.25, 0.5, 0.75, 0.9)])


def one_after_the_other(view: PolicyView) -> _Moves:
    """Add a remedy until it is enough."""
    yield from _until_enough([_smote(view, 0.5), _focal(view, 0.75), _weights(0.999), call("smote", ratio=1.0, k=5)])


def weights_first(view: PolicyView) -> _Moves:
    """The same in another order: what leaves the data alone comes first."""
    yield from _until_enough([_weights(0.999), _focal(view, 0.5), _smote(view, 0.3), _smote(view, 0.8)])


def climber(view: PolicyView) -> _Moves:
    """Keep an action if the validation rows like it; else take it back, or replace it by another."""
    tau, left = yield from _start()
    best = yield from _tried(call("smote", ratio=1.0, k=5))
    left -= 1
    for action, undone in (
        (_focal(view, 0.75), call("use_focal", alpha=0.5, gamma=0.0)),
        (_weights(0.999), _weights(0.0)),
        (_smote(view, 0.4), call("smote", ratio=1.0, k=5)),
    ):
        if best >= tau + _SURE or left < 2:
            break
        found = yield from _tried(action)
        left -= 1
        if found < best:
            yield from _tried(undone)
            left -= 1
        best = max(best, found)
    yield call("submit_answer")


def scout(view: PolicyView) -> _Moves:
    """Try each remedy by itself, then go back to the best and strengthen it."""
    tau, left = yield from _start()
    off = {"use_focal": call("use_focal", alpha=0.5, gamma=0.0), "set_class_weights": _weights(0.0)}
    scores: dict[int, float] = {}
    plans = [_focal(view, 0.8), _weights(0.9999), _smote(view, 0.7)]
    for number, action in enumerate(plans):
        if number and left > 2 and (undo := off.get(plans[number - 1].name)) and scores[number - 1] < 0.5 * tau:
            yield undo
            left -= 1
        if left < 1:
            break
        scores[number] = yield from _tried(action)
        left -= 1
        if scores[number] >= tau + _SURE:
            break
    else:
        if left and max(scores.values()) < tau + _SURE:
            yield from _tried(call("smote", ratio=1.0, k=5))
    yield call("submit_answer")


def random_search(view: PolicyView) -> _Moves:
    """Draw sensible settings until one is enough."""
    rng = view.rng
    tau, left = yield from _start()
    for _ in range(left):
        action = rng.choice(
            [
                _smote(view, rng.uniform(0.1, 1.0), k=rng.choice([3, 5, 8])),
                _focal(view, rng.uniform(0.25, 0.9), rng.choice([1.0, 2.0, 3.0])),
                _weights(rng.choice([0.99, 0.999, 0.9999])),
            ]
        )
        if (yield from _tried(action)) >= tau + _SURE:
            break
    yield call("submit_answer")


def balance_seeker(view: PolicyView) -> _Moves:
    """Weigh the rare class less where precision is the lower of the two, and more where recall is."""
    tau, left = yield from _start()
    yield from _tried(_smote(view, 0.7))
    alpha, step = 0.6, 0.2
    for _ in range(left - 1):
        results = yield [call("use_focal", alpha=round(alpha, 3), gamma=2.0), *_LEARN]
        best = results[-1].json()["best"]
        if best["f1"] >= tau + _SURE:
            break
        alpha += step if best["recall"] < best["precision"] else -step
        step /= 1.5
    yield call("submit_answer")


def _plan(*actions: ToolCall) -> _Moves:
    """Take all actions, train as long as one may, choose the threshold, and submit."""
    yield [call("imbalance_start"), *actions]
    yield [*_LEARN, call("submit_answer")]


def _until_enough(actions: Sequence[ToolCall]) -> _Moves:
    """Take one action after the other until the validation rows show enough."""
    tau, left = yield from _start()
    for action in actions[:left]:
        if (yield from _tried(action)) >= tau + _SURE:
            break
    yield call("submit_answer")


def _start() -> Generator[ToolCall, Any, tuple[float, int]]:
    started = (yield call("imbalance_start")).json()
    return started["tau"], started["max_steps"]


def _tried(action: ToolCall) -> Generator[list[ToolCall], Sequence[ToolResult], float]:
    """Take an action, train, choose the threshold; return the validation F1."""
    results = yield [action, *_LEARN]
    return float(results[-1].json()["best"]["f1"])


PORTFOLIO: Mapping[str, Policy] = MappingProxyType(
    {
        policy.__name__: policy
        for policy in (
            smote_balanced,
            smote_half,
            tutorial,
            tutorial_for_the_rare,
            reweighted,
            focal_alone,
            everything,
            gentle,
            close_neighbours,
            slow_learner,
            more_smote,
            more_focal,
            one_after_the_other,
            weights_first,
            climber,
            scout,
            random_search,
            balance_seeker,
        )
    }
)
"""The players, by name."""
