"""What the tests of the ONNX task share: a secret of their own, one draw, and directories with a model in them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.onnx_export.data import Data, draw
from pytest_rltask import Sandbox

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
def box() -> Iterator[Sandbox]:
    """An agent's working directory."""
    with Sandbox() as box:
        yield box
