"""Isolation by Landlock and seccomp, which any process may apply to itself: it works in an unprivileged container.

The agent stays in the machine's namespaces, but can open only what is listed, reach no socket, and neither see nor
signal the processes around it. What the kernel's version of Landlock does not cover yet, seccomp denies. It is
stricter than bwrap where it cannot be finer: no /dev/shm, no sockets but connected pairs, and of /proc what belongs
to the process that was started, not to its children: a rule names a process that exists, and can only be given up.

A preloaded interpreter is no process of the agent's, and may read all of /proc. Each run that is forked from it adds
a ruleset of its own, which grants the same but of /proc only itself.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_rltask.sandbox.backends import seccomp
from pytest_rltask.sandbox.backends.backend import SCRATCH, WORK, OnThisMachine, Ruleset, Wish
from pytest_rltask.sandbox.backends.confinement import confined
from pytest_rltask.sandbox.backends.imports import is_inside
from pytest_rltask.sandbox.backends.own_user import fresh_user, hand_over
from pytest_rltask.sandbox.backends.view import View, is_public
from pytest_rltask.sandbox.inside import source
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits

# linux/landlock.h: rights on what lies below a path
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK, _REFER, _TRUNCATE, _IOCTL_DEV = 1 << 6, 1 << 11, 1 << 13, 1 << 14, 1 << 15
_OF_ABI = {1: _REFER - 1, 2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
"""The rights that each version of the interface added."""
_NETWORK, _NETWORK_ABI = 0b11, 4  # bind and connect of TCP
_SCOPES, _SCOPES_ABI = 0b11, 6  # abstract sockets, signals
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_READ = _EXECUTE | _READ_FILE | _READ_DIR
_WORK = ((1 << 15) - 1) & ~(_MAKE_CHAR | _MAKE_BLOCK)
_DEVICES = {"/dev/null": _READ_FILE | _WRITE_FILE, "/dev/zero": _READ_FILE}
_DEVICES |= dict.fromkeys(("/dev/random", "/dev/urandom"), _READ_FILE)
_KERNEL = (
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/sys/vm/overcommit_memory"),
    "/sys/devices/system/cpu",
    *("/sys/fs/cgroup/cpu.max", "/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
)
_LISTED = ("/sys/bus/pci/devices", "/sys/class/drm", "/sys/class/accel")
"""Where onnxruntime looks for GPUs, and complains if it cannot."""
_OURSELVES, _EVERYBODY = "/proc/self", "/proc"
_PYTHON = "python"
"""Our folder in the sandbox's, with what each Python runs first."""
_PROGRAMS, _MOST_STARTERS = "programs", 200
"""Another one, with what starts the programs of a closed folder."""

_DIFFERENCES = (
    "There are no sockets but connected pairs, so no servers and no multiprocessing.Manager.",
    "Files can be written in the working directory and below tempfile.gettempdir(); /tmp and /dev/shm are closed.",
    "A process that your script starts cannot read its own /proc/self, and none can list processes.",
)
_METADATA = "chmod, and setting a file's times, are accepted without effect."

_CREATE_RULESET, _ASK_FOR_VERSION = 444, 1
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


class Landlock(OnThisMachine):
    """Isolates one sandbox by Landlock and seccomp.

    Raises:
        SandboxError: the kernel does not offer it.
    """

    name = "landlock"
    confirms = True

    def __init__(self, view: View) -> None:
        self._abi = offered_abi()
        if self._abi < 1 or os.uname().machine not in seccomp.MACHINES:
            raise SandboxError(
                "this kernel offers no Landlock, which Linux has from 5.13 on, unless it is switched off"
            )
        self.owner = fresh_user()
        self._view = view

    def prepare(self, base: Path, limits: SandboxLimits) -> None:
        """Give the agent its folders, and let it pass through the one above them."""
        if self.owner is not None:
            base.chmod(0o711)
        hand_over(base, self.owner)
        folder = base / _PYTHON
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(_substitutes(" ".join(self.differences)), encoding="utf-8")
        for path in (folder, *folder.iterdir()):
            path.chmod(0o755 if path is folder else 0o644)
        if self.owner is not None and not self._view.is_public:
            _write_starters(base / _PROGRAMS, self._view.python)

    def environment(self, base: Path) -> dict[str, str]:
        """Have each Python begin with our substitutes, and be found where its folder is closed to the agent's user."""
        own, programs = {"PYTHONPATH": str(base / _PYTHON)}, base / _PROGRAMS
        if programs.exists():
            own["PATH"] = f"{programs}:{os.path.dirname(self._view.python)}:/usr/bin:/bin"
        return own

    @property
    def differences(self) -> tuple[str, ...]:
        """What honest code may miss."""
        of_files = () if self.owner is not None else (_METADATA,)
        return (*_DIFFERENCES, *of_files)

    def wrap(self, command: Sequence[str], *, base: Path, wish: Wish) -> Sequence[str]:
        """Return the command line of a program that restricts itself and then becomes the command."""
        return confined(
            command,
            folder=str(base / WORK),
            python=self._view.python,
            uid=self.owner,
            capability=None if self.owner is None else _needed_capability(base, self._view),
            landlock=self._ruleset(base, processes=_EVERYBODY if wish.forks_runs else _OURSELVES),
            seccomp=seccomp.program(os.uname().machine, self._gaps(), _protected()),
            wish=wish,
        )

    def narrowing(self, base: Path) -> Ruleset:
        """Return the ruleset that a run adds."""
        return self._ruleset(base, processes=_OURSELVES)

    def _ruleset(self, base: Path, *, processes: str) -> Ruleset:
        files = sum(rights for since, rights in _OF_ABI.items() if since <= self._abi)
        network = _NETWORK if self._abi >= _NETWORK_ABI else 0
        scopes = _SCOPES if self._abi >= _SCOPES_ABI else 0
        granted = {str(base / name): _WORK for name in (WORK, SCRATCH)} | _system(self._view)
        granted |= {str(base / _PYTHON): _READ, processes: _READ_FILE | _READ_DIR}
        if (base / _PROGRAMS).exists():
            granted[str(base / _PROGRAMS)] = _READ
        return (files, network, scopes), [(path, rights & files) for path, rights in granted.items()]

    def _gaps(self) -> set[seccomp.Gap]:
        gaps: set[seccomp.Gap] = {"sockets", "processes", "events"}
        if self._abi < 3:
            gaps.add("truncate")
        if self.owner is None:  # nothing on the machine belongs to a user of its own
            gaps.add("metadata")
            if self._abi < _SCOPES_ABI:
                gaps.add("signals")
        return gaps


@functools.cache
def offered_abi() -> int:
    """Return the kernel's version of the interface; 0 or less if it has none."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        return int(libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_ASK_FOR_VERSION)))
    except (OSError, AttributeError):
        return 0


@functools.cache
def _system(view: View) -> dict[str, int]:
    """Return what may be read everywhere, with the rights to it."""
    rights = dict(_readable(view)) | _DEVICES
    rights |= {path: (_READ_FILE | _READ_DIR) & _suitable(path) for path in _KERNEL}
    return rights | dict.fromkeys(_LISTED, _READ_DIR)


def _substitutes(notice: str) -> str:
    return f"{source('substitutes')}\n\ninstall({notice!r})\nrun_the_other_one()\n"


def _readable(view: View) -> Iterator[tuple[str, int]]:
    """Yield the readable paths; one that holds hidden folders can be listed, and is opened up to its other entries."""
    todo = list(view.readable)
    for path in todo:
        if path in view.hidden:
            continue
        if any(is_inside(hidden, path) for hidden in view.hidden):
            yield path, _READ_DIR
            entries = [os.path.join(path, name) for name in os.listdir(path)]
            todo += [entry for entry in entries if not os.path.islink(entry)]  # where it leads is listed, or is hidden
        elif os.path.exists(path):
            yield path, _READ & _suitable(path)


def _write_starters(folder: Path, python: str) -> None:
    """Write programs that start those beside an interpreter.

    Whoever asks for a program by access(2), as bash and ``shutil.which`` do, is told that there is none in a closed
    folder, such as /root, although it could be started: it would find the machine's Python instead.
    """
    folder.mkdir()
    folder.chmod(0o755)
    where = os.path.dirname(python)
    for name in sorted(os.listdir(where))[:_MOST_STARTERS]:
        path = os.path.join(where, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            starter = folder / name
            starter.write_text(f'#!/bin/sh\nexec {shlex.quote(path)} "$@"\n', errors="surrogateescape")
            starter.chmod(0o755)


def _suitable(path: str) -> int:
    """Return the rights that apply to what a path is: the kernel refuses others."""
    return ~0 if os.path.isdir(path) else _OF_FILES


def _needed_capability(base: Path, view: View) -> int | None:
    """Return the capability without which a user of their own could not reach the interpreter or the sandbox.

    It is needed when they lie in a closed folder such as /root. What it lets pass, Landlock still bounds.
    """
    if view.is_public and is_public(str(base)):
        return None
    with open("/proc/self/status") as file:
        effective = next(int(line.split()[1], 16) for line in file if line.startswith("CapEff:"))
    return _DAC_READ_SEARCH if effective >> _DAC_READ_SEARCH & 1 else _DAC_OVERRIDE


def _protected() -> list[int]:
    """Return the processes above the agent, from its parent up, and the group we are in."""
    pids, pid = [seccomp.PARENT, os.getpgrp()], os.getpid()
    while pid > 0:
        pids.append(pid)
        with open(f"/proc/{pid}/stat") as file:
            pid = int(file.read().rpartition(")")[2].split()[1])
    return sorted(set(pids))
