"""Runs that are interrupted from outside while trials are in flight, as a terminal or a supervisor does it.

Each run is a pytest process in a process group of its own, at work in a private folder. That is also how the
processes it starts are found: by their working directory, which even the sandbox's environment leaves as it is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.messages_api import MessagesAPI, hang, status

TASK = '''
import pathlib, threading, time
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Sandbox, Task, call, tool

HERE = pathlib.Path(__file__).parent

class BusyEpisode(Episode):
    prompt = "Work."

    def __init__(self, task, seed):
        self.sandbox = Sandbox()
        if task.slow == "open":
            (HERE / "ready").touch()
            time.sleep(600)

    @tool
    def run(self, code: str) -> str:
        """Run a program."""
        self.sandbox.write_file("main.py", code)
        threading.Thread(target=announce, args=(self.sandbox.path / "ready",), daemon=True).start()
        return self.sandbox.run_python("main.py").status

    def grade(self):
        return Grade(0.0, threshold=1.0)

    def close(self):
        (HERE / "closing").touch()
        self.sandbox.close()
        (HERE / "closed").open("a").write("x")

def announce(inside):
    """Tell that the program runs, which itself can reach only its own folder."""
    while not inside.exists():
        time.sleep(0.01)
    (HERE / "ready").touch()

def loop(view):
    (HERE / "ready").touch()
    while True:
        pass

def sleeps(view):
    (HERE / "ready").touch()
    time.sleep(600)
    yield "never"

def runs(view):
    yield call("run", code="open('ready', 'w')\\nwhile True: pass")

def quick(view):
    yield "nothing"

def first_quick(view):
    yield from (quick if view.seed < 46 else runs)(view)

def computes(view):
    yield loop(view)

@dataclass(frozen=True)
class Busy(Task):
    slow: str = ""
    policies = {"computes": computes, "sleeps": sleeps, "runs": runs, "quick": quick, "first_quick": first_quick}
    def open(self, seed):
        return BusyEpisode(self, seed)
'''

TEST = """
import pytest
from busy import Busy

@pytest.mark.rltask(task=Busy({slow!r}))
def test_busy(trial):
    assert trial.passed
"""

CLAUDE = "claude-haiku-4-5-20251001"


@dataclass(frozen=True)
class Situation:
    """What trials are doing when the signal comes."""

    model: str
    step: object = None
    """How a server answers each request; None: there is no server."""
    slow: str = ""
    """A part of the episode that takes long."""


SITUATIONS = {
    "request": Situation(CLAUDE, hang()),
    "backoff": Situation(CLAUDE, status(529, headers={"retry-after": "60"})),
    "sandbox": Situation("policy:runs"),
    "computing": Situation("policy:computes"),
    "sleeping": Situation("policy:sleeps"),
    "opening": Situation("policy:quick", slow="open"),
    "half done": Situation("policy:first_quick"),
}
"""By name: a request that hangs, a retry that waits, and so on."""


@dataclass
class Interrupted:
    """A run under way, and what became of it."""

    folder: Path
    process: subprocess.Popen[bytes]
    seconds: float = float("nan")
    """From the first signal until the last process was gone."""
    output: str = ""
    left: list[str] = field(default_factory=list)
    """What was left behind: command lines of processes and names of temporary files."""

    def signal(self, number: int, *, group: bool = True) -> None:
        """Send a signal to the process group, as a terminal does, or to pytest's own process alone."""
        (os.killpg if group else os.kill)(self.process.pid, number)

    def wait_for(self, name: str, timeout_s: float = 60) -> None:
        """Wait for a file of the run's folder."""
        wait_until((self.folder / name).exists, f"the file {name}", timeout_s)


def wait_until(condition: Callable[[], object], what: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {timeout_s:g} s"
        time.sleep(0.01)


@contextlib.contextmanager
def started(folder: Path, situation: Situation, *arguments: str) -> Iterator[Interrupted]:
    """Start pytest, and yield once a trial is where the situation has it; then wait for the end of all processes."""
    (folder / "tmp").mkdir(parents=True)
    (folder / "busy.py").write_text(TASK)
    (folder / "test_busy.py").write_text(TEST.format(slow=situation.slow))
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "TMPDIR": str(folder / "tmp"), "PYTHONPATH": root, "ANTHROPIC_API_KEY": "sk-test"}
    env["PYTEST_ADDOPTS"] = "-p no:hypothesispytest -p no:cacheprovider"
    with contextlib.ExitStack() as stack:
        api = stack.enter_context(MessagesAPI(lambda body, turn: situation.step)) if situation.step else None
        env["ANTHROPIC_BASE_URL"] = api.base_url if api else "http://127.0.0.1:9"
        log = (folder / "output").open("wb+")
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "--model", situation.model, *arguments],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_heed_ctrl_c,
        )
        run = Interrupted(folder, process)
        try:
            if api:
                wait_until(lambda: api.requests, "a request", 60)
            else:
                run.wait_for("ready")
            begin = time.monotonic()
            yield run
            with contextlib.suppress(AssertionError):
                wait_until(lambda: process.poll() is not None and not processes_in(folder), "the end", 120)
            run.seconds = time.monotonic() - begin
        finally:
            run.left = [*processes_in(folder).values(), *(path.name for path in (folder / "tmp").glob("rltask-*"))]
            for pid in processes_in(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            log.seek(0)
            run.output = log.read().decode(errors="replace")
            log.close()


def _heed_ctrl_c() -> None:
    """Undo what a shell does to its background jobs, of which this process may be one."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def processes_in(folder: Path) -> dict[int, str]:
    """Return the command lines, by process id, of whatever works in a folder or below it."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found
