"""Scripted players of the task, and what they prove of it.

``null`` does nothing, ``naive`` trains a small network with defaults, ``baseline`` plays with a competence drawn for
each trial, and ``solver`` sees how the data were made. ``cheat_train_on_test`` and those of ``cheats.py`` try what the
rules forbid. The Python that they write is in ``scripts/``; its line or block ``CONFIG = {...}`` is filled in.
"""

from __future__ import annotations

import random
import re
from collections.abc import Generator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from benchmarks.onnx_export.cheats import CHEATS, read_script
from pytest_rltask import Policy, PolicyView, ToolCall, ToolResult, call

__all__ = ["POLICIES", "baseline", "cheat_train_on_test", "naive", "null", "solver"]

_Moves = Generator[ToolCall | Sequence[ToolCall] | str, Any, None]


def null(view: PolicyView) -> _Moves:
    """Give up at once."""
    yield "TASK COMPLETE"


def naive(view: PolicyView) -> _Moves:
    """Train a small network on raw features with the usual defaults, once."""
    yield from _run("naive", {"seed": view.rng.randrange(10**6)})
    yield "TASK COMPLETE"


def baseline(view: PolicyView) -> _Moves:
    """Play with random competence: what decides is whether one sees how the data were made, and delivers it whole.

    Networks stay far below the threshold and mixtures lie far above it, so that no trial ends otherwise for the last
    digits of a machine's arithmetic (``make bench-capabilities``).
    """
    levels = {_novice: 0.3, _practitioner: 0.25, _hasty: 0.17, _careful: 0.12, _expert: 0.16}
    (level,) = view.rng.choices(list(levels), weights=list(levels.values()))
    passing = float(re.findall(r"accuracy >= ([\d.]+)", view.prompt)[0])
    for attempt in range(2):
        script, config = level(view.rng, attempt)
        result = yield from _run(script, config)
        if _printed_test_accuracy(result) >= passing + _SAFETY or level is _hasty:
            break
    yield "TASK COMPLETE"


def solver(view: PolicyView) -> _Moves:
    """Fit a mixture of Gaussians per class, with all that is known of them, and export it as a network."""
    yield from _run(*_expert(view.rng, 0))
    yield "TASK COMPLETE"


def cheat_train_on_test(view: PolicyView) -> _Moves:
    """Train on train.csv and test.csv together."""
    config = {**_RECIPE, "seed": view.rng.randrange(10**6), "epochs": 80, "lr": 3e-3, "weight_decay": 1e-2}
    yield from _run("recipe", {**config, "smoothing": 0.05, "cosine": True, "leak": True})
    yield "TASK COMPLETE"


POLICIES: Mapping[str, Policy] = MappingProxyType(
    {**{policy.__name__: policy for policy in (null, naive, baseline, solver, cheat_train_on_test)}, **CHEATS}
)


_Plan = tuple[str, dict[str, object]]
"""A script and its CONFIG."""

_SAFETY = 0.02
"""How far above the threshold an accuracy must be printed for the player to leave it at that."""
_RECIPE: Mapping[str, object] = MappingProxyType(
    {
        "hidden": [128, 64],
        "dropout": 0.0,
        "batch_norm": False,
        "weight_decay": 0.0,
        "smoothing": 0.0,
        "cosine": False,
        "best_on_test": False,
        "scaling": "inside",
        "export": "dynamic",
        "typo": False,
        "leak": False,
    }
)
"""A network's recipe, but for its seed, epochs and learning rate."""


def _novice(rng: random.Random, attempt: int) -> _Plan:
    """Guess hyper-parameters; often forget the scaler, or leave it out of the exported network."""
    return "recipe", {
        **_RECIPE,
        "seed": rng.randrange(10**6),
        "hidden": rng.choice([[16], [32], [32, 16]]),
        "epochs": rng.choice([10, 20, 30]),
        "lr": rng.choice([5e-4, 1e-3]),
        "dropout": rng.choice([0.0, 0.2, 0.4]),
        "weight_decay": rng.choice([0.0, 1e-4]),
        "scaling": _pick(rng, {"inside": 0.5, "outside": 0.25, "none": 0.25}),
        "export": _pick(rng, {"dynamic": 0.2, "fixed": 0.4, "legacy": 0.4}),
        "typo": rng.random() < 0.15,
    }


def _practitioner(rng: random.Random, attempt: int) -> _Plan:
    """Tune what is usually tuned, but train a network that is too small, or too shortly."""
    hidden, epochs = rng.choice([([16], 60), ([32], 30), ([64], 15), ([32, 16], 20)])
    return "recipe", {
        **_RECIPE,
        "seed": rng.randrange(10**6),
        "hidden": hidden,
        "epochs": epochs,
        "lr": 1e-3,
        "dropout": rng.choice([0.0, 0.2]),
        "weight_decay": rng.choice([0.0, 1e-4, 1e-2]),
        "smoothing": rng.choice([0.0, 0.05]),
        "cosine": rng.random() < 0.5,
        "scaling": _pick(rng, {"inside": 0.9, "outside": 0.1}),
        "export": _pick(rng, {"dynamic": 0.4, "fixed": 0.2, "legacy": 0.4}),
    }


def _hasty(rng: random.Random, attempt: int) -> _Plan:
    """See how the data were made, but not what the prompt demands of a delivery."""
    return "solver", {"seed": rng.randrange(10**6), "slip": rng.choice(["unprinted", "renamed", "whitened"])}


def _careful(rng: random.Random, attempt: int) -> _Plan:
    """Try a network first, and look at the data once that turns out too weak."""
    return (_practitioner, _expert)[attempt](rng, attempt)


def _expert(rng: random.Random, attempt: int) -> _Plan:
    """See how the data were made."""
    return "solver", {"seed": rng.randrange(10**6), "slip": ""}


def _pick(rng: random.Random, odds: Mapping[str, float]) -> str:
    return rng.choices(list(odds), weights=list(odds.values()))[0]


def _run(script: str, config: Mapping[str, object]) -> Generator[ToolCall, ToolResult, ToolResult]:
    """Write a script with its configuration and run it."""
    yield call("write_file", path="train.py", content=read_script(script, config))
    return (yield call("run_python", path="train.py"))


def _printed_test_accuracy(result: ToolResult) -> float:
    """Return what a run printed, 0 for nothing."""
    found = re.findall(r"^test accuracy: ([\d.]+)$", result.json()["stdout"], re.MULTILINE)
    return float(found[-1]) if found else 0.0
