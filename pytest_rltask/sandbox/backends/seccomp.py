"""The system calls an agent may not make, as a BPF program for seccomp.

A list of denials, not of permissions: numerical libraries change their calls with every release, and whatever reads
or writes is bounded by the backend already. Denied is what reaches round it: other processes, mounts and namespaces,
kernel interfaces with a history of holes, and memory that no limit counts. What a backend cannot close by itself,
its *gaps*, is closed here as well. Another machine architecture than the kernel's own (32-bit calls) kills.

Numbers: asm/unistd_64.h for x86_64, asm-generic/unistd.h for aarch64; from 424 on they are the same.
"""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal

Gap = Literal["sockets", "processes", "signals", "events", "metadata", "truncate"]
"""What a backend leaves open.

sockets: sockets of the machine can be reached by a path. processes: the machine's processes can be named by their id.
signals: and signalled. events: what happens to files can be watched from outside their folder, and files that are
readable be changed by requests of their file system. metadata: mode, times and attributes of any file of the user can
be changed. truncate: files can be cut by their path.
"""

Instruction = tuple[int, int, int, int]
"""Code, the two jumps and the constant of a ``struct sock_filter``."""

PARENT = 0x7FFF_FFF0
"""Stands for the id of the process that starts the filtered one; above any process id."""

MACHINES = {"x86_64": (0, 0xC000_003E), "aarch64": (1, 0xC000_00B7)}
"""Column in the table below, and AUDIT_ARCH_*."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCH, _ARGUMENT, _HIGH = 0, 4, 16, 4
"""Offsets in ``struct seccomp_data``; of each argument the low half is compared, the high one lies behind it."""
_ALLOW, _KILL, _ERROR = 0x7FFF_0000, 0x8000_0000, 0x0005_0000
_X32_CALLS = 0x4000_0000
_NEW_NAMESPACES = 0x7E02_0000
_CLONE_FILES, _CLONE_THREAD, _CLOSE_RANGE_UNSHARE = 0x400, 0x1_0000, 2
_SIGNALS_OF_FILES = (8, 10, 15)
"""F_SETOWN, F_SETSIG and F_SETOWN_EX of fcntl: a file that is ready may send any process any signal."""
_LEASE = 1024
"""F_SETLEASE of fcntl: everybody else who opens the file, a package's for instance, would wait for the agent."""
_OWNERS_OF_SOCKETS = (0x8901, 0x8902)
"""FIOSETOWN and SIOCSPGRP of ioctl: the same for a socket."""
_OF_FILE_SYSTEMS = tuple(letter << 8 for letter in (0x94, 0xBC, *b"fXv"))
"""The groups of ioctl that change a file, or a folder, through a descriptor that only reads: attributes and versions
of files, and subvolumes of btrfs and bcachefs, which are planted without any right to make folders."""
_AF_UNIX, _SOCK_STREAM, _SOCK_SEQPACKET = 1, 1, 5

# name: number on x86_64, on aarch64; None where it does not exist.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    # other processes
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "process_mrelease": (448, 448),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    # namespaces and mounts
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    # the kernel's keys, programs, counters and traps
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "syslog": (103, 116),
    "personality": (135, 92),
    "modify_ldt": (154, None),
    "iopl": (172, None),
    "ioperm": (173, None),
    "uselib": (134, None),
    "vhangup": (153, 58),
    # the machine
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    # System V objects and queues: what they hold is no process's memory, and outlives all of them
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    "mq_open": (240, 180),
}
# "There is no such call", so that libraries take their other way: glibc makes threads by clone, whose flags a filter
# can read. Files without a name hold memory that no limit counts.
_MISSING: dict[str, tuple[int | None, int | None]] = {
    "clone3": (435, 435),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
}
_SIGNALS: dict[str, tuple[int | None, int | None]] = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
}
_CHANGES_OF_METADATA: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
}
# Positions of the times, which are a null pointer where they shall be now, and of the path.
_CHANGES_OF_TIMES: dict[str, tuple[int, int, tuple[int | None, int | None]]] = {
    "utime": (1, 0, (132, None)),
    "utimes": (1, 0, (235, None)),
    "futimesat": (2, 1, (261, None)),
    "utimensat": (2, 1, (280, 88)),
}
_CHANGES_OF_OWNER: dict[str, tuple[int | None, int | None]] = {
    "chown": (92, None),
    "fchown": (93, 55),
    "lchown": (94, None),
    "fchownat": (260, 54),
}
_CHANGES_OF_ATTRIBUTES: dict[str, tuple[int | None, int | None]] = {
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
}
# Those that name another process by an argument: its position, counted from 0.
_OF_A_PROCESS: dict[str, tuple[int, tuple[int | None, int | None]]] = {
    "prlimit64": (0, (302, 261)),
    "setpriority": (1, (141, 140)),
    "ioprio_set": (1, (251, 30)),
    "sched_setparam": (0, (142, 118)),
    "sched_setscheduler": (0, (144, 119)),
    "sched_setattr": (0, (314, 274)),
}
# Those whose first argument says what kind of thing that is, where 0 is the caller's own: the kind for a process, since
# the caller's own user has others.
_OF_ONE_PROCESS: dict[str, tuple[int, tuple[int | None, int | None]]] = {
    "setpriority": (0, (141, 140)),
    "ioprio_set": (1, (251, 30)),
}


def program(machine: str, gaps: Collection[Gap], protected: Sequence[int] = ()) -> list[Instruction]:
    """Return the filter.

    Args:
        machine: As ``os.uname`` names it.
        gaps: What the backend leaves open.
        protected: Ids of processes that may not be signalled where signals are a gap; PARENT may be among them.

    Raises:
        KeyError: there is no table for the machine.
    """
    column, arch = MACHINES[machine]

    def numbers(table: dict[str, tuple[int | None, int | None]]) -> Iterator[int]:
        return (number for of_machine in table.values() if (number := of_machine[column]) is not None)

    code: list[Instruction] = [(_LOAD, 0, 0, _ARCH), (_EQUAL, 1, 0, arch), _kill(), (_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32_CALLS), _kill()]
    code += _deny(numbers(_DENIED), errno.EPERM)
    code += _deny(numbers(_MISSING), errno.ENOSYS)
    # A thread shares its process's descriptors, by which the watcher counts what it holds.
    own_files = [(_ANY_BIT, 0, 2, _CLONE_THREAD), (_ANY_BIT, 1, 0, _CLONE_FILES), _refuse(errno.EPERM)]
    new_namespaces = [(_ANY_BIT, 0, 1, _NEW_NAMESPACES), _refuse(errno.EPERM)]
    code += _if_call((56, 220)[column], [_argument(0), *new_namespaces, *own_files])
    code += _if_call(436, [_argument(2), (_ANY_BIT, 0, 1, _CLOSE_RANGE_UNSHARE), _refuse(errno.EINVAL)])
    code += _if_call((72, 25)[column], [_argument(1), *_deny([_LEASE], errno.EPERM)])  # fcntl
    code += _sockets(column, reachable="sockets" in gaps)
    if "processes" in gaps:
        code += _deny([424], errno.EPERM)  # pidfd_send_signal
        for place, of_machine in _OF_A_PROCESS.values():
            code += _if_call(of_machine[column], [_argument(place), (_EQUAL, 1, 0, 0), _refuse(errno.EPERM)])
        for kind, of_machine in _OF_ONE_PROCESS.values():
            code += _if_call(of_machine[column], [_argument(0), (_EQUAL, 1, 0, kind), _refuse(errno.EPERM)])
        # Pretended success: libraries pin their own threads, whose ids nothing tells from those of other processes.
        code += _if_call((203, 122)[column], [_argument(0), (_EQUAL, 1, 0, 0), _refuse(0)])  # sched_setaffinity
    if "signals" in gaps:
        pids = [-1, *protected, *(-pid for pid in protected)]
        # Each match jumps to the refusal behind the last test, which is stepped over if that fails too.
        left = range(len(pids) - 1, -1, -1)
        tests = [(_EQUAL, after, int(after == 0), pid) for after, pid in zip(left, pids, strict=True)]
        for number in numbers(_SIGNALS):
            code += _if_call(number, [_argument(0), *tests, _refuse(errno.EPERM)])
        code += _if_call((72, 25)[column], [_argument(1), *_deny(_SIGNALS_OF_FILES, errno.EPERM)])  # fcntl
        code += _if_call((16, 29)[column], [_argument(1), *_deny(_OWNERS_OF_SOCKETS, errno.EPERM)])  # ioctl
    if "events" in gaps:
        code += _deny([(254, 27)[column]], errno.EPERM)  # inotify_add_watch
        groups = [_argument(1), (_AND, 0, 0, 0xFF00), *_deny(_OF_FILE_SYSTEMS, errno.ENOTTY)]
        code += _if_call((16, 29)[column], groups)  # ioctl
    if "metadata" in gaps:
        code += _deny(numbers(_CHANGES_OF_METADATA), 0)  # pretended success: honest code cares little, and goes on
        for times, path, of_machine in _CHANGES_OF_TIMES.values():
            code += _if_call(of_machine[column], _pretend_unless_now(times, path))
        code += _deny(numbers(_CHANGES_OF_OWNER), errno.EPERM)
        code += _deny(numbers(_CHANGES_OF_ATTRIBUTES), errno.EOPNOTSUPP)
    if "truncate" in gaps:
        code += _deny([(76, 45)[column]], errno.EPERM)
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _sockets(column: int, *, reachable: bool) -> list[Instruction]:
    """Return the rules for sockets: none but local ones, and where those reach out, none but connected pairs."""
    socket, pair = (41, 198)[column], (53, 199)[column]
    if not reachable:
        return _if_call(socket, [_argument(0), (_EQUAL, 1, 0, _AF_UNIX), _refuse(errno.EAFNOSUPPORT)])
    # One of a pair of datagram sockets can still be sent from, or connected, to any other.
    kinds = [(_EQUAL, 2, 0, _SOCK_STREAM), (_EQUAL, 1, 0, _SOCK_SEQPACKET), _refuse(errno.EPERM)]
    return [
        *_deny([socket], errno.EAFNOSUPPORT),
        *_deny([(42, 203)[column], (49, 200)[column]], errno.EPERM),  # connect, bind
        *_if_call(pair, [_argument(1), (_AND, 0, 0, 0xF), *kinds]),
    ]


def _pretend_unless_now(times: int, path: int) -> list[Instruction]:
    """Pretend success, but refuse to set the times of a path to now: ``touch`` would take it that the file exists.

    Without a path it is an open file, which does exist.
    """
    pretend = (_RETURN, 0, 0, _ERROR)
    low, high = _argument(path), (_LOAD, 0, 0, _ARGUMENT + 8 * path + _HIGH)
    unless_path = [low, (_EQUAL, 0, 3, 0), high, (_EQUAL, 0, 1, 0), pretend]
    low, high = _argument(times), (_LOAD, 0, 0, _ARGUMENT + 8 * times + _HIGH)
    return [*unless_path, low, (_EQUAL, 1, 0, 0), pretend, high, (_EQUAL, 1, 0, 0), pretend, _refuse(errno.EPERM)]


def _deny(numbers: Iterable[int], error: int) -> list[Instruction]:
    return [part for number in numbers for part in ((_EQUAL, 0, 1, number), _refuse(error))]


def _if_call(number: int | None, rules: list[Instruction]) -> list[Instruction]:
    """Apply rules to one call; who falls through them finds the call's number loaded again."""
    if number is None:
        return []
    return [(_EQUAL, 0, len(rules) + 1, number), *rules, (_LOAD, 0, 0, _NUMBER)]


def _argument(place: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENT + 8 * place)


def _refuse(error: int) -> Instruction:
    return (_RETURN, 0, 0, _ERROR | error)


def _kill() -> Instruction:
    return (_RETURN, 0, 0, _KILL)
