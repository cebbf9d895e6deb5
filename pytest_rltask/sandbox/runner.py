"""Runs what an agent wants to run in one sandbox, one run at a time.

A run is forked from an interpreter inside the isolation, which starts once per sandbox; where that cannot be, as on
macOS, each run has a watcher and an isolation of its own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pytest_rltask.sandbox.backends.backend import SCRATCH, WORK, Backend
from pytest_rltask.sandbox.backends.view import View
from pytest_rltask.sandbox.environment import checked, environment
from pytest_rltask.sandbox.forkserver import SUPPORTED, ForkServer
from pytest_rltask.sandbox.process import Process, start
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits, SandboxResult
from pytest_rltask.sandbox.watcher.removal import remove_since, snapshot
from pytest_rltask.sandbox.workspace import open_root

_CLOSE_S = 15.0
_LOGGER = logging.getLogger(__name__)
Snapshot = Sequence[tuple[Path, Mapping[tuple[int, int], int]]]
"""What the sandbox's folders held."""


@dataclass(frozen=True)
class Wanted:
    """What is to be run."""

    command: Sequence[str]
    """A program, by its path or its name on PATH, and its arguments; of a script, that and its arguments."""
    is_script: bool = False
    """Whether it is a Python script, which may run in a fork that has the preloaded modules."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Variables besides those of every run."""
    stdin: bytes | None = None
    """What its standard input holds; None for nothing."""
    wall_s: float = 0.0
    """Seconds it may take."""
    fds: Mapping[int, int] = field(default_factory=dict)
    """Further descriptors that it gets, by the numbers that they have there; only where it can be forked."""


class Runner:
    """What runs in a sandbox. Its methods may be called from any thread."""

    def __init__(
        self, base: Path, *, backend: Backend, view: View, limits: SandboxLimits, preload: Sequence[str]
    ) -> None:
        """Take charge of the sandbox of a folder, without starting anything."""
        self.base, self.backend, self.view, self.limits = base, backend, view, limits
        self.preload = tuple(preload) if SUPPORTED else ()
        self.server: ForkServer | None = None
        self.turn = threading.Lock()  # who runs something
        self._lock = threading.Lock()  # who changes one of these
        self._process: Process | None = None
        self.closed = False

    def environment(self) -> dict[str, str]:
        """Return the variables of every run."""
        return environment(self.base / SCRATCH, self.view, self.backend.environment(self.base))

    def warm_up(self) -> None:
        """Start the interpreter that runs are forked from, since a run will follow, without waiting for it."""
        with self._lock, contextlib.suppress(SandboxError):  # which the run will tell
            self._start_server()

    def new_server(self) -> ForkServer:
        """Start another such interpreter for a shell, whose commands are not apart."""
        return self._new_server((), apart=False)

    def run(self, wanted: Wanted) -> SandboxResult:
        """Run a command and wait for its end, when all that it started is dead.

        Raises:
            ToolError: no program can be given these arguments.
            SandboxError: the sandbox is closed, or could not run it.
        """
        with self.turn:
            before = self.snapshot()
            process = self._start(wanted)
            try:
                result = process.result()
            finally:
                with self._lock:
                    self._process = None
                    if process.watcher_ended:
                        self._end_server()
            if result.status in ("disk", "files"):
                self.undo(before)
            return result

    def snapshot(self) -> Snapshot:
        """Return what the folders hold, of which the agent may have closed its own: nothing could start there then."""
        os.close(open_root(self.base / WORK))
        return [(folder, snapshot(folder)) for folder in (self.base / WORK, self.base / SCRATCH)]

    def undo(self, before: Snapshot) -> None:
        """Remove what a run wrote that passed a limit of the disk: else the limit would end all later ones as well."""
        with self._lock:
            self._end_server()  # with it goes a /tmp of its own
        self.backend.close()
        for folder, found in before:
            remove_since(folder, found)

    def close(self) -> None:
        """Kill what runs; harmless when called again, or while a run is going on."""
        with self._lock:
            self.closed = True
            if self._process:
                self._process.stop("closed")
            self._end_server()
        if self.turn.acquire(timeout=_CLOSE_S):
            self.turn.release()
        self.backend.close()

    def _start(self, wanted: Wanted) -> Process:
        """Start a command, forked from the interpreter if there is one."""
        env = self.environment() | dict(wanted.env)
        checked(list(wanted.command), wanted.env)
        server = self._ready_server() if SUPPORTED else None
        with self._lock:
            if self.closed:
                raise SandboxError("the sandbox is closed")
            self._process = None
            begin = [self.view.python, "--"] if wanted.is_script else []  # "--": a name may be "-c.py"
            if server and wanted.is_script and self.preload:
                self._process = server.run(wanted.command, wall_s=wanted.wall_s)
            elif server:
                command = [*begin, *wanted.command]
                self._process = server.execute(command, env, wall_s=wanted.wall_s, stdin=wanted.stdin, fds=wanted.fds)
            if self._process is None:
                if wanted.fds:
                    raise SandboxError("the sandbox could not isolate a process that gets further descriptors")
                self._process = start(
                    [*(begin or self.view.starts), *wanted.command],
                    backend=self.backend,
                    base=self.base,
                    env=env,
                    limits=self.limits,
                    wall_s=wanted.wall_s,
                    stdin=wanted.stdin,
                )
            return self._process

    def _ready_server(self) -> ForkServer | None:
        """Wait for the interpreter; return None if runs are to start without one."""
        with self._lock:
            self._start_server()
            server = self.server
        if server and (problem := server.wait()):
            with self._lock:
                self._end_server()
                if self.closed or not self.preload:
                    return None  # a run that starts by itself will tell what is wrong
                self.preload = ()
            warn(f"runs start without preloaded modules: {problem}", stacklevel=6)
            return self._ready_server()
        return server

    def _start_server(self) -> None:
        if SUPPORTED and not self.server and not self.closed:
            self.server = self._new_server(self.preload)

    def _new_server(self, modules: Sequence[str], *, apart: bool = True) -> ForkServer:
        env = self.environment()
        return ForkServer(
            modules,
            python=self.view.python,
            backend=self.backend,
            base=self.base,
            env=env,
            limits=self.limits,
            apart=apart,
        )

    def _end_server(self) -> None:
        server, self.server = self.server, None
        if server:
            server.end()


def warn(text: str, *, stacklevel: int) -> None:
    """Warn; where warnings are errors, log instead, since no trial shall end otherwise for it."""
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=stacklevel)
    except RuntimeWarning:
        _LOGGER.warning(text)
