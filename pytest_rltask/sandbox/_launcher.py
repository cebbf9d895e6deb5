"""The program between pytest and the agent: sets the limits, watches them, and lets nothing outlive the run.

Started as ``python -I -S _launcher.py REPORT LIFE CPU_S MEMORY_BYTES FILE_BYTES PROCESSES WALL_S COMMAND...``. It
adopts every orphan below it (PR_SET_CHILD_SUBREAPER), so that a daemon that left its session is found as well. When
the command ends, a limit is exceeded, or the pipe LIFE hangs up (we were told to stop, or pytest is dead, even by
SIGKILL), it kills and reaps all descendants and writes one JSON line to the pipe REPORT. Without /proc and prctl
(macOS) it knows only the command's process group.

It starts once per run: it imports little, and of the standard library only (json and enum would double its start).
"""

from __future__ import annotations

import math
import os
import resource
import select
import sys
import time
from collections.abc import Callable, Iterator

_LINUX = sys.platform == "linux"
_TREE = _LINUX and os.path.exists(f"/proc/self/task/{os.getpid()}/children")
_POLL_S, _POLL_BLIND_S = 0.1, 0.01
_KILL_S = 5.0
_SIGKILL, _SIGXCPU = 9, 24  # the module signal would cost 5 ms; these numbers are the same on Linux and macOS
_SET_PDEATHSIG, _SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVS = 1, 36, 38
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def main(arguments: list[str]) -> None:
    """Run the command under its limits, and report what ended it."""
    report, life, cpu_s, memory_bytes, file_bytes, processes = map(int, arguments[:6])
    wall_s, command = float(arguments[6]), arguments[7:]
    for fd in (report, life):
        os.set_inheritable(fd, False)
    try:
        prctl = _load_prctl()
        prctl(_SET_CHILD_SUBREAPER, 1)
        agent = os.fork()
        if agent == 0:
            prctl(_SET_PDEATHSIG, _SIGKILL)  # in case somebody kills the watcher
            prctl(_SET_NO_NEW_PRIVS, 1)  # a setuid program could not be killed by us
            _limit(cpu_s=cpu_s, memory_bytes=memory_bytes, file_bytes=file_bytes, processes=processes)
            os.execv(command[0], command)
        watch = _Watch(agent, command[0], cpu_s=cpu_s, memory_bytes=memory_bytes, processes=processes)
        status = watch.until_over(life, wall_s=wall_s)
        watch.end()
        _write(report, {"status": status, "exit_code": watch.exit_code if status == "exit" else None})
    except BaseException as error:  # also of the forked child, whose exec failed
        _write(report, {"error": f"{type(error).__name__}: {error}"})
        os._exit(1)


class _Watch:
    """The agent's processes below this one."""

    def __init__(self, agent: int, program: str, *, cpu_s: int, memory_bytes: int, processes: int) -> None:
        self.exit_code: int | None = None
        self._agent = agent
        # It says what a shell says of a command that a signal killed: 128 and the signal's number, which is at most 64.
        self._is_bwrap = os.path.basename(program) == "bwrap"
        self._cpu_s = cpu_s
        self._memory_bytes = memory_bytes
        self._processes = processes
        self._used_cpu_s = 0.0

    def until_over(self, life: int, *, wall_s: float) -> str:
        """Wait for the command to end or for a reason to end it; return the status."""
        deadline, parent, poll_s = time.monotonic() + wall_s, os.getppid(), _POLL_S
        poller = select.poll()
        poller.register(life, select.POLLIN)
        try:
            poller.register(os.pidfd_open(self._agent), select.POLLIN)
        except (AttributeError, OSError):
            poll_s = _POLL_BLIND_S  # macOS, and Linux before 5.3: the end of the command is noticed by polling
        while True:
            wait_s = max(0.0, min(poll_s, deadline - time.monotonic()))
            ready = [fd for fd, _ in poller.poll(math.ceil(wait_s * 1000))]
            self._reap()
            if self.exit_code is not None:
                return "cpu" if self._exceeded_cpu() else "exit"
            # A process that pytest forked may still hold the other end of the pipe, so it is not the only sign.
            if life in ready or os.getppid() != parent:
                return "closed"
            if time.monotonic() >= deadline:
                return "timed out"
            if _TREE and (exceeded := self._exceeded()):
                return exceeded

    def end(self) -> None:
        """Kill and reap until no child is left: the children of whoever dies become ours."""
        deadline = time.monotonic() + _KILL_S
        if self.exit_code is None:
            kill(self._agent)
        kill(self._agent, group=True)
        while self._reap():
            if time.monotonic() > deadline:
                raise RuntimeError("some processes of the run could not be killed")
            for pid in descendants(os.getpid()):
                kill(pid)
            time.sleep(0.001)

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
                self.exit_code = os.waitstatus_to_exitcode(status)
                if self._is_bwrap and 128 < self.exit_code <= 128 + 64:
                    self.exit_code = 128 - self.exit_code
                self._used_cpu_s = max(self._used_cpu_s, usage.ru_utime + usage.ru_stime)

    def _exceeded_cpu(self) -> bool:
        # The kernel sends SIGXCPU at the limit, and SIGKILL a second later to who ignores that.
        return self.exit_code == -_SIGXCPU or (self.exit_code == -_SIGKILL and self._used_cpu_s >= self._cpu_s)

    def _exceeded(self) -> str | None:
        tasks, resident = 0, {}
        for pid in set(descendants(os.getpid())):
            # proc(5) counts the fields from the pid on: num_threads is 20, rss 24. The name, 2, may hold anything.
            if fields := _read(f"/proc/{pid}/stat").rpartition(b")")[2].split():
                tasks += int(fields[20 - 3])
                # utime and stime, 14 and 15: of a process below bwrap, the end of bwrap does not tell them
                self._used_cpu_s = max(self._used_cpu_s, (int(fields[14 - 3]) + int(fields[15 - 3])) / _TICKS_PER_S)
                resident[pid] = int(fields[24 - 3]) * _PAGE_BYTES
        if tasks > self._processes:
            return "processes"
        # Resident memory counts a shared page once per process; only the dear, exact count may convict.
        if sum(resident.values()) > self._memory_bytes and sum(map(_memory_of, resident)) > self._memory_bytes:
            return "memory"
        return None


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes below ``pid``, parents first; none where the system does not tell."""
    parents = [pid] if _TREE else []
    while parents:
        parent = parents.pop()
        for task in _listdir(f"/proc/{parent}/task"):
            children = [int(child) for child in _read(f"/proc/{parent}/task/{task}/children").split()]
            yield from children
            parents += children


def kill(pid: int, *, group: bool = False) -> None:
    """Send SIGKILL to a process, or to its process group, if it is still there."""
    try:  # noqa: SIM105 - contextlib would cost a part of the start
        (os.killpg if group else os.kill)(pid, _SIGKILL)
    except (ProcessLookupError, PermissionError):  # macOS refuses a group of which only a zombie is left
        pass


def _load_prctl() -> Callable[[int, int], object]:
    if not _LINUX:
        return lambda option, value: None
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(option: int, value: int) -> None:
        if libc.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")

    return prctl


def _limit(*, cpu_s: int, memory_bytes: int, file_bytes: int, processes: int) -> None:
    """Bound this process and, by inheritance, what it starts; and make it the first to give way to others."""
    os.setsid()
    os.nice(5)  # the watcher must get the CPU to stop a fork bomb; much more would starve honest work on a busy machine
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_CPU, cpu_s, cpu_s + 1)
    _set_limit(resource.RLIMIT_FSIZE, file_bytes)
    if not _LINUX:
        return  # macOS enforces none of the rest
    # Not RLIMIT_AS alone: threads and CUDA reserve address space that they never touch. It bounds shared memory.
    _set_limit(resource.RLIMIT_DATA, memory_bytes)
    _set_limit(resource.RLIMIT_AS, memory_bytes + 16 * 2**30)
    # It counts all tasks of the user, other runs included: a backstop for what happens between two polls. Root is
    # exempt, but the user that a backend changes to has none yet.
    _set_limit(resource.RLIMIT_NPROC, (_tasks_of_user() if os.getuid() != 0 else 0) + max(4 * processes, 256))
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass  # a /proc mounted read-only: the kernel then chooses its victim without our advice


def _set_limit(which: int, soft: int, hard: int | None = None) -> None:
    ceiling = resource.getrlimit(which)[1]
    wanted = [soft, soft if hard is None else hard]
    if ceiling != resource.RLIM_INFINITY:
        wanted = [min(limit, ceiling) for limit in wanted]
    resource.setrlimit(which, (wanted[0], wanted[1]))


def _tasks_of_user() -> int:
    tasks, user = 0, os.getuid()
    for name in _listdir("/proc"):
        if name.isdigit():
            try:
                folder = os.stat(f"/proc/{name}/task")
            except OSError:
                continue  # it ended
            if folder.st_uid == user:
                tasks += folder.st_nlink - 2  # one link per task; the two are "." and ".."
    return tasks


def _memory_of(pid: int) -> int:
    """Return the bytes a process holds, each shared page divided by the number of those who share it."""
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith(b"Pss:"):
            return int(line.split()[1]) * 1024
    # It ended; or it hides its pages from its own user, who may still count them.
    fields = _read(f"/proc/{pid}/statm").split()
    return int(fields[1]) * _PAGE_BYTES if fields else 0


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""  # the process ended


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []  # the process ended


def _write(fd: int, message: dict[str, object]) -> None:
    import json  # here, since the agent need not wait for it

    try:  # noqa: SIM105
        os.write(fd, json.dumps(message).encode() + b"\n")
    except BrokenPipeError:
        pass  # pytest is dead: nobody is left to be told


if __name__ == "__main__":
    main(sys.argv[1:])
