"""Runs that are forked from a preloaded interpreter: what differs from a cold start, and what must not."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError, SandboxLimits, SandboxResult
from pytest_rltask.sandbox.choice import resolve
from pytest_rltask.sandbox.watcher import proc
from tests.sandbox import test_sandbox_run as of_cold_runs
from tests.sandbox.test_sandbox_run import DAEMON, PROMPT_S, Run, has_ended, is_alive, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="preloads on Linux only")

MODULE = "decimal"
"""What these tests preload: quickly imported, and no module that a cold start has loaded."""


@pytest.fixture
def run() -> Iterator[Run]:
    """Run a script in a sandbox of its own, under the limits given as keywords, isolated from the machine."""
    yield from runs(backend=None)


@pytest.fixture
def bare_run() -> Iterator[Run]:
    """The same without isolation, where a script can name us and be named by us."""
    yield from runs(backend="none")


def runs(*, backend: str | None) -> Iterator[Run]:
    opened: list[Sandbox] = []

    def run(code: str, *args: str, **limits: float) -> SandboxResult:
        limits = {"wall_s": 20, **limits}
        sandbox = Sandbox(SandboxLimits(**limits), backend=backend, preload=[MODULE])  # type: ignore[arg-type]
        opened.append(sandbox)
        sandbox.write_file("script.py", dedent(code))
        return sandbox.run_python("script.py", *args)

    yield run
    for sandbox in opened:
        sandbox.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(wall_s=20), preload=[MODULE]) as sandbox:
        yield sandbox


@pytest.fixture
def bare_sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(wall_s=20), preload=[MODULE], backend="none") as sandbox:
        yield sandbox


@pytest.fixture(params=["bwrap", "landlock", "none"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend that works here."""
    name: str = request.param
    try:
        return resolve(name)
    except SandboxError as error:
        pytest.skip(str(error))


# The promises of every run hold, with the fixtures of this module

test_arguments = of_cold_runs.test_it_passes_arguments
test_names = of_cold_runs.test_a_script_may_have_any_name
test_many_at_once = of_cold_runs.test_many_runs_at_once_do_not_disturb_each_other
test_descriptors = of_cold_runs.test_no_other_file_descriptor_reaches_it
test_bad_arguments = of_cold_runs.test_an_argument_that_cannot_be_passed_is_refused
test_time_limit = of_cold_runs.test_an_endless_loop_that_ignores_all_signals_is_timed_out
test_suspended = of_cold_runs.test_a_suspended_script_is_timed_out
test_memory = of_cold_runs.test_an_allocation_past_the_limit_is_a_memory_error_in_the_script
test_shared_memory = of_cold_runs.test_shared_memory_counts_as_memory
test_shared_pages = of_cold_runs.test_pages_that_forked_children_share_count_once
test_fork_bomb = of_cold_runs.test_a_fork_bomb_is_stopped
test_cpu = of_cold_runs.test_cpu_time_is_limited
test_file_size = of_cold_runs.test_a_file_past_the_limit_is_an_error_in_the_script
test_flood = of_cold_runs.test_a_flood_of_output_ends_the_run
test_much_output = of_cold_runs.test_much_output_below_the_flood_is_drained
test_daemon = of_cold_runs.test_it_kills_a_daemon_that_left_the_session_and_holds_the_output
test_child_of_the_group = of_cold_runs.test_it_kills_a_child_of_the_same_group
test_closing = of_cold_runs.test_closing_from_another_thread_ends_the_run_promptly
test_closed = of_cold_runs.test_a_closed_sandbox_may_be_closed_again_but_runs_nothing


# A script cannot tell

SCRIPTS = {
    "identity": """
        import os, sys
        print(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.executable)
        print({name: value for name, value in globals().items() if name not in ("__loader__", "__builtins__")})
        print(__loader__.name, __loader__.path, __builtins__, sys.modules["__main__"].__dict__ is globals())
        print(sorted(os.environ.items()), os.getcwd(), os.nice(0))
        print(sys.stdin, sys.stdout, sys.stderr, sys.stdout.line_buffering, sys.stdout.write_through)
    """,
    "limits": """
        import resource, signal
        # That on processes counts, where no user is the sandbox's own, what else of the user runs at this moment.
        names = [name for name in dir(resource) if name[:7] == "RLIMIT_" and name != "RLIMIT_NPROC"]
        print({name: resource.getrlimit(getattr(resource, name)) for name in names})
        print({number: signal.getsignal(number) for number in signal.valid_signals()})
    """,
    "exit code": "import sys; sys.exit(3)",
    "exit text": "import sys; sys.exit('no such column')",
    "exit at once": "import os; print('kept', flush=True); os._exit(4)",
    "error": "def f(): 1 / 0\ntry: f()\nexcept ZeroDivisionError as error: raise RuntimeError('so') from error",
    "error in an import": "import helper",
    "syntax error": "print('a')\nx = = 3",
    "not text": "x = '\udcff'",
    "interrupt": "raise KeyboardInterrupt",
    "signal": "import os; os.kill(os.getpid(), 15)",
    "own excepthook": "import sys; sys.excepthook = lambda *what: print('mine', what[1]); 1 / 0",
    "at exit": """
        import atexit, threading, time
        class Last:
            def __del__(self): print("collected")
        last, file = Last(), open("unflushed.txt", "w")
        file.write("text")
        atexit.register(print, "at exit")
        threading.Thread(target=lambda: (time.sleep(0.1), print("thread"))).start()
        print("main")
    """,
    "after the exit before": "print(open('unflushed.txt').read())",
    "pickle": """
        import pickle
        class Net: pass
        print(pickle.dumps(Net()), type(pickle.loads(pickle.dumps(Net()))) is Net)
    """,
    "processes": """
        import multiprocessing
        def square(x): return x * x
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                with multiprocessing.get_context(method).Pool(2) as pool: print(method, pool.map(square, range(4)))
    """,
    "hash seed": "print(hash('text'), {'a', 'b', 'c'})",
    "warning": "import warnings; warnings.warn('deprecated'); warnings.warn('deep', stacklevel=9)",
}


@pytest.mark.parametrize("backend", ["bwrap", "landlock", "none"], indirect=True)
def test_a_script_finds_what_a_cold_start_would_give_it(backend: str) -> None:
    with Sandbox(backend=backend) as cold, Sandbox(backend=backend, preload=[MODULE]) as preloaded:
        told: list[dict[str, tuple[object, ...]]] = []
        for sandbox in (cold, preloaded):
            sandbox.write_file("helper.py", "import missing_module")
            told.append({name: observe(sandbox, name) for name in SCRIPTS})

    for name in SCRIPTS:
        assert told[1][name] == told[0][name], name


def observe(sandbox: Sandbox, name: str) -> tuple[object, ...]:
    sandbox.write_file("script.py", dedent(SCRIPTS[name]).encode("utf-8", "surrogateescape"))
    result = sandbox.run_python("script.py", "--epochs", "3", "naïve ✓")
    texts = [text.replace(str(sandbox.path.parent), "BASE") for text in (result.stdout, result.stderr)]
    return result.status, result.exit_code, *texts


def test_modules_are_imported_once_and_runs_are_forked_from_one_interpreter(sandbox: Sandbox) -> None:
    sandbox.write_file("script.py", f"import os, sys; print({MODULE!r} in sys.modules, os.getppid())")

    first, second = (sandbox.run_python("script.py").stdout for _ in range(2))

    assert first.startswith("True")
    assert first == second


def test_nothing_is_started_before_a_script_is_written() -> None:
    with Sandbox(preload=[MODULE]) as sandbox:
        sandbox.write_file("train.csv", "1,2")

        assert sandbox._server is None


def test_generators_of_random_numbers_start_anew_in_each_run() -> None:
    with Sandbox(preload=["numpy.random"]) as sandbox:
        sandbox.write_file("script.py", "import numpy, random; print(numpy.random.rand(), random.random())")

        first, second = (sandbox.run_python("script.py").stdout.split() for _ in range(2))

    assert first[0] != second[0]
    assert first[1] != second[1]


@pytest.mark.slow
def test_torch_trains_in_each_run_and_draws_anew() -> None:
    pytest.importorskip("torch")
    with Sandbox(preload=["torch"]) as sandbox:
        sandbox.write_file(
            "script.py",
            """if True:
            import torch
            net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
            optimizer = torch.optim.Adam(net.parameters())
            x = torch.randn(256, 64)
            for _ in range(5):
                optimizer.zero_grad()
                (net(x) ** 2).mean().backward()
                optimizer.step()
            print(torch.initial_seed())
            torch.onnx.export(net.eval(), (x,), "model.onnx", dynamo=False)
            """,
        )

        runs = [sandbox.run_python("script.py") for _ in range(2)]

        assert [run.ok for run in runs] == [True, True], runs
        assert runs[0].stdout != runs[1].stdout
        assert "model.onnx" in sandbox.files()


@pytest.mark.parametrize("name", [f"{MODULE}.py", f"{MODULE}/__init__.py"])
def test_a_module_next_to_the_script_goes_before_a_preloaded_one(sandbox: Sandbox, name: str) -> None:
    sandbox.write_file(f"folder/{name}", "WORD = 'mine'")
    sandbox.write_file("folder/script.py", f"import {MODULE}; print({MODULE}.WORD)")

    assert sandbox.run_python("folder/script.py").stdout == "mine\n"


def test_what_lies_in_the_working_directory_is_not_run_by_the_interpreter(sandbox: Sandbox) -> None:
    plant = "open('planted', 'w').close()"
    for name in ("sitecustomize", "usercustomize", MODULE, "numbers", "json", "site", "_preload"):
        (sandbox.path / f"{name}.py").write_text(plant)
    (sandbox.path / "plant.pth").write_text(f"import sys; {plant}")
    sandbox.write_file("elsewhere/script.py", f"import sys; print({MODULE!r} in sys.modules)")

    result = sandbox.run_python("elsewhere/script.py")

    assert (result.stdout, result.stderr) == ("True\n", "")
    assert "planted" not in sandbox.files()


def test_each_run_has_all_of_the_cpu_time(sandbox: Sandbox) -> None:
    sandbox.limits = SandboxLimits(cpu_s=1)
    sandbox.write_file("script.py", "import time\nwhile time.process_time() < 0.5: pass")

    assert [sandbox.run_python("script.py").status for _ in range(3)] == ["exit"] * 3


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
        assert sandbox._server is not None
        watcher = sandbox._server._watcher.process.popen.pid
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
        wait_for(sandbox._turn.locked)
        sandbox.close()
        thread.join(PROMPT_S)

    assert outcome == ["the sandbox is closed"]


def test_everything_dies_with_a_pytest_that_is_killed() -> None:
    keeper = subprocess.Popen(
        [sys.executable, "-c", dedent(KEEPER), MODULE], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
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
    print(sandbox.path.parent, sandbox._server._watcher.process.popen.pid, interpreter, flush=True)
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
        "pytest_rltask.sandbox.sandbox._environment",
        lambda scratch: {"PATH": "/usr/bin", "PYTHONPATH": str(tmp_path)},
    )
    (tmp_path / "busy.py").write_text("import threading, time; threading.Thread(target=time.sleep, args=(60,)).start()")
    with Sandbox(preload=["busy"], backend="none") as sandbox:
        sandbox.write_file("script.py", "print('it ran')")

        with pytest.warns(RuntimeWarning, match="threads"):
            assert sandbox.run_python("script.py").ok


def test_an_interpreter_that_died_unused_is_replaced(bare_sandbox: Sandbox) -> None:
    bare_sandbox.write_file("script.py", f"import os, sys; print(os.getppid(), {MODULE!r} in sys.modules)")
    interpreter = int(bare_sandbox.run_python("script.py").stdout.split()[0])
    assert bare_sandbox._server is not None
    watcher = bare_sandbox._server._watcher.process.popen

    proc.kill(interpreter)
    watcher.wait(PROMPT_S)

    assert bare_sandbox.run_python("script.py").stdout.endswith("False\n")
    assert bare_sandbox.run_python("script.py").stdout.endswith("True\n")


def test_a_run_too_long_to_be_asked_for_starts_cold(sandbox: Sandbox) -> None:
    sandbox.write_file("script.py", f"import sys; print(len(sys.argv), {MODULE!r} in sys.modules)")

    result = sandbox.run_python("script.py", *(["x" * 1000] * 100))

    assert result.stdout == "101 False\n"
