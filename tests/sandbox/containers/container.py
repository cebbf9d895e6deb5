"""What the tests of containers share: a run in one, its name, and whether it is there."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxLimits, choice
from pytest_rltask.sandbox.backends import docker as docker_module
from pytest_rltask.sandbox.backends import images, roots

LIMITS = SandboxLimits(wall_s=60)
PROMPT_S = 20.0
MODULE = "sqlite3"
"""Something to preload that a bare interpreter has not imported."""


def forget() -> None:
    """Forget what was found out about a docker, and its images."""
    for cache in (choice.resolve, choice._problem, roots.check_daemon, roots._image, images._image):
        cache.cache_clear()


def put_docker(folder: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    """Put a program of this name before all others."""
    folder.mkdir()
    (folder / "docker").write_text(f"#!{sys.executable}\n{dedent(program)}")
    (folder / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def run(sandbox: Sandbox, code: str, *args: str) -> str:
    sandbox.write_file("script.py", dedent(code))
    result = sandbox.run_python("script.py", *args)
    assert result.ok, result
    return result.stdout


def container(sandbox: Sandbox) -> docker_module._Container:
    backend = sandbox._runner.backend
    assert isinstance(backend, docker_module.Docker)
    assert backend._container is not None
    return backend._container


def is_there(container: docker_module._Container) -> bool:
    try:
        return container._runs()
    except OSError:
        return False


def wait_for(holds: object) -> None:
    deadline = time.monotonic() + PROMPT_S
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
