"""The preloaded interpreter itself: what hostile runs do to it, and what it dies with."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_rltask.sandbox import Sandbox
from pytest_rltask.sandbox.watcher import proc
from tests.sandbox.preload.preloaded import MODULE
from tests.sandbox.runs.running import DAEMON, PROMPT_S, Run, has_ended, is_alive, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="preloads on Linux only")

# A hostile run


DEEDS = {
    "kill": ("os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)", "killed"),
    "kill and end": ("os.kill(os.getppid(), signal.SIGKILL)", "killed"),
    "suspend": ("os.kill(os.getppid(), signal.SIGSTOP); time.sleep(60)", "timed out"),
    "suspend and end": ("os.kill(os.getppid(), signal.SIGSTOP)", "timed out"),
    "interrupt": ("os.kill(os.getppid(), signal.SIGINT); time.sleep(0.5)", "killed"),
    "limit": ("resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (4, 4))", "killed"),
    "be nice": ("os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)", "killed"),
}


@pytest.mark.parametrize("deed", DEEDS)
def test_a_run_that_harms_the_interpreter_is_told_so_and_the_next_one_gets_another(backend: str, deed: str) -> None:
    code, status = DEEDS[deed]
    with Sandbox(preload=[MODULE], backend=backend) as sandbox:
        sandbox.write_file("hostile.py", f"import os, resource, signal, time\n{code}")
        sandbox.write_file("honest.py", f"import sys; print({MODULE!r} in sys.modules)")

        hostile = sandbox.run_python("hostile.py", wall_s=1 if status == "timed out" else 10)
        honest = sandbox.run_python("honest.py")

    if hostile.status == "exit":  # the backend prevented it
        assert "PermissionError" in hostile.stderr
    else:
        assert (hostile.status, hostile.exit_code) == (status, None)
    assert (honest.status, honest.stdout) == ("exit", "True\n")


def test_a_daemon_is_dead_before_the_next_run_and_the_interpreter_is_not(bare_sandbox: Sandbox) -> None:
    bare_sandbox.write_file("hostile.py", DAEMON + "print(os.getppid())")
    bare_sandbox.write_file("honest.py", "import os; print(os.getppid())")

    daemon, interpreter = bare_sandbox.run_python("hostile.py").stdout.split()

    assert not is_alive(int(daemon))
    assert bare_sandbox.run_python("honest.py").stdout.split() == [interpreter]


def test_what_a_run_changes_in_memory_is_gone_in_the_next(sandbox: Sandbox) -> None:
    sandbox.write_file(
        "hostile.py", f"import {MODULE}, builtins, os; {MODULE}.hacked = builtins.hacked = 1; os.nice(3)"
    )
    sandbox.write_file(
        "honest.py", f"import {MODULE}, builtins; print(hasattr({MODULE}, 'hacked'), 'hacked' in vars(builtins))"
    )

    sandbox.run_python("hostile.py")

    assert sandbox.run_python("honest.py").stdout == "False False\n"


def test_a_run_holds_no_way_to_the_interpreters_socket(bare_run: Run) -> None:
    result = bare_run("import os; print([os.readlink(f'/proc/self/fd/{fd}').partition(':')[0] for fd in range(3)])")

    assert result.stdout == "['/dev/null', 'pipe', 'pipe']\n"


def test_a_run_may_not_look_into_the_interpreter(run: Run) -> None:
    result = run("import os; open('/proc/self/environ').close(); open(f'/proc/{os.getppid()}/environ')")

    assert "PermissionError" in result.stderr


# The interpreter's life


def test_the_interpreter_dies_with_the_sandbox(bare_sandbox: Sandbox) -> None:
    bare_sandbox.write_file("script.py", "import os; print(os.getppid())")
    interpreter = int(bare_sandbox.run_python("script.py").stdout)
    assert is_alive(interpreter)

    bare_sandbox.close()

    assert not is_alive(interpreter)


def test_closing_while_modules_are_imported_is_prompt() -> None:
    with Sandbox(preload=["torch"]) as sandbox:
        sandbox.write_file("script.py", "")
        assert sandbox._runner.server is not None
        watcher = sandbox._runner.server._watcher.process.popen.pid
        wait_for(lambda: any(True for _ in proc.descendants(watcher)))
        interpreters = list(proc.descendants(watcher))

        sandbox.close()

        assert interpreters
        assert not any(map(is_alive, [watcher, *interpreters]))


def test_closing_while_a_run_waits_for_the_imports_ends_it() -> None:
    with Sandbox(preload=["torch"]) as sandbox:
        sandbox.write_file("script.py", "")
        outcome: list[object] = []

        def run() -> None:
            try:
                outcome.append(sandbox.run_python("script.py"))
            except Exception as error:
                outcome.append(str(error))

        thread = threading.Thread(target=run)
        thread.start()
        wait_for(sandbox._runner.turn.locked)
        sandbox.close()
        thread.join(PROMPT_S)

    assert outcome == ["the sandbox is closed"]


def test_everything_dies_with_a_pytest_that_is_killed() -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-c", dedent(KEEPER), MODULE], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    )
    assert keeper.stdout is not None
    base, *pids = keeper.stdout.readline().split()
    victims = [os.pidfd_open(int(pid)) for pid in pids]

    keeper.kill()
    keeper.wait()
    keeper.stdout.close()

    try:
        assert len(victims) == 2
        assert all(map(has_ended, victims))
    finally:
        for victim in victims:
            os.close(victim)
        subprocess.run(["rm", "-rf", base], check=True)


KEEPER = """
    import sys
    from pytest_rltask.sandbox import Sandbox

    sandbox = Sandbox(preload=sys.argv[1:], backend="none")
    sandbox.write_file("script.py", "import os; print(os.getppid())")
    interpreter = sandbox.run_python("script.py").stdout.strip()
    print(sandbox.path.parent, sandbox._runner.server._watcher.process.popen.pid, interpreter, flush=True)
    import time; time.sleep(120)
"""


def test_modules_that_cannot_be_imported_are_left_to_the_script() -> None:
    with Sandbox(preload=["missing_module"]) as sandbox:
        sandbox.write_file("script.py", "print('it ran')")

        with pytest.warns(RuntimeWarning, match="without preloaded modules: ModuleNotFoundError: .*missing_module"):
            first = sandbox.run_python("script.py")
        second = sandbox.run_python("script.py")

    assert (first.stdout, second.stdout) == ("it ran\n", "it ran\n")


@pytest.mark.filterwarnings("error")
def test_where_warnings_are_errors_a_run_is_not_lost_to_one(caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox(preload=["missing_module"]) as sandbox:
        sandbox.write_file("script.py", "print('it ran')")

        assert sandbox.run_python("script.py").stdout == "it ran\n"

    assert "without preloaded modules" in caplog.text


def test_a_module_that_starts_threads_is_not_preloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "pytest_rltask.sandbox.environment._of_all",
        lambda scratch, python: {"PATH": "/usr/bin", "PYTHONPATH": str(tmp_path)},
    )
    (tmp_path / "busy.py").write_text("import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()")
    with Sandbox(preload=["busy"], backend="none") as sandbox:
        sandbox.write_file("script.py", "print('it ran')")

        with pytest.warns(RuntimeWarning, match="threads"):
            assert sandbox.run_python("script.py").ok


def test_an_interpreter_that_died_unused_is_replaced(bare_sandbox: Sandbox) -> None:
    bare_sandbox.write_file("script.py", f"import os, sys; print(os.getppid(), {MODULE!r} in sys.modules)")
    interpreter = int(bare_sandbox.run_python("script.py").stdout.split()[0])
    assert bare_sandbox._runner.server is not None
    watcher = bare_sandbox._runner.server._watcher.process.popen

    proc.kill(interpreter)
    watcher.wait(PROMPT_S)

    assert bare_sandbox.run_python("script.py").stdout.endswith("False\n")
    assert bare_sandbox.run_python("script.py").stdout.endswith("True\n")


def test_a_run_too_long_to_be_asked_for_starts_cold(sandbox: Sandbox) -> None:
    sandbox.write_file("script.py", f"import sys; print(len(sys.argv), {MODULE!r} in sys.modules)")

    result = sandbox.run_python("script.py", *(["x" * 1000] * 100))

    assert result.stdout == "101 False\n"
