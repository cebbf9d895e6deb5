"""The fixtures of backends: each that works here, and a sandbox with it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError, resolve_backend
from tests.sandbox.backends.isolated import LIMITS


@pytest.fixture(params=["bwrap", "landlock", "docker"], scope="module")
def backend(request: pytest.FixtureRequest) -> str:
    """A backend that works here."""
    try:
        return resolve_backend(request.param)
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.fixture
def sandbox(backend: str) -> Iterator[Sandbox]:
    with Sandbox(LIMITS, backend=backend) as sandbox:
        yield sandbox
