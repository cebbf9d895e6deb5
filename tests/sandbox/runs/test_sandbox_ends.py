"""The end of runs: nothing outlives one, and what is our own fault is called that."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError, SandboxResult, process
from pytest_rltask.sandbox.backends.backend import NoIsolation, Wish
from pytest_rltask.tools import ToolError
from tests.sandbox.runs.running import DAEMON, PROMPT_S, Run, has_ended, is_alive, linux_only, wait_for

# Nothing outlives its run


@linux_only
@pytest.mark.parametrize(("then", "status"), [("", "exit"), ("time.sleep(120)", "timed out")])
def test_it_kills_a_daemon_that_left_the_session_and_holds_the_output(bare_run: Run, then: str, status: str) -> None:
    result = bare_run(DAEMON + then, wall_s=2)

    assert result.status == status
    assert not is_alive(int(result.stdout))
    assert result.wall_s < PROMPT_S


def test_it_kills_a_child_of_the_same_group(bare_run: Run) -> None:
    result = bare_run("import subprocess; print(subprocess.Popen(['/bin/sleep', '120']).pid)")

    assert result.status == "exit"
    assert not is_alive(int(result.stdout))


def test_closing_from_another_thread_ends_the_run_promptly(bare_sandbox: Sandbox) -> None:
    bare_sandbox.write_file("script.py", DAEMON + "open('started', 'w').close(); time.sleep(120)")
    results: list[SandboxResult] = []
    thread = threading.Thread(target=lambda: results.append(bare_sandbox.run_python("script.py")))
    thread.start()
    wait_for(lambda: "started" in bare_sandbox.files())

    bare_sandbox.close()
    thread.join(PROMPT_S)

    assert [(result.status, result.exit_code) for result in results] == [("closed", None)]
    assert not is_alive(int(results[0].stdout))
    assert not bare_sandbox.path.parent.exists()


def test_a_closed_sandbox_may_be_closed_again_but_runs_nothing(sandbox: Sandbox) -> None:
    path = sandbox.write_file("script.py", "")
    sandbox.close()
    sandbox.close()

    assert not path.exists()
    with pytest.raises((SandboxError, ToolError)):
        sandbox.run_python("script.py")


@linux_only
def test_everything_dies_with_a_pytest_that_is_killed() -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-c", dedent(KEEPER), DAEMON], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    assert keeper.stdout is not None
    base, *pids = keeper.stdout.readline().split()
    victims = [os.pidfd_open(int(pid)) for pid in pids]

    keeper.kill()
    keeper.wait()
    keeper.stdout.close()

    try:
        assert len(victims) == 2
        assert all(has_ended(victim) for victim in victims)
    finally:
        for victim in victims:
            os.close(victim)
        subprocess.run(["rm", "-rf", base], check=True)


KEEPER = """
    import os, sys, threading
    from pytest_rltask.sandbox import Sandbox

    sandbox = Sandbox(backend="none")
    os.mkfifo(sandbox.path / "pids")
    tell = "open('pids', 'w').write(f'{os.getpid()} {daemon}'); time.sleep(120)"
    sandbox.write_file("script.py", sys.argv[1].replace("print(", "daemon = str(").replace(", flush=True", "") + tell)
    threading.Thread(target=sandbox.run_python, args=("script.py",)).start()
    print(sandbox.path.parent, open(sandbox.path / "pids").read(), flush=True)
"""


# Our own faults, and the seam for isolation


class Wrapper(NoIsolation):
    """A backend that puts some words before the command."""

    name = "wrapper"

    def __init__(self, *words: str) -> None:
        self.words = words

    def wrap(self, command: Sequence[str], *, base: Path, wish: Wish) -> Sequence[str]:
        return [*self.words, *command]


def test_a_backend_wraps_the_command(bare_sandbox: Sandbox) -> None:
    bare_sandbox._runner.backend = Wrapper("/usr/bin/nice", "-n", "2")
    bare_sandbox.write_file("script.py", "import os; print(os.nice(0))")

    assert bare_sandbox.run_python("script.py").stdout == "7\n"


def test_a_backend_that_cannot_start_is_our_fault(sandbox: Sandbox) -> None:
    sandbox._runner.backend = Wrapper("/missing/bwrap")
    sandbox.write_file("script.py", "")

    with pytest.raises(SandboxError, match="could not run"):
        sandbox.run_python("script.py")


def test_an_interpreter_that_cannot_start_is_our_fault(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/missing/python")
    sandbox.write_file("script.py", "")

    with pytest.raises(SandboxError, match="could not start"):
        sandbox.run_python("script.py")


def test_a_temporary_directory_that_is_missing_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/missing")

    with pytest.raises(SandboxError, match="directory"):
        Sandbox()


@linux_only
def test_a_watcher_that_dies_is_our_fault_and_takes_the_script_along(bare_sandbox: Sandbox) -> None:
    bare_sandbox.write_file(
        "script.py",
        """if True:
        import os, signal, time
        with open("pid", "w") as file: file.write(str(os.getpid()))
        with open(f"/proc/{os.getppid()}/status") as file: watcher = file.read().split("PPid:")[1].split()[0]
        os.kill(int(watcher), signal.SIGKILL)
        time.sleep(60)
    """,
    )

    with pytest.raises(SandboxError, match="watcher died"):
        bare_sandbox.run_python("script.py")

    pid = int(bare_sandbox.read_file("pid", max_bytes=20))
    wait_for(lambda: not is_alive(pid))


@linux_only
def test_a_watcher_that_was_suspended_does_not_extend_the_time(bare_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE_S", 0.5)

    result = bare_run(DAEMON + "print(os.getpid())\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(60)", wall_s=2)

    assert result.status == "timed out"
    daemon, script = map(int, result.stdout.split())
    wait_for(lambda: not is_alive(daemon) and not is_alive(script))
