"""The fixtures of images: a Docker daemon where one answers, else a stand-in, with images that the tests have made."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError, resolve_backend
from tests.sandbox import stand_in_docker
from tests.sandbox.containers.container import LIMITS, forget, put_docker
from tests.sandbox.images import image_files

NAMES = {"shell": "rltask-test-shell:1", "python": "rltask-test-python:1", "nothing": "rltask-test-nothing:1"}


@pytest.fixture(scope="package", params=["daemon", "stand-in"])
def docker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A docker that works and has our images."""
    forget()
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "stand-in":
            if os.geteuid() != 0 or not shutil.which("bwrap"):
                pytest.skip("the stand-in needs root and bubblewrap")
            folder = tmp_path_factory.mktemp("docker") / "bin"
            put_docker(folder, patch, Path(stand_in_docker.__file__).read_text())
        try:
            resolve_backend("docker")
        except SandboxError as error:
            pytest.skip(str(error))
        load(NAMES["shell"], image_files.with_shell())
        load(NAMES["python"], image_files.with_python())
        load(NAMES["nothing"], image_files.without_shell())
        yield
        if request.param == "daemon":
            subprocess.run(["docker", "image", "rm", "--force", *NAMES.values()], capture_output=True, check=False)
    forget()


def load(name: str, content: bytes) -> None:
    changes = ["ENV PATH=/opt/python/bin:/opt/tool:/usr/bin", "ENV TASK_HOME=/opt/tool", "VOLUME /data"]
    options = [word for change in changes for word in ("--change", change)]
    subprocess.run(["docker", "import", *options, "-", name], input=content, check=True, capture_output=True)


@pytest.fixture(scope="module")
def shell_box(docker: None) -> Iterator[Sandbox]:
    """A sandbox of the image without a Python."""
    with Sandbox(LIMITS, backend="docker", image=NAMES["shell"]) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def python_box(docker: None) -> Iterator[Sandbox]:
    """A sandbox of the image with a Python of its own."""
    with Sandbox(LIMITS, backend="docker", image=NAMES["python"]) as sandbox:
        yield sandbox
