"""Watches the processes of a run, which all are descendants of this one, and kills them at its end."""

from __future__ import annotations

import math
import os
import select
import time
from collections.abc import Set

from pytest_rltask.sandbox.watcher.disk import Disk
from pytest_rltask.sandbox.watcher.proc import (
    SIGKILL,
    SIGXCPU,
    TICKS_PER_S,
    descendants,
    kill,
    memory_of,
    place_of,
    read,
    resident_bytes,
)

TYPE_CHECKING = False  # as type checkers know it; to import the module typing would cost 5 ms
if TYPE_CHECKING:
    import socket
    from typing import Any

    from pytest_rltask.sandbox.watcher.limits import Limits

MESSAGE_BYTES, MOST_FDS = 2**17, 16
_POLL_S, _POLL_BLIND_S, _IDLE_S = 0.1, 0.01, 0.5
_KILL_S = 5.0
_PRELOAD_S = 120.0
_ANSWER_S = 2.0
"""How long a preloaded interpreter may take to notice and tell the end of a run whose processes are dead."""


class Watch:
    """The processes of a run, all of them below this one."""

    def __init__(self, agent: int, life: int, *, limits: Limits, folder: str) -> None:
        self.gone = False
        """Whether the command is dead and collected, or of no more use."""
        self.is_shell_like = False
        """Whether its exit code is 128 and a number where that signal killed what it ran."""
        self._agent, self._life, self._limits = agent, life, limits
        self._exit_code: int | None = None
        self._used_cpu_s = 0.0
        self._spared: Set[int] = frozenset()
        self._disk = Disk(folder, limits)
        self._parent, self._poll_s = os.getppid(), _POLL_S
        self._poller = select.poll()
        self._poller.register(life, select.POLLIN)
        try:
            self._poller.register(os.pidfd_open(agent), select.POLLIN)
        except (AttributeError, OSError):
            self._poll_s = _POLL_BLIND_S  # macOS, and Linux before 5.3: the command's end is noticed by polling

    def until_over(self, wall_s: float) -> str:
        """Wait for the run to end or for a reason to end it; return the status."""
        deadline = time.monotonic() + wall_s
        while True:
            to_stop = self._wait(min(self._poll_s, deadline - time.monotonic()))
            if status := self._ended():
                return status
            if to_stop:
                return "closed"
            if time.monotonic() >= deadline:
                return "timed out"
            if exceeded := self._exceeded():
                return exceeded

    def end(self) -> None:
        """Kill and reap until no child is left: the children of whoever dies become ours."""
        deadline = time.monotonic() + _KILL_S
        if not self.gone:
            kill(self._agent)
        kill(self._agent, group=True)
        while self._reap():
            if time.monotonic() > deadline:
                raise RuntimeError("some processes of the run could not be killed")
            for pid in descendants(os.getpid()):
                kill(pid)
            time.sleep(0.001)

    def verdict(self, status: str) -> dict[str, object]:
        """Return what to report of a run, when all its processes are dead."""
        if status == "exit":
            status = self._disk.over() or status  # what it wrote after the last poll
        return {"status": status, "exit_code": self._exit_code if status == "exit" else None}

    def _wait(self, wait_s: float) -> bool:
        """Wait for something to happen, and return whether there is something at the pipe."""
        ready = [fd for fd, _ in self._poller.poll(math.ceil(max(0.0, wait_s) * 1000))]
        self._reap()
        # A process that pytest forked may still hold the other end of the pipe, so it is not the only sign.
        return self._life in ready or os.getppid() != self._parent

    def _reap(self) -> bool:
        """Collect the dead, and return whether there are children left."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._agent:
                self.gone = True
                code = os.waitstatus_to_exitcode(status)
                signalled = self.is_shell_like and 128 < code <= 128 + 64
                self._collect(128 - code if signalled else code, usage.ru_utime + usage.ru_stime)

    def _collect(self, exit_code: int, cpu_s: float) -> None:
        self._exit_code, self._used_cpu_s = exit_code, max(self._used_cpu_s, cpu_s)

    def _ended(self) -> str | None:
        if self._exit_code is None:
            return None
        # The kernel sends SIGXCPU at the limit, and SIGKILL a second later to who ignores that.
        late = self._exit_code == -SIGKILL and self._used_cpu_s >= self._limits.cpu_s
        return "cpu" if late or self._exit_code == -SIGXCPU else "exit"

    def _exceeded(self) -> str | None:
        pids = set(descendants(os.getpid())) - self._spared
        tasks, resident = 0, {}
        for pid in pids:
            # proc(5) counts the fields from the pid on: num_threads is 20. The name, 2, may hold anything.
            if fields := read(f"/proc/{pid}/stat").rpartition(b")")[2].split():
                tasks += int(fields[20 - 3])
                # utime and stime, 14 and 15: of a process below bwrap, the end of bwrap does not tell them
                self._used_cpu_s = max(self._used_cpu_s, (int(fields[14 - 3]) + int(fields[15 - 3])) / TICKS_PER_S)
            if place := place_of(pid):
                resident[place] = resident_bytes(place)
        if tasks > self._limits.processes:
            return "processes"
        # Resident memory counts a shared page once per process; only the dear, exact count may convict.
        limit = self._limits.memory_bytes
        if sum(resident.values()) > limit and sum(map(memory_of, resident)) > limit:
            return "memory"
        return self._disk.poll(self._places)

    def _places(self) -> set[str]:
        """Return where ``/proc`` tells what each process of the run holds."""
        pids = set(descendants(os.getpid())) - self._spared - self._wrapper()
        return {place for pid in pids if (place := place_of(pid))}

    def _wrapper(self) -> set[int]:
        """Return the processes of bwrap itself, which may be closed to us where it is a setuid program."""
        if not self.is_shell_like:
            return set()
        return {self._agent, *map(int, read(f"/proc/{self._agent}/task/{self._agent}/children").split())}


class Served(Watch):
    """The interpreter that is forked for each run, and the processes of its run."""

    def __init__(
        self, agent: int, control: socket.socket, interpreter: socket.socket, *, limits: Limits, folder: str
    ) -> None:
        super().__init__(agent, control.fileno(), limits=limits, folder=folder)
        self._control, self._interpreter = control, interpreter
        self._failure = ""
        self._keeps = False
        """Whether the last run was a shell's command, which others may outlive."""
        self._before: Set[int] = frozenset()
        """What was at work when that began."""
        self._over = ""
        """The limit that was passed since it ended."""
        interpreter.setblocking(False)
        self._poller.register(interpreter, select.POLLIN)

    def until_ready(self) -> str:
        """Wait for the interpreter to have imported its modules; return what went wrong."""
        deadline = time.monotonic() + _PRELOAD_S
        while not self.gone:
            to_stop = self._wait(_IDLE_S)
            if (answer := self._answer()) is not None:
                self._spared = frozenset(descendants(os.getpid()))  # no code of an agent has run so far
                return str(answer.get("error", ""))
            if to_stop or time.monotonic() > deadline:
                return "it took too long"
        return "it died"

    def next_request(self) -> dict[str, Any] | None:
        """Wait for a run to be asked for; return None if there will be no more.

        What a shell's commands have left at work is held to the limits meanwhile.
        """
        import json
        import socket

        while not self.gone:
            is_at_work = self._keeps and not self._over and bool(set(descendants(os.getpid())) - self._spared)
            has_news = self._wait(self._poll_s if is_at_work else _IDLE_S)
            if is_at_work and (over := self._exceeded()):
                self._over, self._exit_code = over, 0
                self._kill_all_but(frozenset())
            if has_news:
                try:
                    message, fds, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, MOST_FDS, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return None  # pytest is dead
                return {**json.loads(message), "fds": fds} if message else None
        return None

    def begin(self, request: dict[str, Any], streams: list[int]) -> None:
        """Have the interpreter run a script."""
        import json
        import socket

        if self._over:
            for fd in streams:
                os.close(fd)
            return
        self._exit_code, self._used_cpu_s, self._failure = None, 0.0, ""
        self._keeps = request.pop("keeps", False)
        self._before = frozenset(descendants(os.getpid())) if self._keeps else frozenset()
        socket.send_fds(self._interpreter, [json.dumps(request).encode()], streams)
        for fd in streams:
            os.close(fd)

    def until_over(self, wall_s: float) -> str:
        """Wait for the end of a run; one before which a limit was passed did not begin."""
        over, self._over = self._over, ""
        return over or super().until_over(wall_s)

    def finish(self, status: str) -> None:
        """Kill what is not to outlive the run, whose status is given."""
        if not self._keeps:
            self._kill_all_but(frozenset())
        elif status != "exit":
            self._kill_all_but(self._before if status == "timed out" else frozenset())

    def _kill_all_but(self, others: Set[int]) -> None:
        """Kill all but the interpreter and others; the interpreter too, if it does not tell the run's end."""
        deadline = time.monotonic() + _ANSWER_S
        while not self.gone:
            left = set(descendants(os.getpid())) - self._spared - others
            if self._exit_code is not None and not left:
                return
            self.gone = time.monotonic() > deadline
            for pid in left:
                kill(pid)
            time.sleep(0.001)
            self._reap()
            self._ended()
        self.end()

    def _collect(self, exit_code: int, cpu_s: float) -> None:
        """Take no notice of how the interpreter itself ended."""

    def verdict(self, status: str) -> dict[str, object]:
        """Return what to report of a run, or why it could not begin."""
        return {"error": self._failure} if self._failure else super().verdict(status)

    def _ended(self) -> str | None:
        answer = self._answer()
        if answer and "error" in answer:
            self._failure = answer["error"]
        elif answer:
            super()._collect(answer["exit_code"], answer["cpu_s"])
        return super()._ended() or ("killed" if self.gone else None)

    def _answer(self) -> dict[str, Any] | None:
        """Return what the interpreter says, None for nothing."""
        import json

        try:
            if message := self._interpreter.recv(MESSAGE_BYTES):
                return dict(json.loads(message))
        except BlockingIOError:
            return None
        except OSError:
            pass
        self.gone = True  # or on its way, and of no more use
        return None
