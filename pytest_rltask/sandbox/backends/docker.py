"""Isolation by a Docker container, one for each sandbox: it has no network, and starts when a first run does.

The container has nothing of its own but links and the watcher's program; the system, this interpreter and its
packages are mounted into it read-only, at their own paths. Its first process (``container``) connects to a socket of
ours, and gets over it the descriptors of each watcher that it shall start. So the watcher is in there with the agent,
and limits, kills and preloaded interpreters are what they are everywhere. That takes a daemon which runs on our own
kernel and sees our files: not one in a virtual machine, as on a Mac, nor one elsewhere.
"""

from __future__ import annotations

import contextlib
import csv
import functools
import hashlib
import io
import json
import math
import os
import re
import select
import shutil
import socket
import subprocess
import sys
import tarfile
import threading
import uuid
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_rltask.clock import monotonic_s
from pytest_rltask.sandbox.backends import container, seccomp
from pytest_rltask.sandbox.backends.backend import SCRATCH, WORK, Plain, WatcherProcess, WatcherStart, Wish
from pytest_rltask.sandbox.backends.confinement import confined
from pytest_rltask.sandbox.backends.container import PYTEST, WATCHER
from pytest_rltask.sandbox.backends.imports import is_inside
from pytest_rltask.sandbox.backends.own_user import PASSWD, fresh_user, hand_over, write_passwd
from pytest_rltask.sandbox.backends.view import View
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits
from pytest_rltask.sandbox.watcher import launcher

_REPOSITORY = "pytest-rltask-sandbox"
_PROGRAMS = "/rltask"
"""Where the image has the watcher's program, for root alone."""
_PACKAGES = ("pytest_rltask", "pytest_rltask.sandbox", container.__package__, launcher.__package__)
"""What the image has of us: these are empty but for the container's program, and the folder of the watcher's."""
_MEETING, _SOCKET = "/run/rltask", "socket"
"""Where the container finds our socket."""
_CONTAIN = f"import sys; sys.path.insert(0, {_PROGRAMS!r})\nfrom {container.__name__} import contain"
_CAPABILITIES = ("SETUID", "SETGID", "SETPCAP", "KILL", "DAC_READ_SEARCH", "SYS_PTRACE")
"""What the watcher needs to let go of its rights, and to count and kill what another user has; the agent gets none."""
_TEMPORARY = {"/tmp": ("exec", 64 * 2**20), "/dev/shm": ("noexec", 256 * 2**20)}
_INODES = 16384
"""Folders in memory, with their sizes in bytes; an inode takes memory too, which is no process's."""
_OWN_PROCESSES = 8
_DOOR = "door"
_RUN_S, _CALL_S, _START_S, _END_S, _LOOK_S = 60.0, 20.0, 30.0, 10.0, 0.5


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
        self._view = view
        self._image = _image(self._view)
        self.owner = fresh_user()
        self._uid = os.getuid() if self.owner is None else self.owner
        self._container: _Container | None = None

    def prepare(self, base: Path, limits: SandboxLimits) -> None:
        """Give the agent its folders, and a user database that knows nobody else."""
        write_passwd(base, self._uid)
        hand_over(base, self.owner)
        (base / _DOOR).mkdir(mode=0o700)
        self._base, self._limits = base, limits

    def wrap(self, command: Sequence[str], *, base: Path, wish: Wish) -> Sequence[str]:
        """Return the command line of a program that gives up its rights and becomes the command, in the container."""
        return confined(
            command,
            folder=str(base / WORK),
            python=self._view.python,
            uid=self._uid,
            seccomp=seccomp.program(os.uname().machine, gaps=()),
            wish=wish,
        )

    def start_watcher(self, asked: WatcherStart) -> WatcherProcess:
        """Have the container start it; make the container first if there is none."""
        if self._container is None or self._container.has_ended:
            self.close()
            self._container = _Container(self._options(), self._image, self._base / _DOOR, self._view.python)
        streams = (asked.stdin, *asked.streams)
        given = {number: fd for number, fd in enumerate(streams) if fd != subprocess.DEVNULL}
        given |= {fd: fd for fd in asked.pass_fds}
        wanted = {
            "arguments": list(asked.arguments),
            "cwd": str(asked.cwd),
            "env": dict(asked.env),
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
            *("--network", "none", "--ipc", "none", "--hostname", "sandbox", "--read-only", "--user", "0:0"),
            *("--cap-drop", "ALL", *(word for name in _CAPABILITIES for word in ("--cap-add", name))),
            *("--security-opt", "no-new-privileges", "--security-opt", "label=disable"),
            *("--pids-limit", str(processes)),  # behind the watcher's own limit, for what happens between two looks
            *("--dns", "127.0.0.1"),  # not the machine's, of which the container would be told
            *_mounts(self._base, self._view),
        ]


def _mounts(base: Path, view: View) -> Iterator[str]:
    """Yield the options that build the agent's file system."""
    for path, (programs, size) in _TEMPORARY.items():
        yield from ("--tmpfs", f"{path}:rw,{programs},nosuid,nodev,mode=1777,size={size},nr_inodes={_INODES}")
    # Before Docker 25 what is mounted below a read-only mount can be written to, unless it is mounted by itself.
    for path in (*view.readable, *(point for point in _mount_points() if _shows(view, point))):
        yield from _mount("bind", path, path, "readonly")
    for path in (*view.hidden, "/dev/mqueue"):
        yield from _mount("tmpfs", None, path, "tmpfs-mode=0755", "tmpfs-size=4096")
    yield from _mount("bind", str(base / PASSWD), "/etc/passwd", "readonly")
    yield from _mount("bind", str(base / _DOOR), _MEETING, "readonly")
    for name in (WORK, SCRATCH):
        yield from _mount("bind", str(base / name), str(base / name))


def _mount_points() -> set[str]:
    """Return where something is mounted on this machine."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        fields = [line.split(" ")[4] for line in file]
    return {re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field) for field in fields}


def _shows(view: View, path: str) -> bool:
    """Say whether a path lies below one that the agent may read, and not in a hidden one."""
    return (
        path not in view.readable
        and any(is_inside(path, folder) for folder in view.readable)
        and not any(is_inside(path, folder) for folder in view.hidden)
    )


def _mount(kind: str, source: str | None, target: str, *more: str) -> tuple[str, str]:
    """Return an option ``--mount``, whose fields are those of a line of CSV."""
    line = io.StringIO()
    fields = [f"type={kind}", *([] if source is None else [f"source={source}"]), f"target={target}", *more]
    csv.writer(line, lineterminator="").writerow(fields)
    return "--mount", line.getvalue()


class _Container:
    """A running container, and our connection to its first process.

    Raises:
        SandboxError: it could not be started.
    """

    def __init__(self, options: Sequence[str], image: str, door: Path, python: str) -> None:
        command = [python, "-I", "-S", "-c", f"{_CONTAIN}\ncontain('{_MEETING}/{_SOCKET}')"]
        self._lock, self._is_over = threading.Lock(), False
        self._name = f"{_REPOSITORY}-{uuid.uuid4().hex}"
        named = ("--name", self._name, "--label", _REPOSITORY)
        try:
            with _listening(door) as listener:
                _docker("run", "--detach", "--rm", "--pull", "never", *named, *options, image, *command, wait_s=_RUN_S)
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
            with open(os.memfd_create(_REPOSITORY), "wb") as request:  # not on a disk, which an agent may have filled
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
            if _has_news(listener, _LOOK_S):
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


@functools.cache
def _image(view: View) -> str:
    """Return the name of the image, made if it is not there: the name says what it holds.

    Raises:
        SandboxError: there is no Docker, or none that could isolate.
    """
    said = _docker("info", "--format", "{{.OSType}} {{.SecurityOptions}}")
    system = said.partition(" ")[0]
    if system != "linux":
        raise SandboxError(f"its daemon says {system!r} when asked for its system, not 'linux'")
    if "name=rootless" in said or "name=userns" in said:
        raise SandboxError("its daemon maps users (rootless or userns-remap), and the agent could not own its files")
    content = _content(view)
    name = f"{_REPOSITORY}:{hashlib.sha256(content).hexdigest()[:12]}"
    if not _docker("images", "--quiet", name):
        _docker("import", "-", name, given=content)
    return name


def _content(view: View) -> bytes:
    """Return the image's files as a tar archive, the same bytes for the same files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, real in view.aliases:
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.linkname = tarfile.SYMTYPE, real
            tar.addfile(entry)
        temporary = tarfile.TarInfo("tmp")  # else it would have the mode that Docker gives a mount's missing folder
        temporary.type, temporary.mode = tarfile.DIRTYPE, 0o1777
        tar.addfile(temporary)
        folders = [_PROGRAMS, *(f"{_PROGRAMS}/{package.replace('.', '/')}" for package in _PACKAGES)]
        for folder in folders:
            entry = tarfile.TarInfo(folder.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o700
            tar.addfile(entry)
        for path, source in (_programs() | {f"{folder}/__init__.py": b"" for folder in folders[1:]}).items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.mode, entry.size = 0o600, len(source)
            tar.addfile(entry, io.BytesIO(source))
    return archive.getvalue()


def _programs() -> dict[str, bytes]:
    """Return the sources of the container's program and of the watcher, by their paths in the image."""
    sources = [Path(container.__file__), *sorted(Path(launcher.__file__).parent.glob("[!_]*.py"))]
    ours = Path(container.__file__).parents[3]
    return {f"{_PROGRAMS}/{path.relative_to(ours)}": path.read_bytes() for path in sources}


def _docker(*words: str, given: bytes = b"", wait_s: float = _CALL_S) -> str:
    """Run a command of the client, and return what it prints.

    Raises:
        SandboxError: there is none, or it failed; with the last line that it said.
    """
    program = shutil.which("docker")
    if program is None:
        raise SandboxError("docker is not installed")
    pipe = subprocess.PIPE
    try:
        with subprocess.Popen(
            [program, *words], stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        ) as client:
            try:
                told, complaint = client.communicate(given, timeout=wait_s)
            except BaseException:
                with contextlib.suppress(subprocess.TimeoutExpired):  # killed in between it leaves half a container
                    client.wait(_LOOK_S)
                client.kill()
                raise
    except subprocess.TimeoutExpired:
        raise SandboxError(f"docker {words[0]} did not end within {wait_s:g} s") from None
    except OSError as error:
        raise SandboxError(f"docker {words[0]}: {error}") from error
    if client.returncode != 0:
        lines = complaint.decode("utf-8", "replace").splitlines()
        said = [line.strip() for line in lines if line.strip() and not line.startswith(("See 'docker", "Run 'docker"))]
        raise SandboxError(said[-1][:300] if said else f"docker {words[0]} failed")
    return told.decode("utf-8", "replace").strip()
