"""Our own interpreter, carried into an image of the author's: what our programs run with there.

An image need have no Python, or none that is new enough, and may have another C library than this machine. So the
interpreter comes with its loader, its libraries and its standard library, mounted below a folder that only root in the
container may enter; all that it needs is imported before it gives up that right. To need the image's own ``python3``
would rule out most images, and to run commands from outside by ``docker exec`` would leave no watcher in there to count
and kill what the agent starts.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_rltask.sandbox.backends.client import mount
from pytest_rltask.sandbox.result import SandboxError

FOLDER = "/rltask"
"""Where a container has what is ours, for root alone."""
MODULES: tuple[str, ...] = (
    "ctypes",
    "fcntl",
    "gc",
    "importlib.machinery",
    "json",
    "os",
    "resource",
    "select",
    "signal",
    "socket",
)
MODULES += ("struct", "subprocess", "time", "traceback", "types", "warnings")
"""What our programs inside the isolation import, at any time."""
_LOADER, _PYTHON, _LIBRARIES = "loader", "python/bin/python", "libraries"
_ASK = f"import {', '.join(MODULES)}\nprint(os.__file__)\nprint(open('/proc/self/maps').read())"
_ASK_S = 60.0


@dataclass(frozen=True)
class Carried:
    """Where it lies on this machine, and below the folder that it is mounted in."""

    files: tuple[tuple[str, str], ...]
    """Real paths of files, each with its place below the folder."""
    folders: tuple[tuple[str, str], ...]
    """The same of folders."""

    def command(self) -> list[str]:
        """Return the command line that starts it."""
        python = f"{FOLDER}/{_PYTHON}"
        if _LOADER not in (place for _, place in self.files):
            return [python]  # linked statically
        libraries = ":".join(f"{FOLDER}/{place}" for _, place in self.folders if place.startswith(_LIBRARIES))
        return [f"{FOLDER}/{_LOADER}", "--library-path", libraries, python]

    def options(self, ours: Path, env: Iterable[str]) -> Iterator[str]:
        """Yield the options that mount it, below a folder on this machine that is made ready for that.

        Args:
            ours: That folder; it may hold more.
            env: The names of the image's variables.
        """
        if ours.exists():
            ours.chmod(0o700)  # it was made ready before, for a container that is gone
        for path, place in (*self.folders, *self.files):
            here = ours / place
            (here if Path(path).is_dir() else here.parent).mkdir(parents=True, exist_ok=True)
            if not Path(path).is_dir():
                here.touch()
        ours.chmod(0)  # closed to all but root: where we are not root, the agent is the user that owns it
        yield from mount("bind", str(ours), FOLDER, "readonly")
        for path, place in (*self.folders, *self.files):
            yield from mount("bind", path, f"{FOLDER}/{place}", "readonly")
        for name in env:
            if name.startswith("LD_"):  # meant for the image's own loader
                yield from ("--env", f"{name}=")


@functools.cache
def carried() -> Carried:
    """Return what to carry: what an interpreter like this one has mapped when it has imported all that it needs.

    Raises:
        SandboxError: it does not tell.
    """
    try:
        told = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _ASK], cwd="/", env={}, capture_output=True, timeout=_ASK_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SandboxError(f"this interpreter cannot be carried into an image: {error}") from error
    first, *lines = os.fsdecode(told.stdout).splitlines()
    standard = os.path.realpath(os.path.dirname(first))
    mapped = sorted({fields[5] for line in lines if len(fields := line.split(None, 5)) == 6})
    shared = [path for path in mapped if ".so" in os.path.basename(path)]
    loaders = [path for path in shared if os.path.basename(path).startswith("ld-")]
    libraries = sorted({os.path.dirname(path) for path in shared if not path.startswith(f"{standard}/")})
    return Carried(
        files=(
            *((path, _LOADER) for path in loaders[:1]),
            (os.path.realpath(sys.executable), _PYTHON),
        ),
        folders=(
            (standard, f"python/{sys.platlibdir}/{os.path.basename(standard)}"),
            *((path, f"{_LIBRARIES}/{number}") for number, path in enumerate(libraries)),
        ),
    )
