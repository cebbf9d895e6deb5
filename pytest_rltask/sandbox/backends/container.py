"""The first process of a sandbox's container (``docker``): starts watchers in there, as pytest asks for them.

It connects to a socket of pytest's, over which each request comes with the descriptors that the watcher shall have.
When pytest hangs up or dies, or a watcher is killed, it kills everything in the container and ends, and the container
with it.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import socket
from collections.abc import Sequence

from pytest_rltask.sandbox.watcher import launcher

PYTEST, WATCHER = b"p", b"w"
"""The messages: with a descriptor of pytest's process, and with what a watcher shall have."""
_MOST_FDS = 16


def contain(path: str) -> None:
    """Start watchers until pytest, at the socket of this path, hangs up.

    Raises:
        RuntimeError: this is no process 1, and would kill the machine's processes in the end.
    """
    if os.getpid() != 1:
        raise RuntimeError("this is not the first process of a container")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # descriptors keep the numbers that they have outside
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as control:
        control.connect(path)
        try:
            _serve(control)
        finally:
            _kill_all()


def _serve(control: socket.socket) -> None:
    ended, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.set_wakeup_fd(wakes)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poller = select.poll()
    for source in (control, ended):
        poller.register(source, select.POLLIN)
    watchers: set[int] = set()
    while True:
        ready = {fd for fd, _ in poller.poll()}
        if ended in ready:
            os.read(ended, 4096)
            if _lost(watchers):
                return  # what it watched may live
        if control.fileno() in ready:
            message, fds, _, _ = socket.recv_fds(control, 1, _MOST_FDS, socket.MSG_CMSG_CLOEXEC)
            if message == PYTEST:
                poller.register(fds[0], select.POLLIN)
            elif message == WATCHER:
                watchers.add(_started(control, fds))
            else:
                return
        elif ready != {ended}:
            return  # pytest is dead; one that it forked may still hold the socket


def _lost(watchers: set[int]) -> bool:
    """Collect the dead, and say whether a watcher among them was killed."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return False
        if pid in watchers and os.WIFSIGNALED(status):
            return True
        watchers.discard(pid)


def _started(control: socket.socket, fds: Sequence[int]) -> int:
    """Start a watcher, and return its process."""
    pid = os.fork()
    if pid == 0:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        control.close()
        _become_watcher(*fds)
    for fd in fds:
        os.close(fd)
    return pid


def _become_watcher(request: int, alive: int, *given: int) -> None:
    """Turn this process into the watcher that was asked for.

    Args:
        request: Descriptor of a file with its arguments, environment, directory and descriptors' numbers.
        alive: Held open until it ends.
        given: What it is to find at those numbers.
    """
    try:
        with open(request, "rb") as file:
            wanted = json.load(file)
        os.setsid()
        _place([alive, *given], wanted["fds"])
        os.chdir(wanted["cwd"])
        os.environ.clear()
        os.environ.update(wanted["env"])
        launcher.main(*wanted["arguments"], counts_users_tasks=wanted["counts_users_tasks"])
    except BaseException as error:
        os.write(2, f"rltask: the sandbox cannot start: {type(error).__name__}: {error}\n".encode())
    finally:
        os._exit(1)  # its report says how it ended


def _place(fds: Sequence[int], numbers: Sequence[int]) -> None:
    """Move descriptors out of the way, and all but the first to their numbers; the standard ones default to null."""
    above = max([2, *numbers, *fds]) + 1
    _, *given = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above) for fd in fds]
    for fd in fds:
        os.close(fd)
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    for fd, number in zip(given, numbers, strict=True):
        os.dup2(fd, number)
        os.close(fd)
    if null > 2 and null not in numbers:
        os.close(null)


def _kill_all() -> None:
    """Kill all processes of the container but this one, and wait until they are gone."""
    try:
        os.kill(-1, signal.SIGKILL)
        while True:
            os.wait()
    except (ProcessLookupError, ChildProcessError):
        pass  # nobody is left
