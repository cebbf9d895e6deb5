"""The table of attacks once more, as an ordinary user: where root drops to another user, this one cannot."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
USER = 23456
"""A number that is no user of this machine."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="only root can become another user"),
]


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of the ordinary user with all that the table needs: the project's own may be closed to others."""
    home = Path(tempfile.mkdtemp(prefix="rltask-user-"))
    shutil.copytree(HERE.parents[1] / "pytest_rltask", home / "pytest_rltask")
    shutil.copytree(HERE, home / "tests" / "sandbox")
    (home / "tmp").mkdir()
    for path in [home, *home.rglob("*")]:
        os.chown(path, USER, USER)
    yield home
    shutil.rmtree(home)


_RESOLVE_DOCKER = "import pytest_rltask.sandbox as sandbox; sandbox.resolve_backend('docker')"


def opened(home: Path) -> str:
    """Return the shell's commands that let others reach this interpreter, in a mount namespace of their own.

    It may lie below a folder that is closed to them, such as root's home: there they see the interpreter only.
    """
    needed = sorted({os.path.realpath(sys.base_prefix), sys.prefix})
    stashes = {path: home / f"stash-{number}" for number, path in enumerate(needed)}
    closed = {top for path in needed if (top := _closed_above(Path(path)))}
    lines = [f"mkdir {stash} && mount --bind {shlex.quote(path)} {stash}" for path, stash in stashes.items()]
    lines += [f"mount -t tmpfs -o mode=755 none {shlex.quote(str(top))}" for top in sorted(closed)]
    lines += [
        f"mkdir -p {shlex.quote(path)} && mount --bind {stash} {shlex.quote(path)}" for path, stash in stashes.items()
    ]
    return " && ".join(lines)


def _closed_above(path: Path) -> Path | None:
    """Return the topmost folder on the way to a path that others may not enter."""
    way = [path, *path.parents][::-1]
    return next((folder for folder in way if not folder.stat().st_mode & stat.S_IXOTH), None)


def as_user(home: Path, *words: str) -> subprocess.CompletedProcess[str]:
    for stash in home.glob("stash-*"):
        stash.rmdir()
    drop = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
    script = f"{opened(home)} && cd {home} && exec {shlex.join([*drop, sys.executable, *words])}"
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home / "tmp"), "PYTHONPATH": str(home)}
    environment |= {name: value for name, value in os.environ.items() if name == "DOCKER_HOST"}
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.mark.parametrize("backend", ["bwrap", "landlock", "docker"])
def test_all_attacks_are_stopped(backend: str, home: Path) -> None:
    look = as_user(home, "-c", "import os, numpy, pytest, sklearn; print(os.getuid())")
    if look.returncode:
        pytest.skip(f"no other user can run this interpreter here: {look.stderr[-200:]}")
    assert look.stdout == f"{USER}\n"
    if backend == "docker" and as_user(home, "-c", _RESOLVE_DOCKER).returncode:
        pytest.skip("no other user can reach a Docker daemon here")

    run = as_user(home, "-m", "pytest", "tests/sandbox/test_probes.py", "-q", "-rs", "-k", backend, "-c", os.devnull)

    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-1000:]
    assert " passed" in run.stdout.splitlines()[-1]
