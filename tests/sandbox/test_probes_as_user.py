"""The table of attacks once more, as an ordinary user: where root drops to another user, this one cannot."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from tests.as_user import USER, User, ordinary_user

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="only root can become another user"),
]

_RESOLVE = "import pytest_rltask.sandbox as sandbox; sandbox.resolve_backend({!r})"


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    with ordinary_user() as user:
        yield user


@pytest.mark.parametrize("backend", ["bwrap", "landlock", "docker"])
def test_all_attacks_are_stopped(backend: str, user: User) -> None:
    look = user.run("python", "-c", "import os, numpy, pytest; print(os.getuid())", capture_output=True)
    if look.returncode:
        pytest.skip(f"no other user can run this interpreter here: {look.stderr[-200:]}")
    assert look.stdout == f"{USER}\n"
    works = user.run("python", "-c", _RESOLVE.format(backend), capture_output=True)
    if works.returncode:
        pytest.skip(works.stderr.splitlines()[-1])

    words = ["tests/sandbox/attacks", "-q", "-rs", "-k", backend]
    run = user.run("python", "-m", "pytest", *words, capture_output=True, timeout=280)

    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-1000:]
    assert " passed" in run.stdout.splitlines()[-1]
