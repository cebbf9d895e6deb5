"""Runs one command below the watcher (``_launcher``), drains its output and tells what ended it."""

from __future__ import annotations

import json
import math
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pytest_rltask.sandbox import _launcher
from pytest_rltask.sandbox._backend import WORK, Backend
from pytest_rltask.sandbox._result import SandboxError, SandboxLimits, SandboxResult, Status

_GRACE_S = 10.0
"""How long after the time limit we wait for the watcher, which the agent may have stopped."""
_LINGER_S = 0.5
"""How long we read on without a watcher: where it sees no process tree, a daemon may hold the output open."""
_CHUNK_BYTES = 65536


class Process:
    """A running command, with everything below it."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        backend: Backend,
        base: Path,
        env: Mapping[str, str],
        limits: SandboxLimits,
        wall_s: float,
    ) -> None:
        """Start the command in a sandbox's working directory.

        Raises:
            SandboxError: it could not be started.
        """
        self._limits = limits
        self._stopped: Status | None = None
        self._started = time.monotonic()
        self._deadline = self._started + wall_s + _GRACE_S
        report, their_report = os.pipe()
        their_life, life = os.pipe()
        ready, their_ready = os.pipe()
        os.set_blocking(ready, False)
        self._report, self._life = os.fdopen(report, "rb", buffering=0), os.fdopen(life, "wb", buffering=0)
        self._ready = os.fdopen(ready, "rb", buffering=0)
        self._confirmed = backend.confirms
        cpu_s = math.ceil(limits.cpu_s)
        numbers = their_report, their_life, cpu_s, limits.memory_bytes, limits.file_bytes, limits.processes, wall_s
        try:
            wrapped = backend.wrap(command, base=base, ready_fd=their_ready if backend.confirms else None)
            self._watcher = subprocess.Popen(
                [sys.executable, "-I", "-S", _launcher.__file__, *map(str, numbers), *wrapped],
                cwd=base / WORK,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                pass_fds=(their_report, their_life, *([their_ready] if backend.confirms else [])),
                start_new_session=True,
            )
        except BaseException as error:
            self._report.close()
            self._life.close()
            self._ready.close()
            if isinstance(error, OSError):
                raise SandboxError(f"the sandbox could not start a process: {error}") from error
            raise
        finally:
            os.close(their_report)
            os.close(their_life)
            os.close(their_ready)
        assert self._watcher.stdout is not None
        assert self._watcher.stderr is not None
        self._stdout, self._stderr = self._watcher.stdout, self._watcher.stderr

    def stop(self, status: Status) -> None:
        """Kill the run, from any thread: the watcher sees its pipe hang up. The first reason given counts."""
        self._stopped = self._stopped or status
        self._life.close()

    def result(self) -> SandboxResult:
        """Read the output until all processes are dead; call it once.

        Raises:
            SandboxError: the watcher did not do its work.
        """
        stdout, stderr = _Excerpt(self._limits.output_bytes), _Excerpt(self._limits.output_bytes)
        try:
            report = self._drain(stdout, stderr)
        finally:
            abandoned = self._end()
            has_begun = bool(self._ready.read(1)) or not self._confirmed
            self._ready.close()
        status, exit_code = _understand(report, abandoned=abandoned, stderr=stderr)
        if not has_begun and not self._stopped:
            raise SandboxError(f"the sandbox could not isolate a process: {stderr.text().strip() or status}")
        return SandboxResult(
            status=self._stopped or status,
            exit_code=None if self._stopped else exit_code,
            stdout=stdout.text(),
            stderr=stderr.text(),
            wall_s=time.monotonic() - self._started,
        )

    def _drain(self, stdout: _Excerpt, stderr: _Excerpt) -> bytes:
        """Read all pipes to their end, or to the deadline; return the watcher's report."""
        report = bytearray()
        deadline = self._deadline
        with selectors.DefaultSelector() as selector:
            selector.register(self._report, selectors.EVENT_READ, report.extend)
            selector.register(self._stdout, selectors.EVENT_READ, stdout.add)
            selector.register(self._stderr, selectors.EVENT_READ, stderr.add)
            while selector.get_map() and (left_s := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left_s):
                    take: Callable[[bytes], None] = key.data
                    if chunk := os.read(key.fd, _CHUNK_BYTES):
                        take(chunk)
                        continue
                    selector.unregister(key.fileobj)
                    if key.fileobj is self._report:
                        deadline = time.monotonic() + _LINGER_S
                if stdout.total + stderr.total > self._limits.flood_bytes:
                    self.stop("output")
        return bytes(report)

    def _end(self) -> bool:
        """Release everything, and kill what the watcher left; return whether it had to be abandoned."""
        self._life.close()
        try:
            self._watcher.wait(timeout=_LINGER_S)
            abandoned = False
        except subprocess.TimeoutExpired:
            abandoned = True
            for pid in (*_launcher.descendants(self._watcher.pid), self._watcher.pid):
                _launcher.kill(pid)
            self._watcher.wait()
        for pipe in (self._report, self._stdout, self._stderr):
            pipe.close()
        return abandoned


class _Excerpt:
    """The head and the tail of a stream of any length: the end of a long output tells more than its beginning."""

    def __init__(self, size: int) -> None:
        self.total = 0
        self._head, self._tail = bytearray(), bytearray()
        self._head_size = size // 4
        self._tail_size = size - self._head_size

    def add(self, chunk: bytes) -> None:
        self.total += len(chunk)
        room = self._head_size - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        del self._tail[: max(0, len(self._tail) - self._tail_size)]

    def text(self) -> str:
        cut = self.total - len(self._head) - len(self._tail)
        note = f"\n[... {cut} bytes cut ...]\n".encode() if cut else b""
        return (self._head + note + self._tail).decode("utf-8", "replace")


def _understand(report: bytes, *, abandoned: bool, stderr: _Excerpt) -> tuple[Status, int | None]:
    """Return the status and exit code the watcher reported."""
    if not report:
        if abandoned:
            return "timed out", None  # the agent stopped the watcher, or hid from it, until its time was over
        raise SandboxError(f"the sandbox's watcher died without a report: {stderr.text() or 'it was killed'}")
    said = json.loads(report.splitlines()[0])
    if "error" in said:
        raise SandboxError(f"the sandbox could not run a process: {said['error']}")
    return said["status"], said["exit_code"]
