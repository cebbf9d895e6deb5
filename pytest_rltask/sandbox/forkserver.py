"""An interpreter inside the isolation that is forked for each run, with modules imported beforehand or without.

It belongs to one sandbox, so that nothing is shared between trials. It is infrastructure: no code of the agent runs in
it, its children can neither trace it nor reach its socket, and all that they leave is dead before the next run. What
they can do is kill or suspend it. They pay for that: the run is told as killed or timed out, and the next one waits for
a new interpreter.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pytest_rltask.sandbox.backends.backend import WORK, Backend, Ruleset, WatcherStart, Wish
from pytest_rltask.sandbox.inside import source
from pytest_rltask.sandbox.process import Pipes, Process, Watcher, to_argument
from pytest_rltask.sandbox.result import SandboxLimits
from pytest_rltask.sandbox.watcher.launcher import PRELOAD_FD
from pytest_rltask.sandbox.watcher.watch import MESSAGE_BYTES

SUPPORTED = sys.platform == "linux"
"""Elsewhere the watcher does not see a run's processes, and could not kill them without the interpreter."""


_NONE: Mapping[int, int] = {}


class ForkServer:
    """The interpreter that runs are forked from, and its watcher."""

    def __init__(
        self,
        modules: Sequence[str],
        *,
        python: str,
        backend: Backend,
        base: Path,
        env: Mapping[str, str],
        limits: SandboxLimits,
        apart: bool = True,
    ) -> None:
        """Start it in a sandbox's working directory, without waiting for the imports, if any.

        Where its runs are not apart, one may signal what another has left at work.

        Raises:
            SandboxError: it could not be started.
        """
        self._limits = limits
        self._ready = False
        wish = Wish(keep_fds=(PRELOAD_FD,), forks_runs=apart, goes_on=not modules)
        program = _program(python, modules, backend.narrowing(base) if apart else None)
        command = backend.wrap(program, base=base, wish=wish)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            arguments = ["serve", str(number), str(base), to_argument(limits), *command]
            try:
                asked = WatcherStart(arguments, base / WORK, env, (number,))
                self._watcher = Watcher(asked, backend=backend, hang_up=self._hang_up)
            except BaseException:
                self._control.close()
                raise

    def wait(self) -> str:
        """Wait until it can be forked; return what went wrong."""
        if not self._ready:
            try:
                message = self._control.recv(MESSAGE_BYTES)
            except OSError:  # another thread has ended it
                message = b""
            said = json.loads(message or '{"error": "its watcher died"}')
            if "error" in said:
                return str(said["error"])
            self._ready = True
        return ""

    def run(self, argv: Sequence[str], *, wall_s: float) -> Process | None:
        """Run a script of the working directory, in a fork that has the modules; see :meth:`execute`."""
        return self._run({"argv": argv}, wall_s=wall_s, stdin=None)

    def execute(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        *,
        wall_s: float,
        stdin: bytes | None = None,
        fds: Mapping[int, int] | None = None,
    ) -> Process | None:
        """Run a command; return None where only a process of its own can do it."""
        return self._run({"command": command, "env": env}, wall_s=wall_s, stdin=stdin, fds=fds or {})

    def ask(self, request: Mapping[str, object], fds: Sequence[int]) -> bool:
        """Have a run begin, with the descriptor of its report and those it is to have; say if that was possible.

        Raises:
            OSError: it is dead.
        """
        message = json.dumps(request).encode()
        if len(message) > MESSAGE_BYTES // 2:
            return False
        socket.send_fds(self._control, [message], fds)
        return True

    def _run(
        self, request: Mapping[str, object], *, wall_s: float, stdin: bytes | None, fds: Mapping[int, int] = _NONE
    ) -> Process | None:
        pipes = Pipes(stdin)
        report, *streams = pipes.theirs
        given = [] if pipes.their_stdin is None else [pipes.their_stdin]
        try:
            numbers = [*([0] if given else []), 1, 2, *fds]
            asked = {**request, "wall_s": wall_s, "numbers": numbers}
            if not self.ask(asked, [report, *given, *streams, *fds.values()]):
                pipes.close()
                return None
        except OSError:  # it died while it had nothing to do: the system was short of memory
            pipes.close()
            return None
        pipes.handed_over()
        return Process(self._watcher, pipes, limits=self._limits, wall_s=wall_s)

    def end(self) -> None:
        """Kill it and its run, from any thread; harmless when called again."""
        self._watcher.end()
        self._control.close()

    def _hang_up(self) -> None:
        with suppress(OSError):  # they hung up first
            self._control.shutdown(socket.SHUT_RDWR)


def _program(python: str, modules: Sequence[str], narrowing: Ruleset | None) -> list[str]:
    """Return the command line of the interpreter; what it needs to narrow its forks goes along as source."""
    confine = json.dumps({"source": source("confine"), "ruleset": narrowing}) if narrowing else ""
    options = [] if modules else ["-I", "-S"]
    return [python, *options, "-c", source("preload"), str(PRELOAD_FD), confine, *modules]
