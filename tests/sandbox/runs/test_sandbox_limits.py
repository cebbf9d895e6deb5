"""Runs that want more than they may have: time, memory, processes, files, output."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask.sandbox import Sandbox
from tests.sandbox.runs.running import MB, PROMPT_S, Run, linux_only

# Limits


def test_an_endless_loop_that_ignores_all_signals_is_timed_out(run: Run) -> None:
    result = run(
        """
        import signal
        for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        print("still here")
        while True: pass
        """,
        wall_s=3,  # a busy machine needs some of it to begin
    )

    assert (result.status, result.exit_code, result.stdout) == ("timed out", None, "still here\n")
    assert 3 <= result.wall_s < 3 + PROMPT_S
    assert result.summary.endswith("its time limit")


def test_a_run_may_have_a_time_limit_of_its_own(sandbox: Sandbox) -> None:
    sandbox.write_file("script.py", "import time; time.sleep(60)")

    assert sandbox.run_python("script.py", wall_s=0.3).status == "timed out"


def test_a_suspended_script_is_timed_out(run: Run) -> None:
    assert run("import os, signal; os.kill(os.getpid(), signal.SIGSTOP)", wall_s=0.5).status == "timed out"


@linux_only
@pytest.mark.parametrize("gigabytes", [1, 50])
def test_an_allocation_past_the_limit_is_a_memory_error_in_the_script(run: Run, gigabytes: int) -> None:
    result = run(f"data = bytearray({gigabytes} * 2**30)", memory_bytes=512 * MB)

    assert (result.status, result.exit_code) == ("exit", 1)
    assert "MemoryError" in result.stderr


@linux_only
def test_shared_memory_counts_as_memory(run: Run) -> None:
    result = run(
        """
        import mmap, time
        shared = mmap.mmap(-1, 200 * 2**20)
        for place in range(0, len(shared), 4096): shared[place] = 1
        time.sleep(60)
        """,
        memory_bytes=128 * MB,
    )

    assert (result.status, result.exit_code) == ("memory", None)


@linux_only
def test_pages_that_forked_children_share_count_once(run: Run) -> None:
    result = run(
        """
        import os, time
        data = bytearray(b"x") * (60 * 2**20)
        for _ in range(4):
            if os.fork() == 0:
                time.sleep(0.5)  # some polls long
                os._exit(0)
        for _ in range(4): os.wait()
        """,
        memory_bytes=160 * MB,
    )

    assert result.ok, result


@linux_only
@pytest.mark.parametrize(
    "bomb",
    [
        "for _ in range(60):\n    if os.fork() == 0: time.sleep(60); os._exit(0)",
        "for _ in range(60):\n    if os.fork() == 0: os.setsid(); time.sleep(60); os._exit(0)",
        "for _ in range(60): threading.Thread(target=time.sleep, args=(60,)).start()",
    ],
    ids=["processes", "sessions", "threads"],
)
def test_a_fork_bomb_is_stopped(run: Run, bomb: str) -> None:
    result = run(f"import os, threading, time\n{bomb}\ntime.sleep(60)", processes=20)

    assert result.status == "processes"
    assert result.wall_s < PROMPT_S


@linux_only
def test_a_fork_bomb_leaves_nothing_behind(sandbox: Sandbox) -> None:
    sandbox.write_file("script.py", "import subprocess\nfor _ in range(60): subprocess.Popen(['/bin/sleep', '60'])")

    assert sandbox.run_python("script.py").status in {"exit", "processes"}

    marker = os.fsencode(sandbox.path.parent)
    assert [environment for environment in environments(b"/bin/sleep") if marker in environment] == []


def environments(program: bytes) -> Iterator[bytes]:
    """Yield the environment of every process of a program that lets us see it."""
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if file.with_name("cmdline").read_bytes().startswith(program):
                yield file.read_bytes()
        except OSError:
            continue


@pytest.mark.parametrize("prelude", ["", "signal.signal(signal.SIGXCPU, signal.SIG_IGN)"], ids=["plain", "ignored"])
def test_cpu_time_is_limited(run: Run, prelude: str) -> None:
    result = run(f"import signal\n{prelude}\nwhile True: pass", cpu_s=1)

    assert (result.status, result.exit_code) == ("cpu", None)


def test_a_file_past_the_limit_is_an_error_in_the_script(run: Run) -> None:
    result = run("open('big', 'wb').write(bytes(2**20))", file_bytes=2**16)

    assert (result.status, result.exit_code) == ("exit", 1)
    assert "File too large" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_script_that_kills_itself_has_exited(run: Run, number: signal.Signals) -> None:
    result = run(f"import os; os.kill(os.getpid(), {int(number)})")

    assert (result.status, result.exit_code) == ("exit", -number)
    assert number.name in result.summary


# Output


def test_of_a_long_output_the_head_and_more_of_the_tail_are_kept(run: Run) -> None:
    result = run("print('first' + 'x' * 99_990 + 'last')", output_bytes=1000)

    head, note, tail = result.stdout.split("\n", 2)
    assert head.startswith("first")
    assert tail.endswith("last\n")
    assert len(head) < len(tail)
    assert len(head) + len(tail) == 1000
    assert note == "[... 99000 bytes cut ...]"


@pytest.mark.parametrize("size", [0, 1, 999, 1000])
def test_an_output_that_fits_is_kept_whole(run: Run, size: int) -> None:
    assert run(f"print('y' * {size}, end='')", output_bytes=1000).stdout == "y" * size


def test_binary_output_is_decoded_with_replacements(run: Run) -> None:
    result = run(r"import sys; sys.stdout.buffer.write(b'\xff\x00ok\xc3')")

    assert result.stdout == "\ufffd\x00ok\ufffd"


def test_a_flood_of_output_ends_the_run(run: Run) -> None:
    result = run("import os\nwhile True: os.write(2, bytes(65536))", flood_bytes=4 * MB, output_bytes=1000)

    assert (result.status, result.exit_code) == ("output", None)
    assert len(result.stderr) < 1100


def test_much_output_below_the_flood_is_drained(run: Run) -> None:
    result = run("import os\nfor _ in range(128): os.write(1, bytes(65536))")

    assert result.ok
    assert len(result.stdout) < 20_100
