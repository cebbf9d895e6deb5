"""The last program before the agent's: gives up all rights that are left, then becomes the command it was given.

Its source goes to ``python -I -S -c``, so that nothing of this package need be visible where it runs; hence the
standard library only, and plain values as arguments. It becomes the sandbox's own user, drops all capabilities,
restricts itself by Landlock and seccomp, and closes all descriptors. It goes on only if every step succeeded.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Sequence

_SET_PDEATHSIG, _SET_KEEPCAPS, _SET_SECCOMP, _CAPBSET_DROP, _SET_NO_NEW_PRIVS, _CAP_AMBIENT = 1, 8, 22, 24, 38, 47
_AMBIENT_RAISE, _AMBIENT_CLEAR_ALL, _SECCOMP_MODE_FILTER, _CAPABILITY_VERSION_3 = 2, 4, 2, 0x2008_0522
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every machine
_RULE_PATH_BENEATH = 1
_SIGKILL, _SIGPIPE = 9, 13
_FAILED = 125

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def main(
    command: list[str],
    *,
    folder: str,
    uid: int | None = None,
    capability: int | None = None,
    landlock: tuple[tuple[int, int, int], Sequence[tuple[str, int]]] | None = None,
    seccomp: Sequence[tuple[int, int, int, int]],
    parent: int,
    keep_fds: Sequence[int] = (),
    ready_fd: int | None = None,
    goes_on: bool = False,
) -> None:
    """Confine this process and run the command in it.

    Args:
        command: What to run, with an absolute path first.
        folder: Where it works.
        uid: User, and group, to become; None to stay who we are.
        capability: The one to keep: without it, the user could not reach the interpreter.
        landlock: The rights handled (of files, of the network, scopes), and the rights granted below each path.
        seccomp: The filter's instructions.
        parent: The number that stands for our parent's id in them.
        keep_fds: Descriptors that the command inherits besides the standard three.
        ready_fd: Gets a byte just before the command starts.
        goes_on: The command is a program of ours for this interpreter, ``python -I -S -c SOURCE ...``, and need not
            start another one.
    """
    try:
        ruleset = make_ruleset(*landlock) if landlock else None
        _become(uid, capability)
        os.chdir(folder)
        _prctl(_SET_NO_NEW_PRIVS, 1)
        _prctl(_SET_PDEATHSIG, _SIGKILL)  # a change of user has cleared it
        if ruleset is not None:
            _call(_RESTRICT_SELF, ruleset, 0)
        _close_others((0, 1, 2, *keep_fds, *([] if ready_fd is None else [ready_fd])))
        environment = {name: value for name, value in os.environ.items() if name != "PWD"}  # which bwrap sets
        ids = {parent: os.getppid(), -parent: -os.getppid()}
        code = b"".join(struct.pack("HBBI", *jump, ids.get(k, k) & 0xFFFF_FFFF) for *jump, k in seccomp)
        if _libc.prctl(_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(_Filter(len(seccomp), code)), 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "seccomp")
        if ready_fd is not None:
            os.write(ready_fd, b"1")
            os.close(ready_fd)
        if goes_on:
            _go_on(*command[4:])
        _libc.signal(_SIGPIPE, ctypes.c_void_p())  # Python ignores it
        os.execve(command[0], command, environment)
    except BaseException as error:
        os.write(2, f"rltask: the sandbox cannot start: {type(error).__name__}: {error}\n".encode())
        os._exit(_FAILED)


def _go_on(program: str, *arguments: str) -> None:
    sys.argv = ["-c", *arguments]
    exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})


def make_ruleset(handled: tuple[int, int, int], rules: Sequence[tuple[str, int]]) -> int:
    """Make a Landlock ruleset while every path can still be reached; what does not exist is left out."""
    attributes = struct.pack("=QQQ", *handled)
    size = 24 if handled[2] else 16 if handled[1] else 8  # an older kernel knows the first of them only
    ruleset = _call(_CREATE_RULESET, attributes, size, 0)
    for path, rights in rules:
        try:
            fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        _call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, fd), 0)
        os.close(fd)
    return ruleset


def narrow(handled: tuple[int, int, int], rules: Sequence[tuple[str, int]]) -> None:
    """Add a Landlock ruleset to those that this process has: from now on it may do what all of them grant."""
    ruleset = make_ruleset(handled, rules)
    _call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _become(uid: int | None, capability: int | None) -> None:
    """Change to the user, without any capability but the one to keep."""
    for number in range(64):
        if number != capability:
            _libc.prctl(_CAPBSET_DROP, ctypes.c_ulong(number))  # an ordinary user may not; and has none to lose
    if uid is not None:
        if capability is not None:
            _prctl(_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    kept = 0 if capability is None else 1 << capability
    header, sets = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), struct.pack("=6I", kept, kept, kept, 0, 0, 0)
    if _libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")
    _prctl(_CAP_AMBIENT, _AMBIENT_CLEAR_ALL)
    if capability is not None:
        _prctl(_CAP_AMBIENT, _AMBIENT_RAISE, capability)  # else the next program would lose it


def _close_others(kept: Sequence[int]) -> None:
    low = 0
    for fd in sorted(kept):
        if low < fd:  # of an empty range, closerange makes the whole one
            os.closerange(low, fd)
        low = fd + 1
    os.closerange(low, 1 << 30)


def _prctl(option: int, *values: int) -> None:
    arguments = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    if _libc.prctl(option, *arguments) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _call(number: int, *arguments: int | bytes) -> int:
    result = _libc.syscall(number, *(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return int(result)
