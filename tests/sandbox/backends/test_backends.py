"""Isolation under attack, backend by backend. The attacks are on files, sockets and processes of the test alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.sandbox import Sandbox, choice
from pytest_rltask.sandbox.backends import bwrap, landlock, view
from tests.sandbox.backends.isolated import IS_ROOT, LIMITS, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends are Linux's")

ATTACKS = """
import ctypes, json, os, resource, socket, sys
told = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def connect(family, address, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as client:
        client.settimeout(10)
        client.connect(address)

def send_from_a_pair():
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    pair[0].sendto(b"x", told["datagrams"])

def beside_the_interpreter(place):
    # Folders on the way to the interpreter stand alone where the rest is hidden.
    return [name for name in os.listdir(told[place]) if name not in told["prefixes"].split("/")] or 1 / 0

attacks = {
    "read a file": lambda: open(told["file"]).read(),
    "list a folder": lambda: os.listdir(told["folder"]),
    "list the home": lambda: beside_the_interpreter("home"),
    "list the root of the repository": lambda: beside_the_interpreter("repository"),
    "read our source": lambda: open(told["source"]).read(),
    "read the passwords": lambda: open("/etc/shadow").read(),
    "read a file through /proc": lambda: open("/proc/self/root" + told["file"]).read(),
    "read another sandbox": lambda: open(told["sibling"]).read(),
    "write a file": lambda: open(told["file"], "a").write("x"),
    "create a file": lambda: open(told["folder"] + "/new", "w").write("x"),
    "delete a file": lambda: os.unlink(told["file"]),
    "truncate a file": lambda: os.truncate(told["file"], 0),
    "link a file": lambda: os.link(told["file"], "linked"),
    "write beside the packages": lambda: open(told["packages"] + "/evil.pth", "w"),
    "write a program": lambda: open("/usr/bin/evil", "w"),
    "read an environment": lambda: open(f"/proc/{told['victim']}/environ").read(),
    "read a command line": lambda: open(f"/proc/{told['victim']}/cmdline").read(),
    "read memory": lambda: open(f"/proc/{told['victim']}/mem", "rb"),
    "kill a process": lambda: os.kill(told["victim"], 15),
    "kill our process": lambda: os.kill(told["us"], 0),
    "limit a process": lambda: resource.prlimit(told["victim"], resource.RLIMIT_CPU, (1, 1)),
    "trace a process": lambda: call(101, 16, told["victim"], 0, 0),
    "connect by TCP": lambda: connect(socket.AF_INET, ("127.0.0.1", told["port"])),
    "connect by UDP": lambda: connect(socket.AF_INET, ("127.0.0.1", 9), socket.SOCK_DGRAM),
    "connect by a path": lambda: connect(socket.AF_UNIX, told["socket"]),
    "connect by a name": lambda: connect(socket.AF_UNIX, "\\0" + told["name"]),
    "send a datagram": lambda: connect(socket.AF_UNIX, told["datagrams"], socket.SOCK_DGRAM),
    "send a datagram from a pair": send_from_a_pair,
    "ask the kernel by netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "talk to the host by vsock": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
    "make a user namespace": lambda: call(272, 0x10000000),
    "mount": lambda: call(165, b"none", b"/tmp", b"tmpfs", 0, None),
    "use io_uring": lambda: call(425, 1, None),
    "use bpf": lambda: call(321, 0, None, 0),
    "use keys": lambda: call(250, 0, -3, 1),
    "use userfaultfd": lambda: call(323, 0),
    "count events": lambda: call(298, ctypes.create_string_buffer(128), 0, -1, -1, 0),
    "share memory of System V": lambda: call(29, 0, 4096, 0o1600),
    "hide memory in a file": lambda: os.memfd_create("x"),
    "become root": lambda: os.setuid(0),
    "gain rights by a setuid program": lambda: __import__("subprocess").run(["su", "-c", "true"], check=True),
}
outcome = {}
for name, attack in attacks.items():
    try:
        outcome[name] = repr(attack())
    except (Exception, SystemExit):
        outcome[name] = None
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(json.dumps({"came through": outcome, "uid": os.getuid(), "gids": [os.getgid(), *os.getgroups()],
                  "status": {key: value.strip() for key, value in status.items()}, "environment": dict(os.environ)}))
"""
NAMES = [line.split('"')[1] for line in ATTACKS.splitlines() if line.startswith('    "')]


@dataclass
class Aftermath:
    """What an attacker said, and what became of its victims."""

    said: dict[str, Any]
    backend: str
    file: str
    folder: list[str]
    victim_lives: bool
    connected: bool

    @property
    def known(self) -> set[str]:
        """What does come through: before Landlock's version 6, signals to the user's processes but our own."""
        is_open = self.backend == "landlock" and not IS_ROOT and landlock.offered_abi() < 6
        return {"kill a process"} if is_open else set()


@pytest.fixture(scope="module", params=["", "preloaded", "abi 1", "abi 4"], ids=["", "preloaded", "abi1", "abi4"])
def aftermath(request: pytest.FixtureRequest, backend: str) -> Iterator[Aftermath]:
    """The outcome of all attacks at once, also from a preloaded interpreter and on kernels with an older Landlock."""
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as name:
        preload = ("decimal",) if request.param == "preloaded" else ()
        if request.param.startswith("abi"):
            if backend != "landlock":
                pytest.skip("only Landlock has versions")
            patch.setattr(landlock, "offered_abi", lambda: int(request.param[-1]))
        patch.setenv("ANTHROPIC_API_KEY", "canary-of-the-parent")
        yield attack(backend, Path(name), preload)


def attack(backend: str, folder: Path, preload: tuple[str, ...]) -> Aftermath:
    folder.chmod(0o755)
    file = folder / "file"
    file.write_text("private")
    abstract = f"rltask-test-{os.getpid()}"
    victim = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(300)", "canary"], env={"KEY": "canary"}, start_new_session=True
    )
    with (
        Sandbox(LIMITS, backend=backend, preload=preload) as sandbox,
        Sandbox(LIMITS, backend=backend) as sibling,
        socket.create_server(("127.0.0.1", 0)) as by_tcp,
        listening(socket.SOCK_STREAM, str(folder / "socket")) as by_path,
        listening(socket.SOCK_STREAM, "\0" + abstract) as by_name,
        listening(socket.SOCK_DGRAM, str(folder / "datagrams")) as by_datagram,
    ):
        told = {
            "file": str(file),
            "folder": str(folder),
            "home": os.path.expanduser("~"),
            "repository": str(Path(__file__).parents[3]),
            "source": choice.__file__,
            "sibling": str(sibling.write_file("secret", "x")),
            "packages": sysconfig.get_path("purelib"),
            "victim": victim.pid,
            "us": os.getpid(),
            "prefixes": f"{sys.prefix}/{sys.base_prefix}",
            "port": by_tcp.getsockname()[1],
            "socket": str(folder / "socket"),
            "datagrams": str(folder / "datagrams"),
            "name": abstract,
        }
        said = json.loads(run(sandbox, ATTACKS, json.dumps(told)))
        listeners = (by_tcp, by_path, by_name, by_datagram)
        connected = any(has_visitor(listener) for listener in listeners)
    lives = victim.poll() is None
    victim.kill()
    victim.wait()
    return Aftermath(said, backend, file.read_text(), sorted(os.listdir(folder)), lives, connected)


def listening(kind: int, address: str) -> socket.socket:
    server = socket.socket(socket.AF_UNIX, kind)
    server.bind(address)
    if not address.startswith("\0"):
        os.chmod(address, 0o777)
    if kind == socket.SOCK_STREAM:
        server.listen()
    return server


def has_visitor(server: socket.socket) -> bool:
    server.setblocking(False)
    try:
        server.recv(1) if server.type == socket.SOCK_DGRAM else server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_no_attack_comes_through(aftermath: Aftermath) -> None:
    assert aftermath.said["came through"].keys() == set(NAMES)
    assert {name for name, said in aftermath.said["came through"].items() if said is not None} == aftermath.known


def test_the_victims_are_as_they_were(aftermath: Aftermath) -> None:
    assert aftermath.file == "private"
    assert aftermath.folder == ["datagrams", "file", "socket"]
    assert aftermath.victim_lives or aftermath.known
    assert not aftermath.connected


def test_the_agent_is_nobody(aftermath: Aftermath) -> None:
    status = aftermath.said["status"]

    assert aftermath.said["uid"] != 0
    assert 0 not in aftermath.said["gids"]
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    # Where the interpreter lies in a closed folder, a user of its own needs one capability to read it.
    closed = IS_ROOT and aftermath.backend == "landlock" and not view.view_of_python().is_public
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Eff", "Prm", "Inh", "Amb")} <= {0, *([1 << 2, 1 << 1] * closed)}


def test_no_key_is_in_its_environment(aftermath: Aftermath) -> None:
    assert "canary" not in json.dumps(aftermath.said["environment"])
    assert "PWD" not in aftermath.said["environment"]


def test_without_isolation_the_same_attacks_come_through(tmp_path: Path) -> None:
    """The attacks are real: what stops them above is the backend."""
    outside = tmp_path / "file"
    outside.write_text("private")

    with Sandbox(LIMITS, backend="none") as sandbox:
        said = run(sandbox, "import sys; print(open(sys.argv[1]).read())", str(outside))

    assert said == "private\n"


def test_a_daemon_dies_with_the_run(sandbox: Sandbox) -> None:
    fifo = sandbox.path / "fifo"
    os.mkfifo(fifo)
    fifo.chmod(0o666)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)

    run(
        sandbox,
        """
        import os, time
        told, tell = os.pipe()
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                held = os.open("fifo", os.O_WRONLY)
                os.write(held, b"alive")
                os.write(tell, b"x")
                time.sleep(300)
            os._exit(0)
        os.read(told, 1)
        """,
    )

    assert os.read(reader, 10) == b"alive"
    assert os.read(reader, 10) == b""  # the end: nobody holds it any more
    os.close(reader)


def test_a_signal_that_ends_the_agent_is_told_as_such(sandbox: Sandbox) -> None:
    sandbox.write_file("script.py", "import os, signal; os.kill(os.getpid(), signal.SIGABRT)")

    assert sandbox.run_python("script.py").exit_code == -signal.SIGABRT


@pytest.mark.skipif(not IS_ROOT, reason="only root can give each sandbox a user")
def test_as_root_each_sandbox_has_a_user_of_its_own(backend: str) -> None:
    users = []
    for _ in range(2):
        with Sandbox(LIMITS, backend=backend) as sandbox:
            users.append(int(run(sandbox, "import os; open('mine', 'w'); print(os.getuid())")))
            assert os.stat(sandbox.path / "mine").st_uid == users[-1]

    assert users[0] != users[1]
    assert 0 not in users


def test_installed_sources_of_ours_are_hidden_again(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = Path(sysconfig.get_path("purelib"), "iniconfig")
    caches = (view._view, bwrap._interpreter, landlock._system)
    monkeypatch.setattr(view, "_PACKAGE", str(hidden))
    for cache in caches:
        cache.cache_clear()

    try:
        with Sandbox(LIMITS, backend=backend) as sandbox:
            code = """
                import sys, pluggy
                for path in sys.argv[1:]:
                    try: open(path)
                    except OSError: print("hidden")
            """
            paths = [str(hidden / "__init__.py"), str(hidden / "__init__.py").replace("/lib/", "/lib64/")]
            assert run(sandbox, code, *paths) == "hidden\nhidden\n"
    finally:
        for cache in caches:
            cache.cache_clear()
