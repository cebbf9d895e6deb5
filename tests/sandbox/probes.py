"""The attacks that a sandbox must stop: what each does inside, what is told from outside.

An attack is a script of an agent. It learns from its first argument where its victims are; all of them were made by
the :class:`Arena`, for it alone. Whether it got through is told from outside, by canaries that must not come out,
listeners that must not be reached and files that must not change: never by what the attack says about itself,
except where only it can know (what a system call answered).
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_rltask.sandbox import Sandbox, SandboxLimits

__all__ = [
    "MB",
    "NETWORK",
    "PRIORITIES",
    "READS",
    "ROUTE_OUT",
    "SYSTEM_CALLS",
    "WRITES",
    "Arena",
    "arena",
    "attack",
    "network",
    "processes_with",
]

MB = 2**20


@dataclass
class Arena:
    """Everything that an attack may try to reach."""

    folder: Path
    """Holds the canaries; its own user may read it, and nobody else's processes should."""
    port: int
    datagrams: int
    unix_path: str
    abstract: str
    victim: int
    """Process id of a process of our user that holds the canary in its environment, arguments and memory."""
    secret_fd: int
    """An inheritable descriptor of this process that reads the canary."""
    sibling: Path
    """Working directory of another sandbox, which holds the canary."""
    canary: str = field(default_factory=lambda: f"canary-{secrets.token_hex(12)}")
    reached: list[str] = field(default_factory=list)
    """Names of the listeners that heard anything."""

    def told(self, **more: Any) -> str:
        """Return what an attack is told, as JSON: where its victims are, never the canary."""
        places = {
            "folder": str(self.folder),
            "port": self.port,
            "datagrams": self.datagrams,
            "unix_path": self.unix_path,
            "abstract": self.abstract,
            "victim": self.victim,
            "secret_fd": self.secret_fd,
            "sibling": str(self.sibling),
            "parent": os.getpid(),
        }
        return json.dumps(places | more)

    def victim_is_well(self) -> bool:
        """Whether the victim neither died nor was stopped."""
        state = Path(f"/proc/{self.victim}/stat").read_text().rpartition(")")[2].split()[0]
        return state in "SRD"

    def victim_runs(self) -> tuple[int, frozenset[int]]:
        """Return the victim's priority, and the CPUs it may run on."""
        return os.getpriority(os.PRIO_PROCESS, self.victim), frozenset(os.sched_getaffinity(self.victim))

    def snapshot(self) -> dict[str, tuple[int, bytes | None]]:
        """Return mode and content of all that lies in the folder and in the sibling's."""
        found: dict[str, tuple[int, bytes | None]] = {}
        for top in (self.folder, self.sibling):
            for path in sorted(top.rglob("*")):
                plain = path.is_file() and not path.is_symlink()
                found[str(path)] = path.lstat().st_mode, path.read_bytes() if plain else None
        return found


@contextlib.contextmanager
def arena(folder: Path, backend: str) -> Iterator[Arena]:
    """Make what attacks look for, and take it down again."""
    folder = folder / "outside"
    folder.mkdir(mode=0o700)
    (folder / ".ssh").mkdir(mode=0o700)
    with contextlib.ExitStack() as stack:
        tcp = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        udp.bind(("127.0.0.1", 0))
        unix = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        unix.bind(str(folder / "socket"))
        unix.listen()
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        name = f"rltask-probe-{secrets.token_hex(8)}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        sibling = stack.enter_context(Sandbox(SandboxLimits(), backend=backend))
        place = Arena(
            folder, tcp.getsockname()[1], udp.getsockname()[1], str(folder / "socket"), name, 0, 0, sibling.path
        )
        for path in (folder / "key.txt", folder / ".ssh" / "id_ed25519"):
            path.write_text(place.canary)
        sibling.write_file("key.txt", place.canary)
        place.secret_fd = os.open(folder / "key.txt", os.O_RDONLY)
        stack.callback(os.close, place.secret_fd)
        os.set_inheritable(place.secret_fd, True)
        place.victim = stack.enter_context(_victim(place.canary)).pid
        for listener, kind in ((tcp, "tcp"), (udp, "udp"), (unix, "unix path"), (abstract, "unix abstract")):
            _listen(listener, kind, place.reached)
            stack.callback(_hang_up, listener)
        yield place


@contextlib.contextmanager
def _victim(canary: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of our user with the canary in its environment, its arguments and its memory."""
    code = f"import sys; held = {canary!r} * 1000; print('ready', flush=True); sys.stdin.read()"
    environment = {**os.environ, "ANTHROPIC_API_KEY": canary}
    with subprocess.Popen(
        [sys.executable, "-c", code, canary], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


def _listen(listener: socket.socket, kind: str, reached: list[str]) -> None:
    def hear() -> None:
        with contextlib.suppress(OSError):  # hung up
            if listener.type == socket.SOCK_DGRAM:
                if listener.recv(100):
                    reached.append(kind)
            else:
                connection, _ = listener.accept()
                connection.close()
                reached.append(kind)

    threading.Thread(target=hear, daemon=True).start()


def _hang_up(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)


def processes_with(word: str) -> list[int]:
    """Return the processes that carry a word in their command line; zombies carry none."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if word.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found


_START = """
import ctypes, glob, json, os, pathlib, signal, socket, struct, subprocess, sys, time
A = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)
def attempt(action):
    try:
        return action()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        print(type(error).__name__, error)
def show(path):
    print(attempt(lambda: open(path, "rb").read(100_000)))
"""


def attack(body: str) -> str:
    """Return an attack with the common start: ``A``, ``attempt`` and the modules it needs."""
    return _START + body


READS = {
    "the key in its own environment": attack("print(dict(os.environ))"),
    "the key in the environment of any process": attack("""
for path in glob.glob("/proc/[0-9]*/environ") + [f"/proc/{A['victim']}/environ", f"/proc/{os.getppid()}/environ"]:
    show(path)
"""),
    "the arguments of any process": attack("""
for path in glob.glob("/proc/[0-9]*/cmdline") + [f"/proc/{A['victim']}/cmdline"]:
    show(path)
"""),
    "an inherited descriptor": attack("""
for fd in range(3, 256):
    print(attempt(lambda: os.pread(fd, 1000, 0)))
show(f"/proc/{A['parent']}/fd/{A['secret_fd']}")
"""),
    "a debugger's view": attack("""
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206
for pid in (A["victim"], A["parent"], os.getppid()):
    for request in (PTRACE_ATTACH, PTRACE_SEIZE):
        if libc.ptrace(request, pid, 0, 0) == 0:
            print("GOT ptrace", pid)
            libc.ptrace(17, pid, 0, 0)  # detach, so that the victim lives on
"""),
    "the memory of a process by process_vm_readv": attack("""
class Vector(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]
buffer = ctypes.create_string_buffer(64)
here = Vector(ctypes.cast(buffer, ctypes.c_void_p), 64)
for pid in (A["victim"], A["parent"], os.getppid()):
    for address in (0x400000, 0x555555554000, id(A)):
        there = Vector(address, 64)
        got = libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
        # An allowed look at an unmapped address is EFAULT.
        if got > 0 or ctypes.get_errno() == 14:
            print("GOT process_vm_readv", pid, got, ctypes.get_errno())
"""),
    "the memory of a process in /proc": attack("""
for pid in (A["victim"], A["parent"]):
    for kind in ("maps", "mem"):
        if attempt(lambda: open(f"/proc/{pid}/{kind}", "rb").fileno()):
            print("GOT", kind, "of", pid)
"""),
    "the root and folder of a process": attack("""
for pid in ("self", A["victim"], A["parent"], os.getppid()):
    for place in ("root" + A["folder"] + "/key.txt", "cwd/key.txt"):
        show(f"/proc/{pid}/{place}")
"""),
    "a file of the user": attack("""show(A["folder"] + "/key.txt"); show(A["folder"] + "/../outside/key.txt")
os.symlink(A["folder"] + "/key.txt", "key"); show("key")
print(attempt(lambda: os.listdir(A["folder"])))"""),
    "the user's ssh keys": attack("""show(A["folder"] + "/.ssh/id_ed25519")"""),
    "another sandbox": attack("""show(A["sibling"] + "/key.txt"); print(attempt(lambda: os.listdir(A["sibling"])))"""),
    "a hard link to a file of the user": attack("""
attempt(lambda: os.link(A["folder"] + "/key.txt", "link.txt")); show("link.txt")"""),
    "a copy by a child program": attack("""
for words in (["/bin/cat", A["folder"] + "/key.txt"], ["/bin/sh", "-c", f"cat {A['folder']}/key.txt"]):
    print(attempt(lambda: subprocess.run(words, capture_output=True).stdout))
"""),
}
"""Attacks that would bring out the canary, or say ``GOT``."""

PRIORITIES = attack("""
attempt(lambda: os.sched_setaffinity(A["victim"], {min(os.sched_getaffinity(0))}))
attempt(lambda: os.setpriority(os.PRIO_PROCESS, A["victim"], 19))
attempt(lambda: os.setpriority(os.PRIO_USER, 0, 19))
import platform
for who, pid in ((1, A["victim"]), (3, 0)):  # a process, a user
    libc.syscall(30 if platform.machine() == "aarch64" else 251, who, pid, 3 << 13)
""")
"""Would leave the victim the CPU and the disk only when nobody else wants them."""

WRITES = {
    "a file beside the user's": attack("""
for path in (A["folder"] + "/new.txt", A["sibling"] + "/new.txt", A["folder"] + "/.ssh/config"):
    attempt(lambda: open(path, "w").write("x")); attempt(lambda: os.mkdir(path + ".d"))
    attempt(lambda: os.symlink("/etc/hostname", path + ".s")); attempt(lambda: os.mkfifo(path + ".f"))
"""),
    "a change of the user's file": attack("""
for path in (A["folder"] + "/key.txt", A["sibling"] + "/key.txt"):
    attempt(lambda: open(path, "r+").write("x")); attempt(lambda: open(path, "a").write("x"))
    attempt(lambda: os.truncate(path, 0)); libc.truncate(path.encode(), 0)
    attempt(lambda: os.chmod(path, 0o666)); attempt(lambda: os.setxattr(path, "user.x", b"x"))
"""),
    "a deletion of the user's file": attack("""
for path in (A["folder"] + "/key.txt", A["sibling"] + "/key.txt"):
    attempt(lambda: os.rename(path, "mine.txt")); attempt(lambda: os.rename(path, path + ".old"))
    attempt(lambda: os.unlink(path))
attempt(lambda: os.rename(A["folder"], A["folder"] + ".old"))
"""),
}
"""Attacks that would change a file outside."""

SYSTEM_CALLS = attack("""
import platform
arm = platform.machine() == "aarch64"
NEWUSER, NEWNS = 0x10000000, 0x00020000
CALLS = {
    "unshare user": (97 if arm else 272, NEWUSER),
    "unshare mount": (97 if arm else 272, NEWNS),
    "io_uring_setup": (425, 4, ctypes.create_string_buffer(256)),
    "keyctl": (219 if arm else 250, 0, -3, 1),
    "add_key": (217 if arm else 248, b"user", b"rltask-probe", b"x", 1, -3),
    "bpf": (280 if arm else 321, 0, ctypes.create_string_buffer(struct.pack("<IIII", 2, 4, 8, 1) + bytes(112)), 128),
    "perf_event_open": (
        241 if arm else 298, ctypes.create_string_buffer(struct.pack("<IIQ", 1, 112, 0) + bytes(96)), 0, -1, -1, 0
    ),
    "userfaultfd": (282 if arm else 323, 1),
    "mount": (40 if arm else 165, b"none", b".", b"tmpfs", 0, b""),
    "chroot": (51 if arm else 161, b"."),
    "pivot_root": (41 if arm else 155, b".", b"."),
    "setns": (268 if arm else 308, 0, 0),
    "open_by_handle_at": (265 if arm else 304, -100, ctypes.create_string_buffer(128), 0),
    "init_module": (105 if arm else 175, b"", 0, b""),
    "shmget": (194 if arm else 29, A["shm_key"], 4096, 0o1666),
    "msgget": (186 if arm else 68, A["shm_key"], 0o1666),
    "semget": (190 if arm else 64, A["shm_key"], 1, 0o1666),
}
for name, (number, *arguments) in CALLS.items():
    if A.get("only") in (None, name):
        arguments = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
        got = libc.syscall(ctypes.c_long(number), *arguments)
        if got >= 0:
            print("GOT", name, got)
for family, kind in (("vsock", 40), ("netlink", 16), ("packet", 17), ("bluetooth", 31), ("alg", 38)):
    if attempt(lambda: socket.socket(kind, socket.SOCK_RAW if kind in (16, 17) else socket.SOCK_STREAM)):
        print("GOT socket", family)
""")

NETWORK = {
    "tcp": """s = socket.socket(); s.settimeout(2); s.connect(("127.0.0.1", A["port"]))""",
    "udp": """socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", A["datagrams"]))""",
    "unix path": """socket.socket(socket.AF_UNIX).connect(A["unix_path"])""",
    "unix abstract": """socket.socket(socket.AF_UNIX).connect("\\0" + A["abstract"])""",
}
"""What would reach a listener of that name."""

ROUTE_OUT = attack("""
# The address is one for documentation (RFC 5737), and connect() of a datagram socket sends nothing.
for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
    def look():
        with socket.socket(family, socket.SOCK_DGRAM) as way:
            way.connect((address, 9))
            print("GOT a route from", way.getsockname())
    attempt(look)
""")


def network(kind: str) -> str:
    """Return the attack on a listener."""
    return attack(f"def go():\n    {NETWORK[kind]}\nattempt(go)\n")
