"""The fixtures of preloaded runs: each backend that works here, and sandboxes that preload."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError, SandboxLimits
from pytest_rltask.sandbox.choice import resolve
from tests.sandbox.preload.preloaded import MODULE, runs
from tests.sandbox.runs.running import Run


@pytest.fixture
def run() -> Iterator[Run]:
    """Run a script in a sandbox of its own, under the limits given as keywords, isolated from the machine."""
    yield from runs(backend=None)


@pytest.fixture
def bare_run() -> Iterator[Run]:
    """The same without isolation, where a script can name us and be named by us."""
    yield from runs(backend="none")


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(wall_s=20), preload=[MODULE]) as sandbox:
        yield sandbox


@pytest.fixture
def bare_sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(wall_s=20), preload=[MODULE], backend="none") as sandbox:
        yield sandbox


@pytest.fixture(params=["bwrap", "landlock", "none"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that works here."""
    name: str = request.param
    try:
        return resolve(name)
    except SandboxError as error:
        pytest.skip(str(error))
