"""What the tests of runs share: how one is run, what outlives it, and how long to wait for its end."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxLimits, SandboxResult

MB = 2**20
PROMPT_S = 30.0
"""Far above what a kill takes, far below how long the victims would live."""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prctl")

Run = Callable[..., SandboxResult]


def runs(*, backend: str | None) -> Iterator[Run]:
    opened: list[Sandbox] = []

    def run(code: str, *args: str, **limits: float) -> SandboxResult:
        limits = {"wall_s": 20, **limits}
        sandbox = Sandbox(SandboxLimits(**limits), backend=backend)  # type: ignore[arg-type]
        opened.append(sandbox)
        sandbox.write_file("script.py", dedent(code))
        return sandbox.run_python("script.py", *args)

    yield run
    for sandbox in opened:
        sandbox.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


DAEMON = """
import os, signal, time
told, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.write(tell, str(os.getpid()).encode())
        time.sleep(120)
    os._exit(0)
os.wait()
print(os.read(told, 100).decode(), flush=True)
"""


def has_ended(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(PROMPT_S * 1000))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PROMPT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
