"""The program between pytest and the agent: sets the limits, watches them, and lets nothing outlive the run.

Started as ``python -I -S launcher.py run REPORT LIFE FOLDER LIMITS WALL_S COMMAND...`` for one run. It adopts every
orphan below it (PR_SET_CHILD_SUBREAPER), so that a daemon that left its session is found as well. When the command
ends, a limit is exceeded, or the pipe LIFE hangs up (we were told to stop, or pytest is dead, even by SIGKILL), it
kills and reaps all descendants and writes one JSON line to the pipe REPORT. Without /proc and prctl (macOS) it knows
only the command's process group.

Started as ``... serve CONTROL FOLDER LIMITS COMMAND...`` it watches the interpreter that is forked for each run
(``inside/preload``) and its runs, one after the other: each comes over the socket CONTROL, with a pipe REPORT of its
own. At the end of a run all descendants die but those that were there before the first one; of a shell's command, which
may leave others at work, those alone that came with it, and only if it passed its time.

It starts once per run: it imports little (json and enum would double its start), and nothing of ours but its parts.
"""

from __future__ import annotations

import os
import resource
import sys

if __name__ == "__main__":  # the packages themselves would import far too much, so empty ones stand in for them
    _NAMES = ("pytest_rltask", "pytest_rltask.sandbox", "pytest_rltask.sandbox.watcher")
    for _name in _NAMES:
        sys.modules[_name] = type(sys)(_name)
    sys.modules[_NAMES[-1]].__path__ = [os.path.dirname(__file__)]

from collections.abc import Callable, Sequence

from pytest_rltask.sandbox.watcher.limits import Limits
from pytest_rltask.sandbox.watcher.proc import LINUX, SIGKILL
from pytest_rltask.sandbox.watcher.watch import MESSAGE_BYTES, Served, Watch

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER, _SET_NO_NEW_PRIVS = 1, 36, 38
_IGNORED_IN_THE_BACKGROUND = (1, 2, 3)  # SIGHUP, SIGINT, SIGQUIT
PRELOAD_FD = 3
"""The file descriptor at which a preloaded interpreter finds its socket."""


def main(mode: str, answer: str, *arguments: str, counts_users_tasks: bool = True) -> None:
    """Do what the mode says, and tell what went wrong.

    Args:
        mode: ``run`` or ``serve``.
        answer: Where to tell it.
        *arguments: What the mode takes.
        counts_users_tasks: Whether the tasks that the system counts for the agent's user are those we can count.
    """
    try:
        (_run if mode == "run" else _serve)(int(answer), *arguments, bound_tasks=counts_users_tasks)
    except BaseException as error:  # also of the forked child, whose exec failed
        _write(int(answer), {"error": f"{type(error).__name__}: {error}"})
        os._exit(1)


def _run(report: int, life: str, folder: str, numbers: str, wall_s: str, *command: str, bound_tasks: bool) -> None:
    """Run the command once, and report what ended it."""
    limits = Limits(numbers, bound_tasks=bound_tasks)
    for fd in (report, int(life)):
        os.set_inheritable(fd, False)
    agent = _start(command, limits.of_the_interpreter() | limits.of_a_run())
    watch = Watch(agent, int(life), limits=limits, folder=folder)
    # bwrap, which a shell starts, says what shells say of a command that a signal killed: 128 and its number.
    watch.is_shell_like = os.path.basename(command[0]) == "sh"
    status = watch.until_over(float(wall_s))
    watch.end()
    _write(report, watch.verdict(status))
    _remove_if_orphaned(folder)


def _serve(number: int, folder: str, numbers: str, *command: str, bound_tasks: bool) -> None:
    """Watch a preloaded interpreter and its runs, until the socket hangs up or the interpreter is gone."""
    import socket

    limits = Limits(numbers, bound_tasks=bound_tasks)
    control = socket.socket(fileno=number)
    control.set_inheritable(False)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    noise, their_noise = os.pipe()  # what importing prints: nobody reads it, unless the import fails
    fds = [(their_noise, 1), (their_noise, 2), (theirs.fileno(), PRELOAD_FD)]
    watch = Served(_start(command, limits.of_the_interpreter(), fds), control, ours, limits=limits, folder=folder)
    theirs.close()
    os.close(their_noise)
    if problem := watch.until_ready():
        watch.end()
        printed = os.read(noise, MESSAGE_BYTES // 2).decode("utf-8", "replace")
        _write(number, {"error": f"{problem} {printed}".strip()})
        _remove_if_orphaned(folder)
        return
    control.send(b"{}")
    while request := watch.next_request():
        report, *streams = request.pop("fds")
        wall_s = request.pop("wall_s")
        watch.begin(request | {"limits": limits.of_a_run()}, streams)
        status = watch.until_over(wall_s)
        watch.finish(status)
        _write(report, watch.verdict(status) | {"last": watch.gone})
        os.close(report)
    watch.end()
    _remove_if_orphaned(folder)


def _remove_if_orphaned(folder: str) -> None:
    """Remove the sandbox's folder, if pytest died and nobody else will."""
    from pytest_rltask.sandbox.watcher.removal import (  # here, since the agent need not wait for it
        is_orphaned,
        remove_tree,
    )

    if is_orphaned(folder):
        remove_tree(folder)


def _start(command: Sequence[str], limits: dict[str, list[int]], fds: Sequence[tuple[int, int]] = ()) -> int:
    """Start the command in a session of its own, under limits that it hands down; return its process id."""
    prctl = _load_prctl()
    prctl(_SET_CHILD_SUBREAPER, 1)
    agent = os.fork()
    if agent == 0:
        prctl(_SET_PDEATHSIG, SIGKILL)  # in case somebody kills the watcher
        prctl(_SET_NO_NEW_PRIVS, 1)  # a setuid program could not be killed by us
        os.setsid()
        _take_signals()
        # The watcher must get the CPU to stop a fork bomb; much more would starve honest work on a busy machine.
        os.nice(5)
        for ours, theirs in fds:
            os.dup2(ours, theirs)
            os.set_inheritable(theirs, True)
        for name, limit in limits.items():
            _set_limit(getattr(resource, name), *limit)
        if LINUX:
            _be_the_first_to_go()
        os.execv(command[0], list(command))
    return agent


def _load_prctl() -> Callable[[int, int], object]:
    if not LINUX:
        return lambda option, value: None
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def prctl(option: int, value: int) -> None:
        if libc.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))) != 0:
            raise OSError(ctypes.get_errno(), f"prctl {option}")

    return prctl


def _take_signals() -> None:
    """Let the agent's programs be signalled as anywhere: in the background, or by nohup, pytest ignores some."""
    if LINUX:
        import ctypes

        libc = ctypes.CDLL(None)
        libc.signal.argtypes, libc.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
        for number in _IGNORED_IN_THE_BACKGROUND:
            libc.signal(number, None)  # SIG_DFL


def _be_the_first_to_go() -> None:
    """Have the kernel choose this process and its children before ours when memory runs out."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass  # a /proc mounted read-only: the kernel then chooses its victim without our advice


def _set_limit(which: int, soft: int, hard: int) -> None:
    ceiling = resource.getrlimit(which)[1]
    if ceiling != resource.RLIM_INFINITY:
        soft, hard = min(soft, ceiling), min(hard, ceiling)
    resource.setrlimit(which, (soft, hard))


def _write(fd: int, message: dict[str, object]) -> None:
    import json  # here, since the agent need not wait for it

    try:  # noqa: SIM105
        os.write(fd, json.dumps(message).encode() + b"\n")
    except BrokenPipeError:
        pass  # pytest is dead: nobody is left to be told


if __name__ == "__main__":
    main(*sys.argv[1:])
