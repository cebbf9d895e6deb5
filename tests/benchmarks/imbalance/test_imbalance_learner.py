"""The learner: torch's own modules, optimiser and autograd as the reference, and what a seed promises."""

from __future__ import annotations

import json
import pkgutil
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

import benchmarks.imbalance
from benchmarks.imbalance import learner as learner_module
from benchmarks.imbalance.learner import HIDDEN_UNITS, Examples, Learner, use_one_thread
from benchmarks.imbalance.losses import Focal, Objective

ROOT = Path(__file__).parents[3]
ROWS, FEATURES, BATCH_ROWS = 203, 5, 32  # 7 batches, the last one of 11 rows

OBJECTIVES = {
    "plain": Objective(),
    "weights": Objective(weights=(0.1, 1.9)),
    "focal": Objective(Focal(alpha=0.75, gamma=2.0)),
    "focal below one": Objective(Focal(alpha=0.25, gamma=0.5)),
    "both": Objective(Focal(alpha=0.6, gamma=5.0), weights=(0.3, 1.7)),
}


@pytest.fixture
def features() -> NDArray[np.float32]:
    """Rows of the training set."""
    return np.random.default_rng(1).normal(size=(ROWS, FEATURES)).astype(np.float32)


@pytest.fixture
def labels(features: NDArray[np.float32]) -> NDArray[np.int8]:
    """A label for each row, learnable and imbalanced."""
    labels: NDArray[np.int8] = (features[:, 0] + features[:, 1] > 1.2).astype(np.int8)
    return labels


@pytest.fixture
def examples(features: NDArray[np.float32], labels: NDArray[np.int8]) -> Examples:
    """The training set."""
    return Examples.of(features, labels)


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[NDArray[np.int64]]:
    """The rows of each mini-batch that a learner takes, in order."""
    seen: list[NDArray[np.int64]] = []
    step = Learner._step

    def spy(learner: Learner, examples: Examples, factors: torch.Tensor, rows: torch.Tensor, **options: float) -> None:
        seen.append(rows.numpy().copy())
        step(learner, examples, factors, rows, **options)

    monkeypatch.setattr(Learner, "_step", spy)
    return seen


@pytest.fixture
def double_precision() -> Iterator[None]:
    """Learners that compute in float64, so that a slip cannot hide in rounding."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def make(seed: int = 42, batch_rows: int = BATCH_ROWS) -> Learner:
    return Learner(FEATURES, batch_rows=batch_rows, seed=seed)


# The arithmetic


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("epochs", [1, 12])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_training_is_that_of_torchs_modules_autograd_and_adam(
    name: str, epochs: int, features: NDArray[np.float32], labels: NDArray[np.int8], batches: list[NDArray[np.int64]]
) -> None:
    inputs, signs = torch.from_numpy(features).double(), torch.from_numpy(2.0 * labels - 1.0)
    learner = make()
    reference = as_module(learner)

    learner.train(Examples(inputs, signs), OBJECTIVES[name], epochs=epochs, lr=3e-3)
    train_reference(reference, inputs, (signs + 1) / 2, batches, OBJECTIVES[name], lr=3e-3)

    trained = as_module(learner)
    for found, expected in zip(trained.parameters(), reference.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_in_single_precision_training_is_torchs_up_to_rounding(
    name: str, examples: Examples, batches: list[NDArray[np.int64]]
) -> None:
    learner = make()
    reference = as_module(learner)

    learner.train(examples, OBJECTIVES[name], epochs=5, lr=1e-3)
    train_reference(reference, examples.features, (examples.signs + 1) / 2, batches, OBJECTIVES[name], lr=1e-3)

    found = torch.from_numpy(learner.logits(examples.features.numpy())).float()
    assert torch.allclose(found, reference(examples.features).squeeze(1), rtol=0, atol=2e-5)


@pytest.mark.usefixtures("double_precision")
def test_the_optimiser_remembers_across_calls_and_learning_rates(
    features: NDArray[np.float32], labels: NDArray[np.int8], batches: list[NDArray[np.int64]]
) -> None:
    inputs, signs = torch.from_numpy(features).double(), torch.from_numpy(2.0 * labels - 1.0)
    learner = make()
    reference = as_module(learner)
    optimiser = torch.optim.Adam(reference.parameters())

    for epochs, lr in ((2, 1e-3), (3, 1e-4)):
        batches.clear()
        learner.train(Examples(inputs, signs), Objective(), epochs=epochs, lr=lr)
        train_reference(reference, inputs, (signs + 1) / 2, batches, Objective(), lr=lr, optimiser=optimiser)

    for found, expected in zip(as_module(learner).parameters(), reference.parameters(), strict=True):
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-11)


def test_the_logits_are_those_of_torchs_modules(features: NDArray[np.float32], examples: Examples) -> None:
    learner = make()
    learner.train(examples, Objective(), epochs=3, lr=1e-3)

    expected = as_module(learner)(examples.features).squeeze(1)

    assert np.allclose(learner.logits(features), expected.detach().numpy(), rtol=0, atol=1e-6)


def test_it_learns(features: NDArray[np.float32], labels: NDArray[np.int8], examples: Examples) -> None:
    learner = make()

    learner.train(examples, Objective(), epochs=200, lr=1e-2)

    assert ((learner.logits(features) > 0) == labels).mean() > 0.99


def test_chunks_change_nothing_but_rounding(
    features: NDArray[np.float32], examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, chunked = make(), make()
    whole.train(examples, OBJECTIVES["both"], epochs=5, lr=1e-3)

    monkeypatch.setattr(learner_module, "CHUNK_ROWS", 10)  # 32 rows are four chunks, the last one of two rows
    chunked.train(examples, OBJECTIVES["both"], epochs=5, lr=1e-3)

    assert np.allclose(chunked.logits(features), whole.logits(features), rtol=0, atol=2e-5)


# The batches


def test_each_epoch_takes_each_row_once_in_an_order_of_its_own(
    examples: Examples, batches: list[NDArray[np.int64]]
) -> None:
    make().train(examples, Objective(), epochs=3, lr=1e-3)

    epochs = [np.concatenate(batches[start : start + 7]) for start in (0, 7, 14)]
    assert [len(batch) for batch in batches] == 3 * [*6 * [32], 11]
    assert all(np.array_equal(np.sort(epoch), np.arange(ROWS)) for epoch in epochs)
    assert len({epoch.tobytes() for epoch in [*epochs, np.arange(ROWS)]}) == 4


def test_a_batch_may_be_larger_than_the_data(examples: Examples, batches: list[NDArray[np.int64]]) -> None:
    make(batch_rows=1000).train(examples, Objective(), epochs=1, lr=1e-3)

    assert [len(batch) for batch in batches] == [ROWS]


def test_the_order_of_rows_is_a_matter_of_the_seed(examples: Examples, batches: list[NDArray[np.int64]]) -> None:
    for seed in (42, 42, 43):
        make(seed).train(examples, Objective(), epochs=1, lr=1e-3)

    first, again, other = (np.concatenate(batches[start : start + 7]) for start in (0, 7, 14))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


# What a seed promises


@pytest.mark.parametrize("name", OBJECTIVES)
def test_training_for_5_and_10_epochs_is_training_for_15(
    name: str, features: NDArray[np.float32], examples: Examples
) -> None:
    once, twice = make(), make()

    once.train(examples, OBJECTIVES[name], epochs=15, lr=1e-3)
    for epochs in (5, 10):
        twice.train(examples, OBJECTIVES[name], epochs=epochs, lr=1e-3)

    assert once.epochs == twice.epochs == 15
    assert once.logits(features).tobytes() == twice.logits(features).tobytes()


def test_to_look_at_the_logits_between_epochs_changes_nothing(
    features: NDArray[np.float32], examples: Examples
) -> None:
    blind, looking = make(), make()

    blind.train(examples, Objective(), epochs=2, lr=1e-3)
    for _ in range(2):
        looking.train(examples, Objective(), epochs=1, lr=1e-3)
        looking.logits(features)

    assert blind.logits(features).tobytes() == looking.logits(features).tobytes()


def test_the_same_seed_gives_the_same_bits(features: NDArray[np.float32], examples: Examples) -> None:
    logits = []
    for _ in range(2):
        learner = make()
        learner.train(examples, OBJECTIVES["both"], epochs=4, lr=1e-3)
        logits.append(learner.logits(features).tobytes())

    assert logits[0] == logits[1]


def test_another_seed_starts_elsewhere(features: NDArray[np.float32]) -> None:
    assert not np.isclose(make(42).logits(features), make(43).logits(features)).all()


def test_initial_weights_fill_the_range_of_torchs_own_linear_layers() -> None:
    inside, inside_bias, outside, outside_bias = as_module(Learner(4, batch_rows=1, seed=3)).parameters()

    for weight, bias, bound in ((inside, inside_bias, 4**-0.5), (outside, outside_bias, HIDDEN_UNITS**-0.5)):
        assert 0.85 * bound < weight.abs().max() <= bound
        assert 0.0 < bias.abs().max() <= bound
    assert abs(inside.mean()) < 0.1
    assert len(set(inside.flatten().tolist())) == 4 * HIDDEN_UNITS


def test_the_examples_are_left_as_they_are(examples: Examples) -> None:
    features, signs = examples.features.clone(), examples.signs.clone()

    make().train(examples, OBJECTIVES["both"], epochs=2, lr=1e-3)

    assert torch.equal(examples.features, features)
    assert torch.equal(examples.signs, signs)


def test_examples_have_a_sign_for_a_label() -> None:
    made = Examples.of(np.zeros((3, 2), np.float32), np.array([0, 1, 0], np.int8))

    assert made.signs.tolist() == [-1.0, 1.0, -1.0]
    assert (made.features.dtype, made.signs.dtype) == (torch.float32, torch.float32)


def test_logits_are_double_and_one_for_each_row(features: NDArray[np.float32]) -> None:
    logits = make().logits(np.concatenate([features] * 21))  # more than one chunk

    assert logits.dtype == np.float64
    assert logits.shape == (21 * ROWS,)
    assert np.allclose(logits, np.tile(logits[:ROWS], 21), rtol=0, atol=1e-6)


# Manners


def test_it_changes_nothing_of_the_process_but_the_number_of_threads(
    features: NDArray[np.float32], examples: Examples
) -> None:
    def state() -> list[object]:
        numpys = np.random.get_state(legacy=False)["state"]
        return [
            torch.get_rng_state().tolist(),
            {name: np.asarray(part).tolist() for name, part in numpys.items()},
            random.getstate(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_dtype(),
            torch.are_deterministic_algorithms_enabled(),
        ]

    np.random.random(), torch.rand(1), random.random()  # a state that no seed begins with
    before = state()
    learner = make()
    learner.train(examples, Objective(), epochs=2, lr=1e-3)
    learner.logits(features)

    assert state() == before


@pytest.mark.parametrize("use", ["train", "logits", "use_one_thread"])
def test_arithmetic_keeps_to_one_thread(use: str, features: NDArray[np.float32], examples: Examples) -> None:
    learner = make()
    torch.set_num_threads(2)

    if use == "train":
        learner.train(examples, Objective(), epochs=1, lr=1e-3)
    elif use == "logits":
        learner.logits(features)
    else:
        use_one_thread()

    assert torch.get_num_threads() == 1


def test_to_import_the_task_loads_no_heavy_library() -> None:
    modules = [f"benchmarks.imbalance.{module.name}" for module in pkgutil.iter_modules(benchmarks.imbalance.__path__)]
    code = (
        f"import sys, json, {', '.join(modules)}\n"
        "heavy = {'torch', 'numpy', 'scipy', 'sklearn', 'imblearn', 'pandas', 'kagglehub'}\n"
        "print(json.dumps(sorted(heavy & set(sys.modules))))"
    )

    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert "benchmarks.imbalance.task" in modules
    assert json.loads(run.stdout) == []


def as_module(learner: Learner) -> torch.nn.Sequential:
    """Return a torch module with the weights that a learner has now."""
    network = learner._network
    module = torch.nn.Sequential(
        torch.nn.Linear(len(network.inside), HIDDEN_UNITS), torch.nn.ReLU(), torch.nn.Linear(HIDDEN_UNITS, 1)
    )
    parts = (network.inside.t(), network.inside_bias, network.outside.unsqueeze(0), network.outside_bias)
    with torch.no_grad():
        for parameter, part in zip(module.parameters(), parts, strict=True):
            parameter.copy_(part)
    return module


def train_reference(
    module: torch.nn.Sequential,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    batches: list[NDArray[np.int64]],
    objective: Objective,
    *,
    lr: float,
    optimiser: torch.optim.Optimizer | None = None,
) -> None:
    """Train a torch module on batches by autograd and Adam, with the objective as papers print it."""
    optimiser = optimiser or torch.optim.Adam(module.parameters())
    for group in optimiser.param_groups:
        group["lr"] = lr
    alpha, gamma = objective.focal.alpha, objective.focal.gamma
    weight_of_negative, weight_of_positive = objective.weights
    for rows in batches:
        y = labels[rows]
        logits = module(inputs[rows]).squeeze(1)
        p = logits.sigmoid()
        p_t = p * y + (1 - p) * (1 - y)
        weights = weight_of_positive * alpha * y + weight_of_negative * (1 - alpha) * (1 - y)
        surprise = binary_cross_entropy_with_logits(logits, y, reduction="none")
        optimiser.zero_grad()
        (weights * (1 - p_t) ** gamma * surprise).mean().backward()
        optimiser.step()
