"""The fixtures of runs: sandboxes with the backend of this machine, and with none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxLimits
from tests.sandbox.runs.running import Run, runs


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
    with Sandbox(SandboxLimits(wall_s=20)) as sandbox:
        yield sandbox


@pytest.fixture
def bare_sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(wall_s=20), backend="none") as sandbox:
        yield sandbox
