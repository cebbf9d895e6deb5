"""Runs one command below the watcher (``watcher/launcher``), drains its output and tells what ended it."""

from __future__ import annotations

import json
import math
import os
import selectors
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from pytest_rltask.clock import monotonic_s
from pytest_rltask.sandbox.backends.backend import WORK, Backend, WatcherStart, Wish
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits, SandboxResult, Status
from pytest_rltask.sandbox.watcher.limits import Limits

GRACE_S = 10.0
"""How long after the time limit we wait for the watcher, which the agent may have stopped."""
_LINGER_S = 0.5
"""How long we read on without a watcher: where it sees no process tree, a daemon may hold the output open."""
CHUNK_BYTES = 65536
"""How much is read at once."""


class Watcher:
    """The program (``watcher/launcher``) below which an agent's processes run."""

    def __init__(
        self,
        asked: WatcherStart,
        *,
        backend: Backend,
        hang_up: Callable[[], None],
    ) -> None:
        """Start it; ``hang_up`` closes our end of what tells it to kill everything.

        Raises:
            SandboxError: it could not be started.
        """
        self.hang_up = hang_up
        try:
            self.process = backend.start_watcher(asked)
        except OSError as error:
            raise SandboxError(f"the sandbox could not start a process: {error}") from error

    def end(self) -> bool:
        """Have it end, and kill what it left; return whether it had to be abandoned."""
        self.hang_up()
        if self.process.ends_within(_LINGER_S):
            return False
        self.process.kill()
        return True


class Pipes:
    """What a run is heard through: its watcher's report, and its standard output and error."""

    def __init__(self, given: bytes | None = None) -> None:
        """Make them; what is given is to be read from the standard input, which else is none of ours."""
        pairs = [os.pipe() for _ in range(3)]
        self.report, self.stdout, self.stderr = (os.fdopen(ours, "rb", buffering=0) for ours, _ in pairs)
        self.theirs = [fd for _, fd in pairs]
        """The other ends, in the same order: to be handed over."""
        self._ready: BinaryIO | None = None
        self.given = memoryview(given or b"")
        self.their_stdin: int | None = None
        self.stdin: BinaryIO | None = None
        if given is not None:
            self.their_stdin, ours = os.pipe()
            os.set_blocking(ours, False)
            self.stdin = os.fdopen(ours, "wb", buffering=0)

    def expect_ready(self) -> int:
        """Make a further pipe, and return the end to which the isolation writes when it is complete."""
        ready, theirs = os.pipe()
        os.set_blocking(ready, False)
        self._ready = os.fdopen(ready, "rb", buffering=0)
        self.theirs.append(theirs)
        return theirs

    @property
    def is_ready(self) -> bool:
        """Whether something was written there, or nothing was to be; ask once."""
        return self._ready is None or bool(self._ready.read(1))

    def feed(self) -> bool:
        """Write what the standard input takes now of what is given; return whether there is more."""
        assert self.stdin
        try:
            written = os.write(self.stdin.fileno(), self.given[:CHUNK_BYTES]) if self.given else 0
        except BlockingIOError:
            return True
        except BrokenPipeError:
            return False  # nobody reads it
        self.given = self.given[written:]
        return bool(self.given)

    def handed_over(self) -> None:
        """Close the other ends, which somebody else holds by now, so that ours can come to an end."""
        for fd in (*self.theirs, *([] if self.their_stdin is None else [self.their_stdin])):
            os.close(fd)
        self.theirs, self.their_stdin = [], None

    def close(self) -> None:
        """Close all ends."""
        self.handed_over()
        for pipe in (self.report, self.stdout, self.stderr, self.stdin, self._ready):
            if pipe:
                pipe.close()


def start(
    command: Sequence[str],
    *,
    backend: Backend,
    base: Path,
    env: Mapping[str, str],
    limits: SandboxLimits,
    wall_s: float,
    stdin: bytes | None = None,
) -> Process:
    """Start a command in a sandbox's working directory, below a watcher of its own.

    Raises:
        SandboxError: it could not be started.
    """
    their_life, life = os.pipe()
    pipes, ours = Pipes(stdin), os.fdopen(life, "wb", buffering=0)
    report, stdout, stderr = pipes.theirs
    ready_fd = pipes.expect_ready() if backend.confirms else None
    try:
        wrapped = backend.wrap(command, base=base, wish=Wish(ready_fd=ready_fd))
        arguments = ["run", *map(str, (report, their_life, base, to_argument(limits), wall_s)), *wrapped]
        theirs = subprocess.DEVNULL if pipes.their_stdin is None else pipes.their_stdin
        asked = WatcherStart(arguments, base / WORK, env, (their_life, *pipes.theirs), (stdout, stderr), theirs)
        watcher = Watcher(asked, backend=backend, hang_up=ours.close)
    except BaseException:
        pipes.close()
        ours.close()
        raise
    finally:
        os.close(their_life)
    pipes.handed_over()
    return Process(watcher, pipes, limits=limits, wall_s=wall_s)


def run(
    command: Sequence[str], *, backend: Backend, base: Path, env: Mapping[str, str], limits: SandboxLimits
) -> SandboxResult:
    """Start a command and wait for its end; see :func:`start`."""
    return start(command, backend=backend, base=base, env=env, limits=limits, wall_s=limits.wall_s).result()


def to_argument(limits: SandboxLimits) -> str:
    """Return the limits as the watcher's command line takes them."""
    return ",".join(str(math.ceil(getattr(limits, name))) for name in Limits.NAMES)


class Process:
    """A running command or script, with everything below it."""

    watcher_ended = False
    """Whether the watcher is gone, when the result is there; if not, it can serve another run."""

    def __init__(self, watcher: Watcher, pipes: Pipes, *, limits: SandboxLimits, wall_s: float) -> None:
        """Take charge of what was started."""
        self._watcher, self._pipes = watcher, pipes
        self._limits = limits
        self._stopped: Status | None = None
        self._started = monotonic_s()
        self._deadline = self._started + wall_s + GRACE_S

    def stop(self, status: Status) -> None:
        """Kill the run, from any thread: the watcher sees its pipe hang up. The first reason given counts."""
        self._stopped = self._stopped or status
        self._watcher.hang_up()

    def result(self) -> SandboxResult:
        """Read the output until all processes are dead; call it once.

        Raises:
            SandboxError: the watcher did not do its work.
        """
        stdout, stderr = Excerpt(self._limits.output_bytes), Excerpt(self._limits.output_bytes)
        said: dict[str, Any] = {}
        abandoned = False
        try:
            report = self._drain(stdout, stderr)
            said = json.loads(report.splitlines()[0]) if report else {}
        finally:
            self.watcher_ended = said.get("last", True) or self._stopped is not None
            if self.watcher_ended:
                abandoned = self._watcher.end()
            has_begun = self._pipes.is_ready
            self._pipes.close()
        status, exit_code = _understand(said, abandoned=abandoned, stderr=stderr)
        if not has_begun and not self._stopped:
            raise SandboxError(f"the sandbox could not isolate a process: {stderr.text().strip() or status}")
        return SandboxResult(
            status=self._stopped or status,
            exit_code=None if self._stopped else exit_code,
            stdout=stdout.text(),
            stderr=stderr.text(),
            wall_s=monotonic_s() - self._started,
        )

    def _drain(self, stdout: Excerpt, stderr: Excerpt) -> bytes:
        """Read all pipes to their end, or to the deadline; return the watcher's report."""
        report = bytearray()
        deadline = self._deadline
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipes.report, selectors.EVENT_READ, report.extend)
            selector.register(self._pipes.stdout, selectors.EVENT_READ, stdout.add)
            selector.register(self._pipes.stderr, selectors.EVENT_READ, stderr.add)
            if self._pipes.stdin:
                selector.register(self._pipes.stdin, selectors.EVENT_WRITE)
            while selector.get_map() and (left_s := deadline - monotonic_s()) > 0:
                for key, _ in selector.select(left_s):
                    if key.fileobj is self._pipes.stdin:
                        if not self._pipes.feed():
                            self._fed(selector)
                        continue
                    take: Callable[[bytes], None] = key.data
                    if chunk := os.read(key.fd, CHUNK_BYTES):
                        take(chunk)
                        continue
                    selector.unregister(key.fileobj)
                    if key.fileobj is self._pipes.report:
                        deadline = monotonic_s() + _LINGER_S
                        self._fed(selector)
                if stdout.total + stderr.total > self._limits.flood_bytes:
                    self.stop("output")
        return bytes(report)

    def _fed(self, selector: selectors.BaseSelector) -> None:
        """Let the standard input come to its end."""
        if self._pipes.stdin:
            selector.unregister(self._pipes.stdin)
            self._pipes.stdin.close()
            self._pipes.stdin = None


class Excerpt:
    """The head and the tail of a stream of any length: the end of a long output tells more than its beginning."""

    def __init__(self, size: int) -> None:
        self.total = 0
        self._head, self._tail = bytearray(), bytearray()
        self._head_size = size // 4
        self._tail_size = size - self._head_size

    def add(self, chunk: bytes) -> None:
        """Take what comes next."""
        self.total += len(chunk)
        room = self._head_size - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        del self._tail[: max(0, len(self._tail) - self._tail_size)]

    def text(self) -> str:
        """Return what is kept, with a note in place of what is not."""
        cut = self.total - len(self._head) - len(self._tail)
        note = f"\n[... {cut} bytes cut ...]\n".encode() if cut else b""
        return (self._head + note + self._tail).decode("utf-8", "replace")


def _understand(said: Mapping[str, Any], *, abandoned: bool, stderr: Excerpt) -> tuple[Status, int | None]:
    """Return the status and exit code the watcher reported."""
    if not said:
        if abandoned:
            return "timed out", None  # the agent stopped the watcher, or hid from it, until its time was over
        raise SandboxError(f"the sandbox's watcher died without a report: {stderr.text() or 'it was killed'}")
    if "error" in said:
        raise SandboxError(f"the sandbox could not run a process: {said['error']}")
    return said["status"], said["exit_code"]
