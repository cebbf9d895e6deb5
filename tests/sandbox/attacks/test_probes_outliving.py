"""The table of attacks on other processes: what may not outlive its run, and whom it may not signal."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sandbox import probes
from tests.sandbox.attacks.box import DAEMON, Box, refuse_unless, said, until
from tests.sandbox.probes import Arena, attack, processes_with

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends tested here are Linux's")

ENDED = ("exit", "killed")
"""How a run ends that harms what lies beside it in the sandbox: itself, or with the interpreter it was forked from."""


@pytest.mark.parametrize("silent", [True, False], ids=["a daemon", "one that holds the output"])
def test_nothing_outlives_the_run(silent: bool, box: Box) -> None:
    result = box(attack(DAEMON.format(silent=silent)))

    assert result.ok, said(result)
    assert (box.last.path / "beat.txt").exists()  # and box() has seen that no process is left


def test_it_changes_no_priority_of_our_processes(box: Box, arena: Arena) -> None:
    before = arena.victim_runs()

    result = box(probes.PRIORITIES, arena.told())

    assert result.status in ENDED, said(result)
    assert arena.victim_runs() == before


CAN_SIGNAL = attack("""
for pid in (A["victim"], -A["victim"], A["parent"]):
    if attempt(lambda: os.kill(pid, 0) or True):
        print("GOT", pid)
""")


def test_it_cannot_signal_our_processes(box: Box, arena: Arena) -> None:
    result = box(CAN_SIGNAL, arena.told())

    assert result.status == "exit", said(result)
    assert "GOT" not in result.stdout


def test_it_cannot_kill_all_processes(box: Box, arena: Arena) -> None:
    seen = box(CAN_SIGNAL, arena.told())
    refuse_unless(seen.ok and "GOT" not in seen.stdout, "what keeps signals inside the sandbox")

    result = box(attack("attempt(lambda: os.kill(-1, signal.SIGKILL))"), arena.told())

    assert result.status in ENDED, said(result)
    assert arena.victim_is_well()


def test_it_may_kill_what_started_it(box: Box) -> None:
    result = box(attack("attempt(lambda: os.kill(os.getppid(), signal.SIGKILL)); time.sleep(0.2)"), wall_s=5.0)

    assert result.status in (*ENDED, "timed out"), said(result)


def test_it_dies_with_the_process_that_runs_it(backend: str, tmp_path: Path) -> None:
    name = f"probe-{secrets.token_hex(8)}.py"
    driver = f"""
from pytest_rltask.sandbox import Sandbox, SandboxLimits
box = Sandbox(SandboxLimits(wall_s=600), backend={backend!r})
print(box.path, flush=True)
box.write_file({name!r}, "open('up', 'w').close()\\nwhile True: pass")
box.run_python({name!r})
"""
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(
        [sys.executable, "-c", driver], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        until((folder / "up").exists)
        assert processes_with(name)
        process.send_signal(signal.SIGKILL)

        until(lambda: not processes_with(name))
