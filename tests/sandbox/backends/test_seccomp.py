"""The filter, run by a small interpreter of its instructions, for machines that are not at hand as well."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pytest_rltask.sandbox.backends import seatbelt, seccomp
from pytest_rltask.sandbox.backends.view import view_of_python

ALL: tuple[seccomp.Gap, ...] = ("sockets", "processes", "signals", "events", "metadata", "truncate")
ALLOWED, KILLED = 0x7FFF_0000, 0x8000_0000
ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
CALLS = {
    "x86_64": {"read": 0, "ptrace": 101, "clone": 56, "socket": 41, "socketpair": 53, "kill": 62, "chmod": 91}
    | {"utimensat": 280, "setpriority": 141, "ioprio_set": 251, "sched_setaffinity": 203, "ioctl": 16}
    | {"inotify_add_watch": 254, "close_range": 436},
    "aarch64": {"read": 63, "ptrace": 117, "clone": 220, "socket": 198, "socketpair": 199, "kill": 129, "chmod": 52}
    | {"utimensat": 88, "setpriority": 140, "ioprio_set": 30, "sched_setaffinity": 122, "ioctl": 29}
    | {"inotify_add_watch": 27, "close_range": 436},
}
FDCWD, ADDRESS = -100 & 0xFFFF_FFFF, 0x7FFF_1234_0000_0000
"""The folder that a relative path starts from, and an address whose low half is zero."""


def verdict(program: list[seccomp.Instruction], arch: int, number: int, *arguments: int) -> int:
    """Return what the filter says of a call."""
    data = {0: number, 4: arch} | {16 + 8 * place: value & 0xFFFF_FFFF for place, value in enumerate(arguments)}
    data |= {20 + 8 * place: value >> 32 & 0xFFFF_FFFF for place, value in enumerate(arguments)}
    accumulator, place = 0, 0
    while True:
        code, if_true, if_false, k = program[place]
        k &= 0xFFFF_FFFF
        place += 1
        match code:
            case 0x20:
                accumulator = data.get(k, 0)
            case 0x54:
                accumulator &= k
            case 0x06:
                return k
            case _:
                holds = {0x15: accumulator == k, 0x35: accumulator >= k, 0x45: bool(accumulator & k)}[code]
                place += if_true if holds else if_false


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("call", "arguments", "gaps", "expected"),
    [
        ("read", (3,), ALL, None),
        ("ptrace", (), (), errno.EPERM),
        ("clone", (0x11,), (), None),
        ("clone", (0x1000_0011,), (), errno.EPERM),
        ("clone", (0x3D_0F00,), (), None),  # as pthread_create calls it
        ("clone", (0x3D_0B00,), (), errno.EPERM),  # a thread with descriptors of its own
        ("close_range", (3, 9, 0), (), None),
        ("close_range", (3, 9, 2), (), errno.EINVAL),
        ("socket", (1, 1), (), None),
        ("socket", (2, 1), (), errno.EAFNOSUPPORT),
        ("socket", (1, 1), ALL, errno.EAFNOSUPPORT),
        ("socketpair", (1, 0o2000001), ALL, None),
        ("socketpair", (1, 5), ALL, None),
        ("socketpair", (1, 2), ALL, errno.EPERM),
        ("socketpair", (1, 3), ALL, errno.EPERM),
        ("kill", (77, 9), ("processes",), None),
        ("kill", (77, 9), ALL, errno.EPERM),
        ("kill", (-77, 9), ALL, errno.EPERM),
        ("kill", (seccomp.PARENT, 9), ALL, errno.EPERM),
        ("kill", (-1, 9), ALL, errno.EPERM),
        ("kill", (78, 9), ALL, None),
        ("chmod", (3,), (), None),
        ("chmod", (3,), ALL, 0),
        ("utimensat", (FDCWD, 1, 0), (), None),
        ("utimensat", (FDCWD, 1, 0), ALL, errno.EPERM),
        ("utimensat", (FDCWD, ADDRESS, 0), ALL, errno.EPERM),
        ("utimensat", (3, 0, 0), ALL, 0),
        ("utimensat", (FDCWD, 1, ADDRESS), ALL, 0),
        ("utimensat", (FDCWD, 1, ADDRESS + 16), ALL, 0),
        ("setpriority", (0, 0, 5), ALL, None),
        ("setpriority", (0, 77, 5), ALL, errno.EPERM),
        ("setpriority", (2, 0, 5), ALL, errno.EPERM),
        ("setpriority", (2, 0, 5), (), None),
        ("ioprio_set", (1, 0, 3), ALL, None),
        ("ioprio_set", (3, 0, 3), ALL, errno.EPERM),
        ("sched_setaffinity", (0, 8, 1), ALL, None),
        ("sched_setaffinity", (77, 8, 1), ALL, 0),
        ("ioctl", (1, 0x5401), ALL, None),  # TCGETS, by which a program asks whether it writes to a terminal
        ("ioctl", (1, 0x4008_6602), ALL, errno.ENOTTY),  # FS_IOC_SETFLAGS
        ("ioctl", (1, 0x5000_9401), ALL, errno.ENOTTY),  # BTRFS_IOC_SNAP_CREATE
        ("ioctl", (1, 0x8901), ALL, errno.EPERM),
        ("ioctl", (1, 0x8901), (), None),
        ("inotify_add_watch", (3, 1, 2), ("events",), errno.EPERM),
    ],
)
def test_the_filter(
    machine: str, call: str, arguments: tuple[int, ...], gaps: tuple[seccomp.Gap, ...], expected: int | None
) -> None:
    program = seccomp.program(machine, gaps, protected=[77, seccomp.PARENT])

    said = verdict(program, ARCH[machine], CALLS[machine][call], *arguments)

    assert said == (ALLOWED if expected is None else 0x0005_0000 | expected)


FORBIDDEN = {
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "setns": (308, 268),
    "mount": (165, 40),
    "chroot": (161, 51),
    "open_by_handle_at": (304, 265),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
    "clone3": (435, 435),
}
"""Numbers from the kernel's headers, on x86_64 and aarch64."""


@pytest.mark.parametrize("call", FORBIDDEN)
def test_calls_that_something_else_refuses_here_too_are_refused_by_the_filter(call: str) -> None:
    for machine, number in zip(("x86_64", "aarch64"), FORBIDDEN[call], strict=True):
        assert verdict(seccomp.program(machine, ()), ARCH[machine], number) & 0xFFFF_0000 == 0x0005_0000


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_calls_of_another_architecture_kill(machine: str) -> None:
    assert verdict(seccomp.program(machine, ()), 0x4000_0003, 0) == KILLED


def test_the_profile_for_macos_names_the_folders(tmp_path: Path) -> None:
    """It has never been run; this much can be said of it anywhere."""
    profile = seatbelt.profile(tmp_path, view_of_python())

    assert profile.startswith("(version 1)\n(deny default)\n")
    assert f'(subpath "{os.path.realpath(tmp_path / "work")}")' in profile
    assert profile.count("(") == profile.count(")")
    assert "(deny network*)" in profile
