"""The fixtures of containers: a Docker daemon where one answers, a stand-in where bubblewrap works, a sandbox."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError, resolve_backend
from tests.sandbox import stand_in_docker
from tests.sandbox.containers.container import LIMITS, forget, put_docker


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing that was found out about another docker is remembered, and nothing about this one afterwards."""
    forget()
    yield
    forget()


@pytest.fixture(params=["daemon", "stand-in"])
def docker(request: pytest.FixtureRequest, fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A docker that works."""
    if request.param == "stand-in":
        if os.geteuid() != 0 or not shutil.which("bwrap"):
            pytest.skip("the stand-in needs root and bubblewrap")
        put_docker(tmp_path / "bin", monkeypatch, Path(stand_in_docker.__file__).read_text())
    try:
        resolve_backend("docker")
    except SandboxError as error:
        pytest.skip(str(error))


@pytest.fixture
def sandbox(docker: None) -> Iterator[Sandbox]:
    with Sandbox(LIMITS, backend="docker") as sandbox:
        yield sandbox
