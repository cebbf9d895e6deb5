"""A Ray cluster on one machine, in a network of its own that has nothing but a loopback, with nodes that can be killed.

    with Cluster(nodes=4) as cluster:
        with MessagesAPI(script, listening=cluster.listening()) as api:
            cluster.start(["pytest", "--engine", f"ray://{cluster.address}"], cwd=..., env=...)
            cluster.kill_node(2)

Ray listens on all addresses of the machine, whatever it is told; in a network namespace (`unshare --net`, as an
ordinary user with a user namespace) these are 127.0.0.1. Whoever starts a cluster stays outside: it starts processes
inside, and gets from there sockets that listen. The namespace ends with its last process.

A node is one `ray start --block` with all its children, found by its session; only such processes are killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

__all__ = ["Cluster", "Namespace", "processes", "why_no_cluster", "why_no_namespace"]

START_S = 120.0
"""Seconds that a node may take to start."""
STORE_BYTES = 100_000_000
"""Of a node's object store, the least that Ray takes being 75 MB."""
_LOOPBACK_UP = """
import fcntl, socket, struct, sys
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
print("up", flush=True)
sys.stdin.read()
"""
_LISTEN = """
import socket, sys
listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
socket.send_fds(socket.socket(fileno=int(sys.argv[1])), [b"."], [listening.fileno()])
"""


def why_no_namespace() -> str:
    """Say why no network namespace can be made; empty if one can."""
    if missing := [name for name in ("unshare", "nsenter", "mount") if shutil.which(name) is None]:
        return f"no {missing[0]} (util-linux)"
    made = subprocess.run([*_unshare(), "true"], capture_output=True, text=True, check=False)
    return made.stderr.strip() if made.returncode else ""


def why_no_cluster() -> str:
    """Say why no cluster can be started; empty if one can."""
    return why_no_namespace() if find_spec("ray") else "no ray"


def _unshare() -> list[str]:
    return ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]


class Namespace:
    """A network of a loopback alone; a context manager. What runs in it, `inside` says how to start."""

    def __enter__(self) -> Self:
        command = [*_unshare(), sys.executable, "-c", _LOOPBACK_UP]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "up\n":
            raise RuntimeError("the loopback of the namespace did not come up")
        return self

    def __exit__(self, *exception: object) -> None:
        self._holder.communicate()

    def inside(self, command: Sequence[str], *, hidden: Path | None = None) -> list[str]:
        """Return the command that runs another one inside.

        Args:
            command: the other one.
            hidden: a folder that it shall find empty.
        """
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        enter = ["nsenter", "--target", str(self._holder.pid), "--net", *user]
        if hidden is None:
            return [*enter, *command]
        script = 'mount -t tmpfs none "$1" && shift && exec "$@"'
        return [*enter, "unshare", "--mount", "sh", "-c", script, "sh", str(hidden), *command]

    def listening(self) -> socket.socket:
        """Return a socket that listens on a free port of the namespace's 127.0.0.1."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            command = self.inside([sys.executable, "-c", _LISTEN, str(theirs.fileno())])
            subprocess.run(command, pass_fds=[theirs.fileno()], check=True)
            _, sockets, _, _ = socket.recv_fds(ours, 1, 1)
        return socket.socket(fileno=sockets[0])


class Cluster(Namespace):
    """A head and further nodes; a context manager, which ends all that it started.

    Args:
        nodes: how many, the head included.
        cpus: that each node says it has.
        hidden: a folder that all nodes find empty, as if they were other machines.
        environment: what the nodes have in theirs beside this process's own.
    """

    def __init__(
        self,
        nodes: int = 4,
        *,
        cpus: int = 2,
        hidden: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._cpus, self._hidden, self._first = cpus, hidden, nodes
        # A token of its own: what is found in a home, another cluster may write there at the same time.
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._environment = {**os.environ, **_QUIET, **token, **(environment or {})}
        self._started: list[subprocess.Popen[str]] = []
        self.nodes: list[subprocess.Popen[str]] = []
        """The nodes' first processes; the head is number 0."""
        self.address = ""
        """Of the head, for `ray.init(address=...)` and RAY_ADDRESS."""

    def __enter__(self) -> Self:
        super().__enter__()
        self._folder = tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True)
        try:
            self._start_head()
            for _ in range(self._first - 1):
                self.add_node(wait=False)
            for number in range(1, self._first):
                self._wait_for(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        for process in reversed(self._started):
            self._kill(process)
        super().__exit__()
        self._folder.cleanup()

    def _start_head(self) -> None:
        port = 6379
        self.address = f"127.0.0.1:{port}"
        self._node(["--head", f"--port={port}", "--include-dashboard=false"])
        self._wait_for(0)

    def add_node(self, *, wait: bool = True) -> int:
        """Start a further node and return its number."""
        self._node([f"--address={self.address}"])
        if wait:
            self._wait_for(len(self.nodes) - 1)
        return len(self.nodes) - 1

    def _node(self, arguments: list[str]) -> None:
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", *arguments),
            *("--node-ip-address=127.0.0.1", f"--num-cpus={self._cpus}", f"--object-store-memory={STORE_BYTES}"),
            f"--temp-dir={self._folder.name}/{len(self.nodes)}",  # nodes that start together would share sockets
            *("--min-worker-port=0", "--max-worker-port=0"),  # any: several nodes share the machine's ports
        ]
        self.nodes.append(self._spawn(self.inside(command, hidden=self._hidden), env=self._environment))

    def _spawn(self, command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
        number = len(self._started)
        with (Path(self._folder.name) / f"process-{number}.log").open("w") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, text=True, start_new_session=True, **options
            )
        self._started.append(process)
        return process

    def said(self, process: subprocess.Popen[str]) -> str:
        """Return what a process that was started here has said so far."""
        return (Path(self._folder.name) / f"process-{self._started.index(process)}.log").read_text(errors="replace")

    def _wait_for(self, number: int) -> None:
        node, end = self.nodes[number], time.monotonic() + START_S
        while "Ray runtime started" not in (said := self.said(node)):
            if node.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"node {number} did not start:\n{said}")
            time.sleep(0.05)

    def start(
        self, command: Sequence[str], *, env: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """Start a process inside, in a session of its own, with options of `Popen`; its output is `said`."""
        environment = {**self._environment, "RAY_ADDRESS": self.address, **(env or {})}
        return self._spawn(self.inside(command), env=environment, **options)

    def kill_node(self, number: int) -> None:
        """Kill all processes of a node at once, as if its machine had lost power."""
        self._kill(self.nodes[number])

    def workers(self, number: int) -> list[int]:
        """Return the pids of a node's processes that run a task or an actor, by number."""
        found = [(pid, words) for pid, _, session, words in processes() if session == self.nodes[number].pid]
        return [pid for pid, words in found if words.startswith("ray::") and not words.startswith(_IDLE)]

    def kill_worker(self, pid: int) -> str:
        """Kill one process of a node, and return what it was called; empty if it has ended by itself."""
        with contextlib.suppress(OSError):
            path = Path(f"/proc/{pid}")
            session = int((path / "stat").read_text().rpartition(")")[2].split()[3])
            name = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").partition(" ")[0]
            if session in {node.pid for node in self.nodes}:
                os.kill(pid, signal.SIGKILL)
                return name
        return ""

    def alive(self, process: subprocess.Popen[str]) -> list[int]:
        """Return the processes in the session of one that was started here."""
        return [pid for pid, _, session, _ in processes() if session == process.pid]

    def _kill(self, process: subprocess.Popen[str]) -> None:
        while alive := self.alive(process):
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)  # until they are gone, and have started no others
        process.wait()


_QUIET = {
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_health_check_period_ms": "1000",  # a node that was killed is missed sooner than by default
    "RAY_health_check_failure_threshold": "10",
    "RAY_health_check_initial_delay_ms": "5000",
    "RAY_raylet_start_wait_time_s": "100",  # on a busy machine
}


_IDLE = ("ray::IDLE", "ray::DashboardAgent", "ray::RuntimeEnvAgent")


def processes() -> Iterator[tuple[int, int, int, str]]:
    """Yield the processes of this machine, zombies left out: pid, parent, session, and command line."""
    for path in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):
            state, parent, _, session = (path / "stat").read_text().rpartition(")")[2].split()[:4]
            if state not in "ZX":
                words = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                yield int(path.name), int(parent), int(session), words
