"""Processes whose first thread has ended: to who looks at the process they are dead, and hold all the same."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from textwrap import dedent

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxLimits, SandboxResult

MB = 2**20

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")

Run = Callable[..., SandboxResult]

LEAVES = """
    import ctypes, os, subprocess, sys, threading, time
    def go_on_alone(work):
        threading.Thread(target=work).start()
        exit_thread = 60 if os.uname().machine == "x86_64" else 93
        ctypes.CDLL(None).syscall(exit_thread, 0)
"""


@pytest.fixture(params=[(), ("decimal",)], ids=["cold", "preloaded"])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    opened: list[Sandbox] = []

    def run(code: str, **limits: float) -> SandboxResult:
        sandbox = Sandbox(SandboxLimits(**{"wall_s": 20, **limits}), preload=request.param)  # type: ignore[arg-type]
        opened.append(sandbox)
        sandbox.write_file("script.py", dedent(LEAVES) + dedent(code))
        return sandbox.run_python("script.py")

    yield run
    for sandbox in opened:
        sandbox.close()


def test_their_memory_counts(run: Run) -> None:
    result = run(
        """
        def hold():
            held = bytearray(os.urandom(2**20) * 100)
            time.sleep(60)
        for _ in range(4):
            if os.fork() == 0:
                go_on_alone(hold)
        time.sleep(60)
        """,
        memory_bytes=256 * MB,
    )

    assert result.status == "memory"


def test_their_deleted_files_count(run: Run) -> None:
    result = run(
        """
        def hold():
            file = open("a", "wb")
            os.unlink("a")
            file.write(os.urandom(16 * 2**20))
            file.flush()
            time.sleep(60)
        if os.fork() == 0:
            go_on_alone(hold)
        time.sleep(60)
        """,
        disk_bytes=8 * MB,
    )

    assert result.status == "disk"


def test_a_thread_cannot_have_descriptors_of_its_own(run: Run) -> None:
    result = run(
        """
        done = threading.Event()
        def hide():
            ctypes.CDLL(None).syscall(436, 1000, 2000, 2)  # close_range, with a table of its own from here on
            file = open("a", "wb")
            os.unlink("a")
            file.write(os.urandom(16 * 2**20))
            file.flush()
            time.sleep(60)
        threading.Thread(target=hide).start()
        time.sleep(60)
        """,
        disk_bytes=8 * MB,
    )

    assert result.status == "disk"


def test_children_that_are_dead_and_not_collected_hold_nothing(run: Run) -> None:
    """An honest script collects its children when it comes to that."""
    result = run(
        """
        children = [subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({s})"]) for s in (0.8, 0, 0)]
        print([child.wait() for child in children])
        """
    )

    assert result.stdout == "[0, 0, 0]\n", result
