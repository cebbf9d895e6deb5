"""Runs of honest and of hostile scripts. They attack only processes and files that the test itself made."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError, SandboxLimits, SandboxResult, process
from pytest_rltask.sandbox.backends.backend import NoIsolation, Wish
from pytest_rltask.tools import ToolError

MB = 2**20
PROMPT_S = 30.0
"""Far above what a kill takes, far below how long the victims would live."""

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and prctl")

Run = Callable[..., SandboxResult]


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
        sandbox = Sandbox(SandboxLimits(**limits), backend=backend)  # type: ignore[arg-type]
        opened.append(sandbox)
        sandbox.write_file("script.py", dedent(code))
        return sandbox.run_python("script.py", *args)

    yield run
    for sandbox in opened:
        sandbox.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(wall_s=20)) as sandbox:
        yield sandbox


@pytest.fixture
def bare_sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxLimits(wall_s=20), backend="none") as sandbox:
        yield sandbox


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z")


# What an honest script gets


def test_it_returns_the_exit_code_and_both_streams(run: Run) -> None:
    result = run("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")

    assert (result.status, result.exit_code, result.stdout, result.stderr) == ("exit", 3, "out\n", "err\n")
    assert not result.ok


def test_it_passes_arguments(run: Run) -> None:
    result = run("import sys; print(sys.argv)", "--epochs", "3")

    assert result.ok
    assert result.stdout == "['script.py', '--epochs', '3']\n"


def test_a_script_imports_the_modules_next_to_it_and_works_in_the_working_directory(sandbox: Sandbox) -> None:
    sandbox.write_file("models/net.py", "import helper; open('seen.txt', 'w').write(helper.WORD)")
    sandbox.write_file("models/helper.py", "WORD = 'hidden layer'")

    result = sandbox.run_python("models/net.py")

    assert result.ok, result.stderr
    assert sandbox.read_file("seen.txt", max_bytes=100) == b"hidden layer"


@pytest.mark.parametrize("name", ["-c.py", "--help", "./a//b.py", "naïve ✓.py"])
def test_a_script_may_have_any_name(sandbox: Sandbox, name: str) -> None:
    sandbox.write_file(name, "print('it ran')")

    assert sandbox.run_python(name).stdout == "it ran\n"


def test_a_traceback_shows_the_script_only(run: Run) -> None:
    result = run("def f():\n    1 / 0\nf()")

    assert result.exit_code == 1
    assert result.stderr.count("File ") == 2
    assert result.stderr.count("script.py") == 2


def test_the_interpreter_is_ours_and_so_are_its_packages(run: Run) -> None:
    result = run("import sys, pytest; print(sys.prefix, pytest.__version__)")

    assert result.stdout.split() == [sys.prefix, pytest.__version__]


def test_many_runs_at_once_do_not_disturb_each_other(run: Run) -> None:
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda i: run("import sys; print(sys.argv[1])", str(i)), range(12)))

    assert [result.stdout for result in results] == [f"{i}\n" for i in range(12)]


# What it does not get


def test_its_environment_is_built_from_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary-1")
    monkeypatch.setenv("PYTHONPATH", "/canary-2")

    result = run("import json, os; print(json.dumps(dict(os.environ)))")

    environment = json.loads(result.stdout)
    assert "canary" not in result.stdout
    assert environment.pop("PYTHONPATH", "/rltask-").count("/rltask-") == 1  # a folder of ours, where there is one
    assert environment.keys() <= {
        *("PATH", "HOME", "USER", "TMPDIR", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
        *("OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONHASHSEED"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONNOUSERSITE", "PYTEST_ADDOPTS"),
        "LOKY_MAX_CPU_COUNT",
        "__CF_USER_TEXT_ENCODING",
    }


@linux_only
def test_its_watcher_holds_no_secret_either(bare_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")

    result = bare_run("""
        import os
        print(open(f"/proc/{os.getppid()}/environ").read(), open(f"/proc/{os.getppid()}/cmdline").read())
    """)

    assert "watcher/launcher.py" in result.stdout
    assert "canary" not in result.stdout


def test_temporary_files_do_not_litter_the_working_directory(sandbox: Sandbox) -> None:
    sandbox.write_file("script.py", "import tempfile, os; print(tempfile.mkstemp()[1], os.path.expanduser('~'))")

    temporary, home = sandbox.run_python("script.py").stdout.split()

    assert sandbox.files() == ["script.py"]
    assert Path(temporary).is_relative_to(sandbox.path.parent)
    assert Path(home).is_relative_to(sandbox.path.parent)


def test_standard_input_is_at_its_end(run: Run) -> None:
    assert run("import sys; print(repr(sys.stdin.read()))").stdout == "''\n"


def test_no_other_file_descriptor_reaches_it(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)

        result = run("""
            import os
            def is_open(fd):
                try: return bool(os.fstat(fd))
                except OSError: return False
            print([fd for fd in range(256) if is_open(fd)])
        """)

    assert result.stdout == "[0, 1, 2]\n"


def test_it_leads_its_own_session_and_yields_the_cpu_to_us(bare_run: Run) -> None:
    result = bare_run("import os; print(os.getsid(0) == os.getpid(), os.nice(0))")

    leads, niceness = result.stdout.split()
    assert leads == "True"
    assert int(niceness) > os.nice(0) or os.nice(0) == 19


@pytest.mark.parametrize("argument", ["a\0b", "\ud800"])
def test_an_argument_that_cannot_be_passed_is_refused(run: Run, argument: str) -> None:
    with pytest.raises(ToolError, match="argument"):
        run("", argument)


@pytest.mark.parametrize("name", ["missing.py", "folder", "link.py", "../script.py", "/etc/hostname", ""])
def test_only_a_plain_file_of_the_working_directory_is_run(sandbox: Sandbox, name: str) -> None:
    sandbox.write_file("folder/a.py", "")
    (sandbox.path / "link.py").symlink_to("folder/a.py")

    with pytest.raises(ToolError):
        sandbox.run_python(name)


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
    assert [environment for environment in environments() if marker in environment] == []


def environments() -> Iterator[bytes]:
    """Yield the environment of every process that lets us see it."""
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
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


# Nothing outlives its run


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
        [sys.executable, "-c", dedent(KEEPER), DAEMON], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
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


def has_ended(pidfd: int) -> bool:
    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(PROMPT_S * 1000))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PROMPT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


# Our own faults, and the seam for isolation


class Wrapper(NoIsolation):
    """A backend that puts some words before the command."""

    name = "wrapper"

    def __init__(self, *words: str) -> None:
        self.words = words

    def wrap(self, command: Sequence[str], *, base: Path, wish: Wish) -> Sequence[str]:
        return [*self.words, *command]


def test_a_backend_wraps_the_command(bare_sandbox: Sandbox) -> None:
    bare_sandbox._backend = Wrapper("/usr/bin/env", "WRAPPED=yes")
    bare_sandbox.write_file("script.py", "import os; print(os.environ['WRAPPED'])")

    assert bare_sandbox.run_python("script.py").stdout == "yes\n"


def test_a_backend_that_cannot_start_is_our_fault(sandbox: Sandbox) -> None:
    sandbox._backend = Wrapper("/missing/bwrap")
    sandbox.write_file("script.py", "")

    with pytest.raises(SandboxError, match="could not run"):
        sandbox.run_python("script.py")


def test_an_interpreter_that_cannot_start_is_our_fault(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.write_file("script.py", "")
    monkeypatch.setattr(sys, "executable", "/missing/python")

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
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    """,
    )

    with pytest.raises(SandboxError, match="watcher died"):
        bare_sandbox.run_python("script.py")

    pid = int(bare_sandbox.read_file("pid", max_bytes=20))
    wait_for(lambda: not is_alive(pid))


@linux_only
def test_a_watcher_that_was_suspended_does_not_extend_the_time(bare_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_GRACE_S", 0.5)

    result = bare_run(DAEMON + "print(os.getpid())\nos.kill(os.getppid(), signal.SIGSTOP)\ntime.sleep(60)", wall_s=2)

    assert result.status == "timed out"
    daemon, script = map(int, result.stdout.split())
    wait_for(lambda: not is_alive(daemon) and not is_alive(script))
