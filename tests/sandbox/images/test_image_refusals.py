"""What is no image for an agent is refused before anything runs, with the line that helps."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_rltask import DefinitionError, Sandbox
from pytest_rltask.sandbox import SandboxError, using_backend
from pytest_rltask.sandbox.backends import images
from tests.sandbox.containers.container import forget, put_docker
from tests.sandbox.images.conftest import NAMES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the container shares our kernel")


@pytest.mark.parametrize("wanted", ["auto", pytest.param("bwrap", id="another"), "none"])
def test_another_backend_is_refused_with_the_option_to_write(wanted: str) -> None:
    with using_backend(wanted), pytest.raises(SandboxError) as caught:
        Sandbox(image="gcc:13")

    assert str(caught.value) == (
        f"Sandbox(image='gcc:13') is a container's file system, and the sandbox in use is {wanted}; "
        'write --sandbox docker, or Sandbox(image=..., backend="docker")'
    )


def test_it_goes_with_no_python_of_the_authors(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="an image has its own interpreter and packages; leave out python="):
        Sandbox(image="gcc:13", python=tmp_path, backend="docker")


@pytest.mark.parametrize("name", ["", "--privileged", "two words", 3, "x" * 5 + "\n"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(DefinitionError, match=r'no name of an image; write one such as image="python:3.12-slim"'):
        images.image_of(name)


def test_one_that_is_not_there_is_not_pulled(docker: None) -> None:
    with pytest.raises(SandboxError) as caught:
        Sandbox(image="rltask-test-missing:1", backend="docker")

    assert str(caught.value) == (
        "Sandbox(image='rltask-test-missing:1'): the image is not on this machine, and is not pulled while trials run; "
        "write docker pull rltask-test-missing:1"
    )


def test_one_without_a_shell_is_refused(docker: None) -> None:
    with pytest.raises(SandboxError, match="has no sh on its PATH, which commands need; take one that has a shell"):
        Sandbox(image=NAMES["nothing"], backend="docker")


def test_one_that_our_interpreter_does_not_run_in_is_refused(tmp_path: Path) -> None:
    """As where a security module of the machine forbids it: docker says why, and no model is to blame."""
    program = """
        import sys
        if sys.argv[1] == "run":
            sys.exit("exec format error")
        print('{"Id": "sha256:12", "Config": {"Env": null}}' if sys.argv[1] == "image" else "")
    """
    forget()
    with pytest.MonkeyPatch.context() as patch:
        put_docker(tmp_path / "bin", patch, program)
        with pytest.raises(
            SandboxError, match="our interpreter does not run in a container of this image: exec format"
        ):
            images.image_of("gcc:13")
    forget()


def test_one_of_another_machine_says_which(tmp_path: Path) -> None:
    told = {"programs": {}, "said": {"sh": "Exec format error"}, "passwd": ""}
    program = f"""
        import json, sys
        about = {{"Id": "sha256:12", "Os": "linux", "Architecture": "riscv64", "Config": {{}}}}
        print(json.dumps(about) if sys.argv[1] == "image" else {images._TOLD!r} + json.dumps({told!r}))
    """
    forget()
    with pytest.MonkeyPatch.context() as patch:
        put_docker(tmp_path / "bin", patch, program)
        with pytest.raises(
            SandboxError, match=r"\(linux/riscv64; .*\) has a sh that does not run \(Exec format error\)"
        ):
            images.image_of("gcc:13")
    forget()
