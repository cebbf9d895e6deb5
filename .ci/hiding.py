"""A machine without bubblewrap, Docker and Chromium: they are hidden from a command, whether installed or not.

Each program that is found is covered by an empty file that cannot be executed, in a mount namespace of the command's
own. Nothing is changed for anybody else.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Iterator

NAMES = ("bwrap", "docker", "chromium", "chromium-browser", "google-chrome")


class CannotHideError(Exception):
    """Something is here that cannot be hidden."""


def found() -> list[str]:
    """Return each program of these names, on PATH and where the sandbox looks besides."""
    folders = dict.fromkeys(f"{os.environ.get('PATH', '')}{os.pathsep}{os.defpath}".split(os.pathsep))
    paths = (os.path.join(folder, name) for folder in folders for name in NAMES)
    return list(dict.fromkeys(os.path.realpath(path) for path in paths if os.access(path, os.X_OK)))


def hiding() -> list[str]:
    """Return the words before a command that hide them from it.

    Raises:
        CannotHideError: this user may not mount, or one of them is still found.
    """
    programs = found()
    if not programs:
        return []
    words = _words(programs)
    look = f"PATH=$PATH{os.pathsep}{os.defpath}; for name in {' '.join(NAMES)}; do command -v $name; done; true"
    seen = subprocess.run([*words, "sh", "-c", look], capture_output=True, text=True, check=False)
    if seen.returncode or seen.stdout:
        raise CannotHideError(f"cannot hide {', '.join(programs)}: {seen.stderr or seen.stdout}".strip())
    return words


def _words(programs: list[str]) -> list[str]:
    """Cover them; who is not root does so as root of a user namespace, and then is itself again in another one."""
    script = " && ".join([*_covers(programs), *_oneself()])
    unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    return [*unshare, "sh", "-c", script, "sh"]


def _covers(programs: list[str]) -> Iterator[str]:
    yield "empty=$(mktemp) && chmod 644 $empty"
    for program in programs:
        yield f"mount --bind $empty {shlex.quote(program)}"
    yield "rm $empty"


def _oneself() -> Iterator[str]:
    ids = "" if os.geteuid() == 0 else f"unshare --user --map-user={os.geteuid()} --map-group={os.getegid()} "
    yield f'exec {ids}"$@"'
