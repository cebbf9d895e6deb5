"""Root runs a command as an ordinary user: `python -m tests.as_user COMMAND...`, at the root of the project.

The user has no name on this machine, a home of its own, and a copy of the project that it owns. In a mount namespace
of its own the copy lies where the project lies, and this interpreter where it is: either may be below a folder that
is closed to others, such as root's home, and of such a folder the user sees nothing else.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

USER = 23456
"""A number that is no user of this machine."""

_ROOT = Path(__file__).parents[1]
_LEFT_OUT = shutil.ignore_patterns(".venv*", "__pycache__", ".*_cache", ".hypothesis", "logs", "build", "dist")
_DROP = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
_HANDED_ON = ("RLTASK_", "DOCKER_HOST", "PYTEST_ADDOPTS")
"""Variables of ours that the user gets, by how they begin."""


class User:
    """An ordinary user: where it lives, and what it runs."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command at the root of the project, with the options of :func:`subprocess.run`."""
        script = " && ".join([*_mounts(self.home), f"cd {_quoted(_ROOT)}", f"exec {shlex.join([*_DROP, *command])}"])
        return subprocess.run(
            ["unshare", "--mount", "sh", "-c", script], env=self.environment(), check=False, **{"text": True, **options}
        )

    def environment(self) -> dict[str, str]:
        """Return the environment of its commands: what begins with ``python`` is this interpreter."""
        ours = {name: value for name, value in os.environ.items() if name.startswith(_HANDED_ON)}
        path = f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"
        return ours | {"PATH": path, "HOME": str(self.home / "home"), "TMPDIR": str(self.home / "t")}


@contextlib.contextmanager
def ordinary_user() -> Iterator[User]:
    """Make a user, and remove all that it left in its folders."""
    # Not in TMPDIR, which may be closed to it; and short, since paths of sockets in its temporary folder are.
    home = Path(tempfile.mkdtemp(prefix="u-", dir="/tmp"))
    try:
        shutil.copytree(_ROOT, home / "project", symlinks=True, ignore=_LEFT_OUT)
        for name in ("home", "t"):
            (home / name).mkdir()
        for path in [home, *home.rglob("*")]:
            os.chown(path, USER, USER, follow_symlinks=False)
        yield User(home)
    finally:
        shutil.rmtree(home)


def _mounts(home: Path) -> Iterator[str]:
    """Return the shell's commands that show the user the copy, this interpreter, and no closed folder."""
    shown = {_ROOT: home / "project"}
    for number, path in enumerate(sorted({os.path.realpath(sys.base_prefix), sys.prefix})):
        shown[Path(path)] = stash = home / f"stash-{number}"
        yield f"mkdir -p {stash} && mount --bind {_quoted(path)} {stash}"
    for top in sorted({top for path in shown if (top := _closed_above(path))}):
        yield f"mount -t tmpfs -o mode=755 none {_quoted(top)}"
    for path, source in sorted(shown.items()):  # what lies in another, as .venv in the project, comes after it
        yield f"mkdir -p {_quoted(path)} && mount --bind {source} {_quoted(path)}"


def _closed_above(path: Path) -> Path | None:
    """Return the topmost folder on the way to a path that others may not enter."""
    way = [path, *path.parents][::-1]
    return next((folder for folder in way if not folder.stat().st_mode & stat.S_IXOTH), None)


def _quoted(path: Path | str) -> str:
    return shlex.quote(str(path))


def main(command: Sequence[str]) -> int:
    """Run a command, and return its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the folders are removed
    with ordinary_user() as user:
        return user.run(*command).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
