"""In an image the limits are those of everywhere, and some of the attacks of the table are tried there."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator
from textwrap import dedent

import pytest

from pytest_rltask import Sandbox, SandboxLimits
from tests.sandbox.images.conftest import NAMES
from tests.sandbox.probes import MB, processes_with

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the container shares our kernel")
LIMITS = SandboxLimits(wall_s=30, memory_bytes=256 * MB, processes=20, disk_bytes=8 * MB, disk_files=50)


@pytest.fixture(scope="module")
def box(docker: None) -> Iterator[Sandbox]:
    with Sandbox(LIMITS, backend="docker", image=NAMES["python"]) as sandbox:
        yield sandbox


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("while :; do :; done", "timed out"),
        ("i=0; while [ $i -lt 60 ]; do sleep 60 & i=$((i+1)); done; wait", "processes"),
        ("i=0; while :; do i=$((i+1)); mkdir d$i || exit 0; done", "files"),
    ],
)
def test_a_limit_ends_the_run_and_the_next_one_works(box: Sandbox, command: str, status: str) -> None:
    result = box.run(command, wall_s=0.3 if status == "timed out" else None)

    assert result.status == status, result
    assert box.run(["only-here"]).stdout == "only here\n"


def test_a_process_that_wants_too_much_memory_gets_none(box: Sandbox) -> None:
    result = box.run(["python3", "-c", "x = [bytearray(2**20) for _ in range(400)]"])

    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, "MemoryError")


def test_memory_of_many_processes_is_counted_together(box: Sandbox) -> None:
    code = "import os, time; [os.fork() for _ in range(3)]; x = bytearray(b'x' * 60 * 2**20); time.sleep(60)"

    assert box.run(["python3", "-c", code]).status == "memory"


def test_it_reaches_neither_the_watcher_nor_the_network_nor_our_interpreter(box: Sandbox) -> None:
    box.write_file(
        "script.py",
        dedent(
            """
            import os, socket
            def attempt(what):
                try: print("GOT", what())
                except OSError as error: print(type(error).__name__)
            parent = os.getppid()
            watcher = int(open(f"/proc/{parent}/status").read().split("PPid:")[1].split()[0])
            for path in ("/rltask", "/rltask/python/bin", "/proc/1/fd", f"/proc/{watcher}/fd", f"/proc/{parent}/fd"):
                attempt(lambda: os.listdir(path))
            for path in ("/proc/1/environ", "/proc/1/mem", f"/proc/{parent}/mem", "/rltask/loader"):
                attempt(lambda: open(path, "rb").read(1))
            for pid in (1, watcher):
                attempt(lambda: os.kill(pid, 9))
            attempt(lambda: os.chmod("/rltask", 0o777))
            attempt(lambda: os.setuid(0))
            attempt(lambda: socket.socket().connect(("127.0.0.1", 9)))
            """
        ),
    )

    result = box.run_python("script.py")

    assert result.ok, result
    assert set(result.stdout.split()) == {"PermissionError", "OSError"}, result


def test_a_daemon_does_not_outlive_its_run(box: Sandbox) -> None:
    name = f"probe-{secrets.token_hex(8)}"

    assert box.run(f"(sleep 61 & exec sh -c 'sleep 62; : {name}') >/dev/null 2>&1 & echo begun").ok

    assert processes_with(name) == []


@pytest.mark.slow
def test_a_container_that_dies_is_our_fault_and_the_next_run_gets_another(docker: None) -> None:
    with Sandbox(LIMITS, backend="docker", image=NAMES["shell"]) as sandbox:
        assert sandbox.run(["only-here"]).ok
        sandbox._runner.backend._container.end()  # type: ignore[attr-defined]

        assert sandbox.run(["only-here"]).stdout == "only here\n"
