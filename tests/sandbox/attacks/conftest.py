"""The fixtures of the attacks: each backend that works here, a box in it, and what there is to attack."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask.sandbox import SandboxError, resolve_backend
from tests.sandbox import probes
from tests.sandbox.attacks.box import Box
from tests.sandbox.probes import Arena


@pytest.fixture(params=["bwrap", "landlock", "docker"])
def backend(request: pytest.FixtureRequest) -> str:
    """A backend that works on this machine."""
    name = str(request.param)
    try:
        return resolve_backend(name)
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.fixture
def arena(tmp_path: Path, backend: str) -> Iterator[Arena]:
    with probes.arena(tmp_path, backend) as place:
        yield place


@pytest.fixture
def box(backend: str) -> Iterator[Box]:
    box = Box(backend)
    yield box
    box.close()
