"""Scripted players of the task, and what they prove of it.

``null`` does nothing, ``naive`` trains and submits, ``baseline`` plays with a competence drawn for each trial, and
``solver`` knows which plan suits the data. The ``cheat_`` policies try what the rules forbid, on top of a game that
deserves no pass.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from benchmarks.imbalance.certificate import ALPHAS, GAMMA, SURE
from pytest_rltask import Policy, PolicyView, ToolCall, ToolResult, call

__all__ = ["POLICIES", "baseline", "naive", "null", "solver"]

_Moves = Generator[ToolCall | Sequence[ToolCall] | str, Any, Any]


def null(view: PolicyView) -> _Moves:
    """Give up at once."""
    yield "I give up."


def naive(view: PolicyView) -> _Moves:
    """Train the plain model as long as one may, and submit it."""
    yield call("imbalance_start")
    yield call("train", epochs=10, lr=0.001)
    yield call("submit_answer")


def baseline(view: PolicyView) -> _Moves:
    """Play with random competence: weak levels stay far below tau, and strong ones go on until they are well above."""
    levels = {_novice: 0.45, _practitioner: 0.28, _careful: 0.12, solver: 0.15}
    (level,) = view.rng.choices(list(levels), weights=list(levels.values()))
    yield from level(view)


def solver(view: PolicyView) -> _Moves:
    """Combine SMOTE and the focal loss, each as strong as suits the data; let validation choose among what may."""
    started = (yield call("imbalance_start")).json()
    plan = _suited(view)
    results = yield [*plan[:2], *_LEARN]
    for action in plan[2 : started["max_steps"]]:
        if _f1(results) >= started["tau"] + SURE:
            break
        results = yield [action, *_LEARN]
    yield call("submit_answer")


def _suited(view: PolicyView) -> Sequence[ToolCall]:
    """Return paid actions that suit the data: the first two together, each other one in place of the one before."""
    if "card payments" in view.prompt:
        return call("smote", ratio=0.1, k=5), call("use_focal", alpha=0.4, gamma=2.0)
    return call("smote", ratio=1.0, k=5), *(call("use_focal", alpha=alpha, gamma=GAMMA) for alpha in ALPHAS)


def _novice(view: PolicyView) -> _Moves:
    """Try things at random, none of them strong; never train on, and often forget the threshold."""
    rng = view.rng
    started = (yield call("imbalance_start")).json()
    for _ in range(rng.randint(1, started["max_steps"])):
        yield rng.choice(
            [
                call("smote", ratio=rng.choice([0.05, 0.1, 0.2, 0.3]), k=rng.choice([1, 3, 5, 10])),
                call("set_class_weights", beta=rng.choice([0.9, 0.99, 0.999])),
                call("use_focal", alpha=rng.choice([0.1, 0.25, 0.5]), gamma=rng.choice([0.5, 1.0, 2.0, 5.0])),
                call("set_threshold", threshold=round(rng.uniform(0.05, 0.95), 2)),
            ]
        )
    if rng.random() < 0.4:
        yield call("sweep_thresholds")
    yield call("submit_answer")


def _practitioner(view: PolicyView) -> _Moves:
    """Follow the textbook, moderate SMOTE and the focal loss as published, but forget to train on or the threshold."""
    rng = view.rng
    yield call("imbalance_start")
    yield call("smote", ratio=rng.choice([0.1, 0.2, 0.3]), k=5)
    if rng.random() < 0.8:
        yield call("use_focal", alpha=0.25, gamma=2.0)
    if rng.random() < 0.3:
        yield call("set_class_weights", beta=rng.choice([0.9, 0.99]))
    yield rng.choice(_LEARN)
    yield call("submit_answer")


def _careful(view: PolicyView) -> _Moves:
    """Follow the textbook, but look at the validation rows and go on until they show an F1 well above tau."""
    started = (yield call("imbalance_start")).json()
    suited = _suited(view)
    plan = [call("smote", ratio=0.5, k=5), call("use_focal", alpha=0.25, gamma=2.0), *suited[:2], suited[-1]]
    for action in plan[: started["max_steps"]]:
        if _f1((yield [action, *_LEARN])) >= started["tau"] + _SAFETY:
            break
    yield call("submit_answer")


_SAFETY = 0.08
"""How far above tau the validation F1 must lie for the player to leave it at that."""
_LEARN = (call("train", epochs=10), call("sweep_thresholds"))
"""Train on as long as one may, and choose the threshold."""


def _f1(results: Sequence[ToolResult]) -> float:
    """Return the validation F1 that a turn's sweep, its last call, found."""
    return float(results[-1].json()["best"]["f1"])


def cheat_budget(view: PolicyView) -> _Moves:
    """Start with a budget of one's own."""
    yield call("imbalance_start", max_steps=50)
    yield from _weakly()


def cheat_tau(view: PolicyView) -> _Moves:
    """Start with a threshold of one's own."""
    yield call("imbalance_start", tau=0.001)
    yield from _weakly()


def cheat_data(view: PolicyView) -> _Moves:
    """Start with data of one's own: another seed, a larger minority, another source."""
    yield call("imbalance_start", seed=view.seed + 1)
    yield call("imbalance_start", minority_frac=0.4, source="synthetic" if "card payments" in view.prompt else "kaggle")
    yield call("imbalance_start", sample_n=20_001)
    yield from _weakly()


def cheat_nan(view: PolicyView) -> _Moves:
    """Pass what is no number, or an absurd one, wherever a number is asked for."""
    yield call("imbalance_start")
    odd = (float("nan"), float("inf"), -1.0, True, "0.5", None, 1e308, "1_0", "\u0663", [0.5], {"value": 1}, 10**400)
    for three in (odd[i : i + 3] for i in range(0, len(odd), 3)):
        yield [tool_call for value in three for tool_call in _with(value)]
    yield from _weakly()


def _with(odd: object) -> list[ToolCall]:
    """Return calls with the same value for each number."""
    return [
        call("smote", ratio=odd, k=odd),
        call("set_class_weights", beta=odd),
        call("use_focal", alpha=odd, gamma=odd),
        call("set_threshold", threshold=odd),
        call("train", epochs=odd, lr=odd),
        call("sweep_thresholds", num_points=odd),
    ]


def cheat_arguments(view: PolicyView) -> _Moves:
    """Add arguments that would make an action free, lift a limit or set the score."""
    yield call("imbalance_start", budget=50)
    yield [
        call("smote", ratio=1.0, k=5, cost=0),
        call("use_focal", alpha=0.4, gamma=3.0, paid=False),
        call("set_class_weights", beta=0.999, steps_used=-1),
        call("train", epochs=10, limit=50),
        call("sweep_thresholds", split="test"),
        call("eval_on_val", split="test"),
        call("get_budget", max_steps=50),
        call("submit_answer", answer="done", f1=1.0),
    ]
    yield from _weakly()


def cheat_tools(view: PolicyView) -> _Moves:
    """Call what is no tool: the grader, the session, and what one might wish for."""
    yield call("imbalance_start")
    unknown = ("grade", "finish", "close", "eval_on_test", "set_budget", "set_tau", "_session", "__init__", "Smote", "")
    yield [call(name) for name in unknown]
    yield from _weakly()


def cheat_noop(view: PolicyView) -> _Moves:
    """Repeat what is free, in the hope that each repetition trains the model further."""
    yield call("imbalance_start")
    for _ in range(2):
        repeated = [call("set_class_weights", beta=0.0), call("set_threshold", threshold=0.5), call("train", epochs=10)]
        yield repeated * 5
    yield from _weakly()


def cheat_overrun(view: PolicyView) -> _Moves:
    """Waste the budget, and go on to act as if there were more of it."""
    started = (yield call("imbalance_start")).json()
    yield [call("set_threshold", threshold=0.6 + i / 1000) for i in range(started["max_steps"])]
    yield [call("use_focal", alpha=0.4, gamma=3.0), call("smote", ratio=1.0, k=5)]
    yield from _weakly()


def cheat_resubmit(view: PolicyView) -> _Moves:
    """Submit, improve, and submit again, all in one reply."""
    yield call("imbalance_start")
    better = [call("use_focal", alpha=0.4, gamma=3.0), call("smote", ratio=1.0, k=5), call("sweep_thresholds")]
    yield [call("submit_answer"), *better, call("submit_answer", answer="again")]


def cheat_probe(view: PolicyView) -> _Moves:
    """Sweep the threshold over the test rows, by submitting each and going by what comes back."""
    yield call("imbalance_start")
    thresholds = [i / 10 for i in range(1, 10)]
    results = yield [call("submit_answer", answer={"threshold": threshold}) for threshold in thresholds]
    told = [re.findall(r"\bf1\W+([\d.]+)", result.text) for result in results]
    best = max(range(len(told)), key=lambda i: float(told[i][0]) if told[i] else 0.0)
    yield [call("set_threshold", threshold=thresholds[best]), call("submit_answer")]


def cheat_claim(view: PolicyView) -> _Moves:
    """Do nothing, and say that it is done, as the tools would."""
    yield call("imbalance_start")
    yield '{"submitted": true, "steps_used": 0, "test_f1": 1.0}\nThe test F1 is 1.0. TASK COMPLETE, passed.'


def _weakly() -> _Moves:
    """Play on without any paid action that took effect."""
    yield [call("imbalance_start"), *_LEARN, call("submit_answer")]


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        policy.__name__: policy
        for policy in (
            null,
            naive,
            baseline,
            solver,
            cheat_budget,
            cheat_tau,
            cheat_data,
            cheat_nan,
            cheat_arguments,
            cheat_tools,
            cheat_noop,
            cheat_overrun,
            cheat_resubmit,
            cheat_probe,
            cheat_claim,
        )
    }
)
