"""What becomes of a sandbox's folder when the process that made it is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask.sandbox import Sandbox
from pytest_rltask.sandbox.watcher import removal

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a watcher knows of one process group only")
GONE_S = 30.0

OWNER = """
import sys, threading
from pytest_rltask.sandbox import Sandbox
sandbox = Sandbox(preload=sys.argv[2:])
sandbox.write_file("script.py", "import time; open('begun', 'w').close(); time.sleep(600)")
if sys.argv[1] == "runs":
    threading.Thread(target=sandbox.run_python, args=("script.py",)).start()
print(sandbox.path, flush=True)
threading.Event().wait()
"""


@contextlib.contextmanager
def owner(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Start a process with a sandbox; yield it and the sandbox's working directory, and kill it in the end."""
    with subprocess.Popen([sys.executable, "-c", OWNER, *arguments], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


def until(what: str, holds: object) -> None:
    deadline = time.monotonic() + GONE_S
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.mark.parametrize("preload", [(), ("decimal",)], ids=["cold", "preloaded"])
def test_the_watcher_removes_it_after_a_kill(preload: tuple[str, ...]) -> None:
    with owner("runs", *preload) as (process, path):
        until("the script begins", (path / "begun").exists)

        os.kill(process.pid, signal.SIGKILL)

        until("the folder is removed", lambda: not path.parent.exists())


def test_the_watcher_of_an_idle_interpreter_removes_it_too() -> None:
    with owner("waits", "decimal") as (process, path):
        os.kill(process.pid, signal.SIGKILL)

        until("the folder is removed", lambda: not path.parent.exists())


def test_where_no_watcher_was_the_next_process_removes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with owner("waits") as (process, path):
        removal.remove_orphans(str(tmp_path), "rltask-")
        assert path.exists(), "its owner lives"

        process.kill()
        process.wait()
        removal.remove_orphans(str(tmp_path), "other-")
        assert path.exists()
        subprocess.run(
            [sys.executable, "-c", "from pytest_rltask.sandbox import Sandbox; Sandbox().close()"], check=True
        )

        assert not path.parent.exists()


def test_nobody_else_s_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "rltask-not-ours").mkdir()
    (tmp_path / "rltask-link").symlink_to(tmp_path / "rltask-not-ours")
    with Sandbox() as sandbox:
        removal.remove_orphans(str(sandbox.path.parent.parent), "rltask-")
        removal.remove_orphans(str(tmp_path), "rltask-")

        assert sandbox.path.exists()
    assert len(os.listdir(tmp_path)) == 2
