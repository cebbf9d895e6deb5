"""Isolation by macOS's sandbox-exec. Untested: written from Apple's and others' profiles, never run on a Mac.

The probe decides there as everywhere: where it does not hold what it promises, the run fails closed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_rltask.sandbox.backends.backend import SCRATCH, WORK, OnThisMachine, Wish
from pytest_rltask.sandbox.backends.view import View
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits

_PROGRAM = "/usr/bin/sandbox-exec"
_SYSTEM = ("/usr/lib", "/usr/share", "/bin", "/System", "/Library/Frameworks", "/private/var/db/timezone")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
_RULES = """\
(version 1)
(deny default)
(allow process-exec process-fork)
(allow signal process-info* mach-priv-task-port (target same-sandbox))
(allow sysctl-read file-read-metadata)
(allow mach-lookup (global-name "com.apple.system.opendirectoryd.libinfo"))
(deny network*)"""


class Seatbelt(OnThisMachine):
    """Isolates one sandbox by a Seatbelt profile.

    Raises:
        SandboxError: this is no Mac.
    """

    name = "seatbelt"
    owner = None
    confirms = False

    def __init__(self, view: View) -> None:
        self._view = view
        if sys.platform != "darwin":
            raise SandboxError("this is no Mac")

    def prepare(self, base: Path, limits: SandboxLimits) -> None:
        """Do nothing: the agent runs as our user."""

    def wrap(self, command: Sequence[str], *, base: Path, wish: Wish) -> Sequence[str]:
        """Return the command line of sandbox-exec, which hands all descriptors down."""
        return [_PROGRAM, "-p", profile(base, self._view), *command]


def profile(base: Path, view: View) -> str:
    """Return the profile of a sandbox; of rules that match, the last one counts."""
    work = [base / name for name in (WORK, SCRATCH)]
    return "\n".join(
        [
            _RULES,
            f"(allow file-read* {_subpaths([*_SYSTEM, *view.readable])} {_literals(['/', *_DEVICES])})",
            *([f"(deny file-read* {_subpaths(view.hidden)})"] if view.hidden else []),
            f"(allow file-read* file-write* {_subpaths(work)})",
            f"(allow file-write-data {_literals(_DEVICES[:1])})",
        ]
    )


def _subpaths(paths: Sequence[str | Path]) -> str:
    return " ".join(f"(subpath {json.dumps(os.path.realpath(path))})" for path in paths)


def _literals(paths: Sequence[str]) -> str:
    return " ".join(f"(literal {json.dumps(path)})" for path in paths)
