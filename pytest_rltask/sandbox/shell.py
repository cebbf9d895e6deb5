"""A shell that keeps its state from command to command, and cannot lie about how a command ended.

Each command is a bash of its own, forked from an interpreter inside the isolation that belongs to this shell alone. It
begins with the state that the one before has left in a file (folder, variables, functions, aliases, options, traps),
and leaves its own there. So nothing in the output says where a command ends: the interpreter that waits for its process
tells that over a socket which no command holds, together with the exit code. What it has written by then lies in the
pipe; what it left at work in the background goes on, within the limits, and its output comes with the next command's.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import os
import secrets
import selectors
import shlex
import stat
import termios
import threading
from collections.abc import Callable
from typing import Any

from pytest_rltask.clock import monotonic_s
from pytest_rltask.sandbox.backends.backend import SCRATCH
from pytest_rltask.sandbox.environment import checked
from pytest_rltask.sandbox.forkserver import SUPPORTED, ForkServer
from pytest_rltask.sandbox.process import CHUNK_BYTES, GRACE_S, Excerpt
from pytest_rltask.sandbox.result import SandboxError, SandboxResult, Status
from pytest_rltask.sandbox.runner import Runner
from pytest_rltask.tools import ToolError

_CLOSE_S = 15.0
_NOT_FOUND = 127
_COMMAND_BYTES = 50_000
_PROGRAM = """\
unset BASH_EXECUTION_STRING; shopt -s expand_aliases
! [ -e {old} ] || . {old} >/dev/null 2>&1
eval {command}
{{
builtin set -- "$?"
{{ builtin declare -p; builtin declare -f; builtin declare -F; builtin alias -p; builtin trap -p; builtin shopt -p
builtin umask -p; builtin printf 'builtin cd -- %q\\n' "$PWD"; builtin set +o; builtin printf 'return %d\\n' "$1"
}} >{new}
builtin trap - EXIT; builtin exit "$1"
}} 2>/dev/null
"""
"""The status of the command before is that of the file which restores its state."""


class Shell:
    r"""A shell of a sandbox; see :meth:`Sandbox.shell`. A context manager. One command runs at a time.

    What bash does not tell does not last: descriptors that ``exec`` opened, and jobs, which go on but are no children
    of the next command, so that it can kill them but not wait for them.

    Example:
        >>> from pytest_rltask import Sandbox
        >>> with Sandbox() as sandbox, sandbox.shell() as shell:
        ...     _ = shell.run("mkdir lib; cd lib; greet() { echo hello $1; }")
        ...     shell.run('greet "from ${PWD##*/}"').stdout
        'hello from lib\n'
    """

    def __init__(self, runner: Runner, *, merged: bool, note: Callable[[], None]) -> None:
        self._runner, self._merged, self._note = runner, merged, note
        self._turn = threading.Lock()
        self._server: ForkServer | None = None
        self._pipes: _Streams | None = None
        self._closed = self._has_bash = False
        self.ended = ""
        """How a command ended the shell (``exited with code 3``): until it is restarted it runs nothing. Else empty."""
        name = f".shell-{secrets.token_hex(4)}"
        folder = runner.base / SCRATCH
        self._old, self._new = folder / name, folder / f"{name}.new"

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def run(self, command: str, *, wall_s: float | None = None) -> SandboxResult:
        """Run a command as if it was typed next, and wait for its end: not for what it leaves in the background.

        A command that passes its time, or another limit, is killed, and the state is that from before it. Passing its
        time spares what earlier ones have left at work; any other limit does not.

        Args:
            command: What to run.
            wall_s: Seconds it may take, when not those of the sandbox's limits.

        Raises:
            ToolError: a command has ended the shell; or no shell can be given this one.
            SandboxError: the sandbox is closed, or could not run it.
        """
        with self._turn:
            if self._closed or self._runner.closed:
                raise SandboxError("the sandbox is closed")
            if not SUPPORTED:
                raise SandboxError("a shell that keeps its state needs Linux")
            if self.ended:
                raise ToolError(f"the shell has ended ({self.ended}); restart it")
            self._note()
            before = self._runner.snapshot()
            self._check_bash()
            result = self._run(command, self._runner.limits.wall_s if wall_s is None else wall_s)
            if result.status in ("disk", "files"):
                self._end()
                self._runner.undo(before)
            elif result.status == "exit" and not self._has_kept():
                self.ended = result.summary.partition(" after ")[0]
            return result

    def _check_bash(self) -> None:
        """Find out by a command of our own, once, whether there is a bash: one of the agent's could say that itself."""
        if not self._has_bash:
            if self._run(":", self._runner.limits.wall_s).exit_code == _NOT_FOUND:
                image = self._runner.view.image
                where = f"image {image.name}; take one that has it, or sandbox.run" if image else "sandbox"
                raise SandboxError(f"a shell that keeps its state needs a bash, and there is none in the {where}")
            self._has_bash = True

    def restart(self) -> None:
        """Begin with a fresh shell: kill what the old one left at work, and forget its state."""
        with self._turn:
            self._end()
            self.ended = ""
            with contextlib.suppress(OSError):
                self._old.unlink()

    def end_jobs(self) -> None:
        """Kill what commands have left at work, and one that is running; the state stays."""
        if server := self._server:
            server.end()
        with self._turn:
            self._end()

    def close(self) -> None:
        """Kill all that runs in it. Harmless when called again, or while a command is running."""
        self._closed = True
        if server := self._server:
            server.end()  # with it ends the command, whose thread still reads
        if self._turn.acquire(timeout=_CLOSE_S):
            try:
                self._end()
            finally:
                self._turn.release()

    def _run(self, command: str, wall_s: float) -> SandboxResult:
        """Have a bash run it; where the interpreter has died since the last command, with a new one."""
        quote = shlex.quote
        with contextlib.suppress(OSError):
            self._new.unlink()
        checked([command], {})
        if len(command.encode()) > _COMMAND_BYTES:
            size = len(command.encode())
            raise ToolError(f"the command has {size} bytes; {_COMMAND_BYTES} are the most: write long texts to files")
        program = _PROGRAM.format(old=quote(str(self._old)), new=quote(str(self._new)), command=quote(command))
        env = self._runner.environment()
        request = {
            "command": ["bash", "--norc", "--noprofile", "-c", program, "bash"],
            "env": env,
            "wall_s": wall_s,
            "keeps": True,
            "numbers": [1, 2],
        }
        for _ in range(2):
            server, streams = self._ready()
            report, theirs = os.pipe()
            try:
                if not server.ask(request, [theirs, *streams.theirs]):
                    raise ToolError("the command is too long: write long texts to files")
            except OSError:
                os.close(report)
                self._end()
                continue
            except BaseException:
                os.close(report)
                raise
            finally:
                os.close(theirs)
            return self._result(streams, report, wall_s)
        raise SandboxError("the sandbox's shell died")

    def _ready(self) -> tuple[ForkServer, _Streams]:
        if self._server is None:
            self._pipes = _Streams(merged=self._merged)
            self._server = self._runner.new_server()
        server, streams = self._server, self._pipes
        assert streams is not None
        problem = server.wait()
        if self._closed:
            self._end()
            raise SandboxError("the sandbox is closed")
        if problem:
            self._end()
            raise SandboxError(f"the sandbox could not isolate a process: {problem}")
        return server, streams

    def _result(self, streams: _Streams, report: int, wall_s: float) -> SandboxResult:
        """Read until the command has ended, and all that it wrote."""
        started, limits = monotonic_s(), self._runner.limits
        stdout, stderr = Excerpt(limits.output_bytes), Excerpt(limits.output_bytes)
        said = bytearray()
        stopped: Status | None = None
        with open(report, "rb", buffering=0) as heard, selectors.DefaultSelector() as selector:
            selector.register(heard, selectors.EVENT_READ, said.extend)
            for fd, excerpt in zip(streams.ours, (stdout, stderr), strict=False):
                selector.register(fd, selectors.EVENT_READ, excerpt.add)
            deadline = started + wall_s + GRACE_S
            is_over = False
            while not is_over and (left_s := deadline - monotonic_s()) > 0:
                for key, _ in selector.select(left_s):
                    take: Callable[[bytes], None] = key.data
                    if chunk := os.read(key.fd, CHUNK_BYTES):
                        take(chunk)
                    if key.fileobj is heard:
                        is_over = not chunk or chunk.endswith(b"\n")
                if stdout.total + stderr.total > limits.flood_bytes:
                    stopped = "output"
                    break
        for fd, excerpt in zip(streams.ours, (stdout, stderr), strict=False):
            for chunk in _waiting(fd):
                excerpt.add(chunk)
        status, exit_code, lasts = _understood(bytes(said))
        if stopped or self._closed or not lasts:
            self._end()
        status = stopped or ("closed" if self._closed and not said else status)
        code = exit_code if status == "exit" else None
        return SandboxResult(status, code, stdout.text(), stderr.text(), monotonic_s() - started)

    def _has_kept(self) -> bool:
        """Take over the state that the command left; return whether it did."""
        try:
            if not stat.S_ISREG(self._new.lstat().st_mode):
                return False
            os.replace(self._new, self._old)
        except OSError:
            return False
        return True

    def _end(self) -> None:
        server, self._server = self._server, None
        streams, self._pipes = self._pipes, None
        if server:
            server.end()
        if streams:
            streams.close()


class _Streams:
    """The pipes that the commands of a shell write to, one after the other, and what they left at work."""

    def __init__(self, *, merged: bool) -> None:
        pairs = [os.pipe() for _ in range(1 if merged else 2)]
        self.ours = [ours for ours, _ in pairs]
        self._writable = [theirs for _, theirs in pairs]
        self.theirs = [self._writable[0], self._writable[-1]]

    def close(self) -> None:
        for fd in (*self.ours, *self._writable):
            os.close(fd)
        self.ours, self._writable, self.theirs = [], [], []


def _waiting(fd: int) -> list[bytes]:
    """Return what lies in a pipe now, and not what is written to it meanwhile."""
    size = array.array("i", [0])
    fcntl.ioctl(fd, termios.FIONREAD, size)
    chunks, left = [], size[0]
    while left > 0 and (chunk := os.read(fd, min(left, CHUNK_BYTES))):
        chunks.append(chunk)
        left -= len(chunk)
    return chunks


def _understood(report: bytes) -> tuple[Status, int | None, bool]:
    """Return the status and exit code that the watcher reported, and whether it can serve another command."""
    said: dict[str, Any] = json.loads(report.splitlines()[0]) if report else {"status": "killed", "exit_code": None}
    if "error" in said:
        raise SandboxError(f"the sandbox could not run a process: {said['error']}")
    return said["status"], said["exit_code"], not said.get("last", True)
