"""Who plays in a run directory, asked among real processes: a lock is nobody's twice, and ends with its process."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.lock import RunLock

HOLDS = """
import os, sys, time
from pathlib import Path
from pytest_rltask.run.lock import RunLock

lock = RunLock(Path(sys.argv[1]), sys.argv[2])
child = os.fork() if "fork" in sys.argv else 0
if "fork" in sys.argv and not child:
    time.sleep(600)
print(child, flush=True)
sys.stdin.read()
"""

ASKS = """
import sys
from pathlib import Path
from pytest_rltask.run.lock import RunLock

print(RunLock(Path(sys.argv[1]), "asks").is_alive(sys.argv[2]))
"""


@contextlib.contextmanager
def holding(run_dir: Path, writer: str, *how: str) -> Iterator[subprocess.Popen[str]]:
    """Have another process play in a run directory; one that forks leaves a child behind."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(run_dir), writer, *how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        child = int(process.stdout.readline())
        try:
            yield process
        finally:
            process.kill()
            if child:
                os.kill(child, signal.SIGKILL)


def test_a_writer_is_alive_until_its_process_is_killed(tmp_path: Path):
    lock = RunLock(tmp_path, "gw1")

    with holding(tmp_path, "gw0") as process:
        assert lock.is_alive("gw0")
        process.kill()
        process.wait()
        assert not lock.is_alive("gw0")


def test_a_child_that_outlives_a_writer_does_not_stand_for_it(tmp_path: Path):
    lock = RunLock(tmp_path, "gw1")

    with holding(tmp_path, "gw0", "fork") as process:
        assert lock.is_alive("gw0")
        process.kill()
        process.wait()
        assert not lock.is_alive("gw0")
        lock.check_alone()


def test_to_ask_gives_no_lock_away(tmp_path: Path):
    lock = RunLock(tmp_path, "gw1")

    assert lock.is_alive("gw1")

    asked = subprocess.run([sys.executable, "-c", ASKS, str(tmp_path), "gw1"], stdout=subprocess.PIPE, check=True)
    assert asked.stdout == b"True\n"


def test_a_writer_that_never_played_is_not_alive_and_leaves_no_file(tmp_path: Path):
    assert not RunLock(tmp_path, "gw1").is_alive("gw0")
    assert [path.name for path in tmp_path.iterdir()] == [".lock-gw1"]


def test_a_run_that_another_process_plays_is_held(tmp_path: Path):
    lock = RunLock(tmp_path, "gw1")

    with holding(tmp_path, "gw0") as process:
        for attempt in (lock.check_alone, lambda: RunLock(tmp_path, "gw0")):
            with pytest.raises(RunLogError, match=f"is still being played by process {process.pid}"):
                attempt()


def test_a_lock_that_is_released_is_free(tmp_path: Path):
    lock, other = RunLock(tmp_path, "gw0"), RunLock(tmp_path, "gw1")

    lock.release()

    assert not other.is_alive("gw0")
    other.check_alone()


def test_a_file_system_without_locks_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unsupported(*args: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", unsupported)

    RunLock(tmp_path, "main").check_alone()
