"""Isolation by a Docker container, one for each sandbox: it has no network, and starts when a first run does.

What file system it has (``roots``) is this machine's system, interpreter and packages, or an image of the author's; it
is read-only. Its first process (``container``) connects to a socket of ours, and gets over it the descriptors of each
watcher that it shall start. So the watcher is in there with the agent, and limits, kills and preloaded interpreters are
what they are everywhere. That takes a daemon which runs on our own kernel and sees our files: not one in a virtual
machine, as on a Mac, nor one elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import socket
import subprocess
import sys
import threading
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_rltask.clock import monotonic_s
from pytest_rltask.sandbox.backends import seccomp
from pytest_rltask.sandbox.backends.backend import WORK, Plain, WatcherProcess, WatcherStart, Wish
from pytest_rltask.sandbox.backends.client import BARE, LOOK_S
from pytest_rltask.sandbox.backends.client import docker as _docker
from pytest_rltask.sandbox.backends.confinement import confined
from pytest_rltask.sandbox.backends.container import PYTEST, WATCHER
from pytest_rltask.sandbox.backends.mounts import of_sandbox
from pytest_rltask.sandbox.backends.own_user import fresh_user, hand_over, write_passwd
from pytest_rltask.sandbox.backends.roots import REPOSITORY, Root, contain, root_of
from pytest_rltask.sandbox.backends.view import View
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits

_MEETING, _SOCKET = "/run/rltask", "socket"
"""Where the container finds our socket."""
_CAPABILITIES = ("SETUID", "SETGID", "SETPCAP", "KILL", "DAC_READ_SEARCH", "SYS_PTRACE")
"""What the watcher needs to let go of its rights, and to count and kill what another user has; the agent gets none."""
_OWN_PROCESSES = 8
_DOOR = "door"
_RUN_S, _START_S, _END_S = 60.0, 30.0, 10.0


class Docker(Plain):
    """Isolates one sandbox by a container.

    Raises:
        SandboxError: there is no Docker that could.
    """

    name = "docker"
    confirms = True

    def __init__(self, view: View) -> None:
        if sys.platform != "linux":
            raise SandboxError("its containers share no kernel with this machine, which is not Linux")
        self._root = root_of(view)
        self.owner = fresh_user()
        self._uid = os.getuid() if self.owner is None else self.owner
        self._container: _Container | None = None

    def prepare(self, base: Path, limits: SandboxLimits) -> None:
        """Give the agent its folders, and a user database that knows nobody else but those of an author's image."""
        write_passwd(base, self._uid, others=self._root.users)
        hand_over(base, self.owner)
        (base / _DOOR).mkdir(mode=0o700)
        self._root.prepare(base)
        self._base, self._limits = base, limits

    def environment(self, base: Path) -> dict[str, str]:
        """Return the variables of an author's image."""
        return dict(self._root.env)

    def wrap(self, command: Sequence[str], *, base: Path, wish: Wish) -> Sequence[str]:
        """Return the command line of a program that gives up its rights and becomes the command, in the container."""
        *before, python = self._root.start
        inner = confined(
            command,
            folder=str(base / WORK),
            python=python,
            uid=self._uid,
            seccomp=seccomp.program(os.uname().machine, gaps=()),
            imports=self._root.imports,
            wish=wish,
        )
        return [*before, *inner]

    def start_watcher(self, asked: WatcherStart) -> WatcherProcess:
        """Have the container start it; make the container first if there is none."""
        if self._container is None or self._container.has_ended:
            self.close()
            self._container = _Container(self._options(), self._root, self._base / _DOOR)
        streams = (asked.stdin, *asked.streams)
        given = {number: fd for number, fd in enumerate(streams) if fd != subprocess.DEVNULL}
        given |= {fd: fd for fd in asked.pass_fds}
        # What an image sets for its own loader is not for ours; the commands that are forked get it all the same.
        env = {
            name: value for name, value in asked.env.items() if not (name.startswith("LD_") and name in self._root.env)
        }
        wanted = {
            "arguments": list(asked.arguments),
            "cwd": str(asked.cwd),
            "env": env,
            "fds": list(given),
            "counts_users_tasks": self.owner is not None,  # in there it could not see what else our own user runs
        }
        return self._container.start(wanted, list(given.values()))

    def close(self) -> None:
        """Remove the container."""
        if self._container:
            self._container.end()

    def _options(self) -> list[str]:
        # No limit on memory: a container that is out of it may lose its watcher, and with it the agent's guilt.
        processes = 4 * math.ceil(self._limits.processes) + _OWN_PROCESSES
        return [
            *BARE,
            *(word for name in _CAPABILITIES for word in ("--cap-add", name)),
            *("--pids-limit", str(processes)),  # behind the watcher's own limit, for what happens between two looks
            *of_sandbox(self._base, _DOOR, _MEETING),
            *self._root.options(self._base),
        ]


class _Container:
    """A running container, and our connection to its first process.

    Raises:
        SandboxError: it could not be started.
    """

    def __init__(self, options: Sequence[str], root: Root, door: Path) -> None:
        command = [*root.start, "-I", "-S", "-c", contain(f"{_MEETING}/{_SOCKET}")]
        self._lock, self._is_over = threading.Lock(), False
        self._name = f"{REPOSITORY}-{uuid.uuid4().hex}"
        named = ("--name", self._name, "--label", REPOSITORY)
        words: list[str] = ["--detach", "--rm", "--pull", "never", *named, *options, "--entrypoint", command[0]]
        try:
            with _listening(door) as listener:
                _docker("run", *words, root.image, *command[1:], wait_s=_RUN_S)
                self._control = self._accepted(listener)
            with contextlib.suppress(AttributeError, OSError):  # Linux before 5.3 has none; then the socket must do
                ourselves = os.pidfd_open(os.getpid())
                try:
                    socket.send_fds(self._control, [PYTEST], [ourselves])
                finally:
                    os.close(ourselves)
        except BaseException:
            self._remove()
            raise

    def start(self, wanted: Mapping[str, object], fds: Sequence[int]) -> WatcherProcess:
        """Start a watcher in it; for ``wanted`` see ``container``."""
        watched, alive = os.pipe()
        process = _Contained(watched, self)
        try:
            with open(os.memfd_create(REPOSITORY), "wb") as request:  # not on a disk, which an agent may have filled
                request.write(json.dumps(wanted).encode())
                request.flush()
                os.lseek(request.fileno(), 0, os.SEEK_SET)
                socket.send_fds(self._control, [WATCHER], [request.fileno(), alive, *fds])
        except OSError as error:
            self.end()
            raise SandboxError(f"the sandbox's container is gone: {error}") from error
        finally:
            os.close(alive)
        return process

    @property
    def has_ended(self) -> bool:
        """Whether nothing runs in it any more: its first process never says anything until it hangs up."""
        return self._is_over or _has_news(self._control, 0)

    def end(self) -> None:
        """Kill all that runs in it, and wait until that is dead; harmless when called again, from any thread."""
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            with self._control, contextlib.suppress(OSError):
                self._control.shutdown(socket.SHUT_WR)
                self._control.settimeout(_END_S)
                if self._control.recv(1) == b"":
                    return
            self._remove()

    def _accepted(self, listener: socket.socket) -> socket.socket:
        """Wait for the container's first process to connect."""
        deadline = monotonic_s() + _START_S
        is_running = True
        while is_running and monotonic_s() < deadline:
            if _has_news(listener, LOOK_S):
                return listener.accept()[0]
            is_running = self._runs()
        raise SandboxError(
            "its container does not reach us: the daemon must run on this machine itself, without a virtual machine"
        )

    def _runs(self) -> bool:
        with contextlib.suppress(SandboxError):
            return _docker("inspect", "--format", "{{.State.Running}}", self._name) == "true"
        return False

    def _remove(self) -> None:
        with contextlib.suppress(SandboxError):
            _docker("rm", "--force", self._name)


class _Contained:
    """A watcher in a container."""

    def __init__(self, alive: int, container: _Container) -> None:
        self._alive, self._container = alive, container
        weakref.finalize(self, os.close, alive)

    def ends_within(self, wait_s: float) -> bool:
        return _has_news(self._alive, wait_s)

    def kill(self) -> None:
        self._container.end()


def _has_news(fd: int | socket.socket, wait_s: float) -> bool:
    """Wait until there is something to receive, or the other side has hung up, and say whether there is."""
    poller = select.poll()  # select() takes no descriptor above 1023
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(1000 * wait_s))


@contextlib.contextmanager
def _listening(door: Path) -> Iterator[socket.socket]:
    """Listen in a folder, however long its path: that of a socket may have 107 bytes."""
    folder = os.open(door, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    path = f"/proc/self/fd/{folder}/{_SOCKET}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(path)
            try:
                os.chmod(path, 0o666)  # root in the container has no right to write to what is another's
                listener.listen(1)
                yield listener
            finally:
                os.unlink(path)
    finally:
        os.close(folder)
