"""Tries a backend out: one run of a small program that verifies, from inside, what isolation promises.

Neither a version nor a package tells whether a backend works here. Containers refuse namespaces, distributions
restrict them, and one that refuses only half (the mount, say) would isolate nothing in silence.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pytest_rltask.sandbox.backends.backend import SCRATCH, WORK, Backend
from pytest_rltask.sandbox.backends.view import interpreter
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits, SandboxResult
from pytest_rltask.sandbox.watcher.removal import remove_tree


class Run(Protocol):
    """Runs a command in a sandbox, from above this folder."""

    def __call__(
        self, command: Sequence[str], *, backend: Backend, base: Path, env: Mapping[str, str], limits: SandboxLimits
    ) -> SandboxResult:
        """Return what became of it."""


_LIMITS = SandboxLimits(wall_s=30.0)  # a busy machine is no reason to do without isolation
_OK = "isolated"

_PROGRAM = f"""
import hashlib, os, socket, sys
canary, port, package, pid, environment = sys.argv[1:]
problems = []
def refused(what, attempt):
    try:
        attempt()
    except OSError:
        return
    problems.append("the agent can " + what)
def environment_of(pid):
    with open(f"/proc/{{pid}}/environ", "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
def refuse():
    raise OSError("what has this id here is another process")
def connect():
    with socket.socket() as client:
        client.settimeout(5)
        client.connect(("127.0.0.1", int(port)))
refused("read the user's files", lambda: open(canary).close())
refused("write beside the user's files", lambda: open(canary + ".new", "w").close())
refused("read the sources of pytest-rltask", lambda: open(package).close())
refused("read our environment", lambda: environment_of(pid) == environment or refuse())
refused("reach the network", connect)
if os.getuid() == 0:
    problems.append("the agent is root")
with open("probe", "w") as file:
    file.write("written")
import pluggy
print("; ".join(problems) or {_OK!r})
"""


def problem(backend: Backend, run: Run) -> str | None:
    """Return why a backend does not isolate on this machine, or None if it does.

    Args:
        backend: The backend.
        run: Runs a command in a sandbox of it.
    """
    try:
        outside, base = Path(tempfile.mkdtemp(prefix="rltask-")), Path(tempfile.mkdtemp(prefix="rltask-"))
    except OSError as error:
        raise SandboxError(f"cannot make a directory for the sandbox: {error}") from error
    try:
        return _tried(backend, run, outside, base)
    except (SandboxError, OSError) as error:
        return str(error)
    finally:
        backend.close()
        for folder in (outside, base):
            remove_tree(folder)


def _tried(backend: Backend, run: Run, outside: Path, base: Path) -> str | None:
    for name in (WORK, SCRATCH):
        (base / name).mkdir(mode=0o700)
    backend.prepare(base, _LIMITS)
    outside.chmod(0o755)
    canary = outside / "canary"
    canary.write_text("nobody's business")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = [str(canary), str(listener.getsockname()[1]), __file__, str(os.getpid()), _environment_digest()]
        command = [interpreter(), "-c", _PROGRAM, *arguments]
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "TMPDIR": str(base / SCRATCH)}
        result = run(command, backend=backend, base=base, env=environment, limits=_LIMITS)
    said = result.stdout.strip()
    if result.ok and said == _OK:
        return None
    return said if result.ok and said else _last_line(result.stderr) or f"the probe {result.summary}"


def _environment_digest() -> str:
    """Return what identifies the environment that this process was started with."""
    try:
        return hashlib.sha256(Path("/proc/self/environ").read_bytes()).hexdigest()
    except OSError:
        return ""  # no Linux


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:300] if lines else ""
