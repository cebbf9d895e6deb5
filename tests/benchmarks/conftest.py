"""What the tests of the tasks share: a secret of their own, one draw, directories with a model in them, tiny blobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from benchmarks.imbalance.data import Dataset, Part
from benchmarks.onnx_export import task as onnx_task
from benchmarks.onnx_export.data import Data, draw
from pytest_rltask import Sandbox, SandboxLimits

SECRET = bytes(range(16))


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Keep the tests off this machine's own secret."""
    monkeypatch.setenv("RLTASK_SECRET", SECRET.hex())
    return SECRET


@pytest.fixture(scope="session")
def data() -> Data:
    """The draw of seed 42."""
    return draw(SECRET, 42, class_sep=0.7)


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the episodes of onnx_export preload a small module: torch takes 3 s of each whose scripts need none."""

    def sandbox(limits: SandboxLimits, preload: Sequence[str]) -> Sandbox:
        return Sandbox(limits, preload=["decimal"])

    monkeypatch.setattr(onnx_task, "Sandbox", sandbox)


@pytest.fixture
def box() -> Iterator[Sandbox]:
    """An agent's working directory."""
    with Sandbox() as box:
        yield box


@pytest.fixture(scope="session")
def tiny() -> Dataset:
    """Two overlapping blobs: 240 rows to train on, of which 40 are of the rare class; an epoch takes a millisecond."""
    rng = np.random.default_rng(0)

    def part(rows: int, positives: int) -> Part:
        labels = rng.permutation(np.arange(rows) < positives).astype(np.int8)
        features = rng.standard_normal((rows, 4)).astype(np.float32)
        features[labels == 1] += np.float32(1.0)
        return Part(features, labels)

    return Dataset(part(240, 40), part(150, 30), part(150, 30), "tiny blobs")
