"""Grades an agent's code by tests that it cannot touch: it runs in one fresh sandbox, the tests in another.

What goes from one to the other is plain data, over two pipes: a call of the tests', and the value that came of it
(``inside/agent_code``, ``inside/agent_host``). So no line of the agent's runs where values are compared, the runner's
files, memory and process are out of its reach, and what the tests found is read by us from a pipe that it lacks.
``together=True`` gives that up, for tests of what is no plain data; then the report has to end with a word that the
agent was not told, and what steers pytest or Python is left out of its files.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pytest_rltask.sandbox.forkserver import SUPPORTED
from pytest_rltask.sandbox.inside import source
from pytest_rltask.sandbox.result import SandboxError, SandboxResult
from pytest_rltask.sandbox.sandbox import Sandbox
from pytest_rltask.tools import DefinitionError, ToolError

_REQUESTS, _ANSWERS, _TOLD = 10, 11, 12
"""The numbers of the pipes in the sandboxes."""
_SUPPORT, _PLUGIN = ".rltask", "_rltask_told"
_STAND_IN = "import sys, agent_code\nsys.modules[__name__] = agent_code.Module(__name__)\n"
_STEERS = frozenset(
    ("conftest.py", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pyproject.toml", "sitecustomize.py")
)
_STEERS |= {"usercustomize.py", "pytest.toml", ".pytest.toml", "pyvenv.cfg"}
_REPORT_BYTES = 16 * 2**20
_GRACE_S = 5.0
_NO_TESTS, _USAGE = 5, 4


@dataclass(frozen=True)
class IsolatedGrade:
    """What became of the tests."""

    tests: Mapping[str, str]
    """The outcome of each test that was collected, by its node id: ``passed``, ``failed``, or ``skipped``. One that was
    to fail, or was not reported, has ``failed``."""
    complete: bool
    """Whether the tests came to their end: the report is whole, or, without pytest, the command ended by itself."""
    exit_code: int | None
    """The command's exit code; None if it was killed."""
    runner: SandboxResult
    """The run of the command, with what it printed."""
    code: SandboxResult | None = None
    """The run of the process that held the agent's code, with what that printed; None if it ran together."""
    said: Mapping[str, str] = field(default_factory=dict)
    """What pytest says of each test that did not pass."""
    problem: str = ""
    """Why nothing was run, if what the agent left cannot be copied: its own fault. Else empty."""

    @property
    def passed(self) -> int:
        """How many tests passed."""
        return sum(outcome == "passed" for outcome in self.tests.values())

    @property
    def share(self) -> float:
        """The share of the collected tests that passed, in [0, 1]; 0 if there is none, or the report is not whole.

        Without pytest: 1 if the command ended with exit code 0, else 0.
        """
        if not self.complete:
            return 0.0
        return self.passed / len(self.tests) if self.tests else float(self.exit_code == 0)

    @property
    def ok(self) -> bool:
        """Whether all passed, and the command said so by exit code 0."""
        return self.complete and self.exit_code == 0 and all(one == "passed" for one in self.tests.values())

    @property
    def reason(self) -> str:
        """Why it is not ok, in a line; empty if it is."""
        if self.ok:
            return ""
        if self.problem:
            return f"the tests were not run: {self.problem}"
        if not self.complete:
            return f"the tests did not come to their end: the runner {self.runner.summary}"
        if not self.tests:
            return f"the command {self.runner.summary}"
        first = next((name for name, outcome in self.tests.items() if outcome != "passed"), "")
        return f"{self.passed} of {len(self.tests)} tests passed; the first that did not: {first}"


def isolated_grade(
    sandbox: Sandbox,
    files: Mapping[str, str | bytes],
    command: Sequence[str] | None = None,
    *,
    code: Sequence[str] = ("solution",),
    together: bool = False,
    wall_s: float | None = None,
    call_s: float = 10.0,
) -> IsolatedGrade:
    """Grade the files of an agent's sandbox by tests that it never sees, in fresh sandboxes.

    The tests import the agent's modules as usual. What they get is a stand-in: each call is made in the agent's
    process, and comes back as plain data, or as an object that is equal to itself alone. ``import agent_code`` gives
    them ``agent_code.run(["python", "main.py"], stdin="...")`` as well, for programs.

    Args:
        sandbox: The agent's: it is only read. What its shells left at work is killed, so that it stays as it is.
        files: The tests and what they need, by their paths; they replace the agent's of the same name.
        command: What runs them; by default pytest, on the ``test_*.py`` of ``files``. Of installed plugins pytest loads
            those alone that the command names by ``-p``.
        code: The agent's modules that the tests import, such as ``solution`` or ``package.module``.
        together: Let pytest and the agent's code share a process, so that anything may be passed. What this cannot
            stop is told in docs/coding.md. A command that ends without a report of pytest's is no grade.
        wall_s: Seconds that the tests may take, when not those of the sandbox's limits.
        call_s: Seconds that one call of the agent's code may take.

    Raises:
        DefinitionError: a name of ``code`` is taken, or the tests are none; or the sandbox's image has no Python.
        SandboxError: a sandbox failed; the trial is then errored, never failed.
    """
    if not SUPPORTED:
        raise SandboxError("isolated_grade needs Linux")
    names = _modules(code, files)
    tests = [name for name in files if os.path.basename(name).startswith("test_") and name.endswith(".py")]
    if command is None and not tests:
        raise DefinitionError("isolated_grade got no test_*.py among its files, and no command; give one of them")
    if not together or command is None:
        sandbox.check_python("isolated_grade(together=True) without a command" if together else "isolated_grade")
    wall_s = sandbox.limits.wall_s if wall_s is None else wall_s
    sandbox.end_jobs()
    with sandbox.sibling() as theirs, sandbox.sibling(of_tests=True) as ours:
        try:
            theirs.take(sandbox, _wanted(files if together else None))
        except ToolError as error:  # what the agent left is its own doing
            return _not_run(str(error))
        holder = theirs if together else ours
        support = {f"{_SUPPORT}/{_PLUGIN}.py": source("told")}
        if not together:
            support |= {f"{_SUPPORT}/agent_code.py": source("agent_code")}
            support |= {f"{_SUPPORT}/{name}": _STAND_IN for name in names}
        try:
            holder.write_files({**files, **support})
        except ToolError as error:
            if not together:
                raise
            return _not_run(f"the tests could not be put beside what the agent left: {error}")
        words = list(command) if command is not None else [holder.python, "-m", "pytest", "-q", *tests]
        grade = _graded(holder, None if together else theirs, words, wall_s=wall_s, call_s=call_s, together=together)
    _check(grade, words, together=together)
    return grade


def _modules(code: Sequence[str], files: Iterable[str]) -> list[str]:
    """Return the files of the stand-ins: folders where a name has parts.

    Raises:
        DefinitionError: a module of that name is Python's, pytest's or the author's.
    """
    found: dict[str, None] = {}
    if isinstance(code, str):
        raise DefinitionError(f"isolated_grade(code={code!r}) takes a list of modules; write code=[{code!r}]")
    for name in code:
        parts = name.split(".")
        if not all(part.isidentifier() for part in parts):
            raise DefinitionError(f"isolated_grade(code=[{name!r}]): this is no name of a module, such as 'solution'")
        taken = {*sys.stdlib_module_names, "pytest", "_pytest", "pluggy", "agent_code", _PLUGIN}
        if parts[0] in taken or any(file.split("/")[0].removesuffix(".py") == parts[0] for file in files):
            raise DefinitionError(
                f"isolated_grade(code=[{name!r}]): {parts[0]} is also a module of Python's, of pytest's or of the "
                "tests; have the agent write one of another name"
            )
        for depth in range(1, len(parts)):
            found["/".join([*parts[:depth], "__init__.py"])] = None
        found["/".join(parts) + ".py"] = None
    return [name for name in found if f"{name.removesuffix('.py')}/__init__.py" not in found]


def _wanted(tests: Iterable[str] | None) -> Callable[[str], bool]:
    """Return what says which of the agent's files are copied.

    Args:
        tests: The files of the tests if they share a folder: then also what would stand in their way is left out, and
            what would steer pytest or Python.
    """
    taken = set(tests or ())
    above = {"/".join(parts[:depth]) for parts in (name.split("/") for name in taken) for depth in range(1, len(parts))}

    def wanted(name: str) -> bool:
        parts = name.split("/")
        if parts[0] == _SUPPORT:
            return False
        if tests is None:
            return True
        if name in above or any("/".join(parts[:depth]) in taken for depth in range(1, len(parts) + 1)):
            return False
        if parts[-1] in _STEERS or parts[-1].endswith((".pth", ".pyc", ".so")):
            return False
        return parts[0].removesuffix(".py") not in {*sys.stdlib_module_names, "pytest", "_pytest"}

    return wanted


def _not_run(problem: str) -> IsolatedGrade:
    """Return the grade of an agent that left what no test can be run on."""
    return IsolatedGrade({}, False, None, SandboxResult("disk", None, "", "", 0.0), problem=problem)


def _graded(
    holder: Sandbox, agents: Sandbox | None, command: Sequence[str], *, wall_s: float, call_s: float, together: bool
) -> IsolatedGrade:
    word = secrets.token_hex(32)
    support = holder.path / _SUPPORT
    told, tell = os.pipe()
    fds, env = {_TOLD: tell}, {"RLTASK_TOLD": str(_TOLD), "RLTASK_WORD": word, "PYTEST_PLUGINS": _PLUGIN}
    env |= {"PYTHONPATH": str(support), "RLTASK_CALL_S": str(call_s), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    if together:
        env |= {"PYTHONSAFEPATH": "1", "RLTASK_FOLDER": str(holder.path)}
    report = _Reader(told)
    process = None
    try:
        if agents is not None:
            process = _Agent(agents, wall_s=wall_s + _GRACE_S)
            fds |= {_REQUESTS: process.ask, _ANSWERS: process.hear}
            env |= {"RLTASK_REQUESTS": str(_REQUESTS), "RLTASK_ANSWERS": str(_ANSWERS)}
        result = holder.run_with(command, fds, env=env, wall_s=wall_s)
    finally:
        os.close(tell)
        code = process.end() if process else None
        said = report.end()
    return _understood(said, word, result, code, is_pytest=together or _names_pytest(command))


def _names_pytest(command: Sequence[str]) -> bool:
    return any(os.path.basename(word) in ("pytest", "py.test") for word in command)


class _Reader:
    """Reads a pipe to its end, in a thread: the tests must not wait for us."""

    def __init__(self, fd: int) -> None:
        self._fd, self._data = fd, bytearray()
        self._thread = threading.Thread(target=self._read, name="rltask-report", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while chunk := os.read(self._fd, 65536):
            if len(self._data) <= _REPORT_BYTES:
                self._data += chunk

    def end(self) -> bytes:
        """Return what was read; none of it if that was too much."""
        self._thread.join(_GRACE_S)
        os.close(self._fd)
        return bytes(self._data) if len(self._data) <= _REPORT_BYTES else b""


class _Agent:
    """The process that holds the agent's code, in a sandbox of its own."""

    def __init__(self, sandbox: Sandbox, *, wall_s: float) -> None:
        self._sandbox, self._wall_s = sandbox, wall_s
        requests, self.ask = os.pipe()
        self.hear, answers = os.pipe()
        self._theirs = {_REQUESTS: requests, _ANSWERS: answers}
        self._outcome: list[SandboxResult | BaseException] = []
        self._thread = threading.Thread(target=self._run, name="rltask-agent-code", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        command = [self._sandbox.python, "-c", source("agent_host"), *map(str, self._theirs)]
        try:
            result = self._sandbox.run_with(command, self._theirs, env={}, wall_s=self._wall_s)
            self._outcome.append(result)
        except BaseException as error:
            self._outcome.append(error)
        finally:
            for fd in self._theirs.values():
                os.close(fd)

    def end(self) -> SandboxResult:
        """Let it end, since nobody asks any more, and return what became of it."""
        os.close(self.ask)
        self._thread.join(_GRACE_S)
        if self._thread.is_alive():
            self._sandbox.close()  # its code goes on although its input has ended
            self._thread.join()
        os.close(self.hear)
        (outcome,) = self._outcome
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def _understood(
    said: bytes, word: str, result: SandboxResult, code: SandboxResult | None, *, is_pytest: bool
) -> IsolatedGrade:
    """Return what the report tells; what is wrong with it makes it incomplete."""
    tests: dict[str, str] = {}
    texts: dict[str, str] = {}
    ended = None
    lines = said.splitlines()
    for number, line in enumerate(lines, 1):
        told = _line(line)
        for name in told.get("tests", ()):
            tests.setdefault(str(name), "unreported")
        if (name := told.get("test")) in tests:
            tests[name] = _outcome(tests[name], told)
            texts[name] = (texts.get(name, "") + str(told.get("said", "")))[-2000:]
        if told.get("word") == word and told.get("count") == number == len(lines):
            ended = told.get("end")
    if not is_pytest and not lines:
        return IsolatedGrade({}, result.status == "exit", result.exit_code, result, code)
    tests = {name: "failed" if outcome == "unreported" else outcome for name, outcome in tests.items()}
    is_whole = ended is not None and result.exit_code == ended
    texts = {name: text for name, text in texts.items() if text and tests[name] != "passed"}
    return IsolatedGrade(tests, is_whole, result.exit_code, result, code, texts)


def _line(line: bytes) -> dict[str, Any]:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _outcome(before: str, told: Mapping[str, Any]) -> str:
    """Return the outcome of a test after one more of its phases: the worst."""
    outcome = str(told.get("outcome"))
    if outcome == "passed":
        return "passed" if before == "unreported" and told.get("when") == "call" else before
    return "skipped" if outcome == "skipped" and before != "failed" else "failed"


def _check(grade: IsolatedGrade, command: Sequence[str], *, together: bool) -> None:
    """Refuse a mistake of the author's that no agent could have made.

    Raises:
        DefinitionError: there is no test, or pytest does not take its arguments.
    """
    is_missing = not grade.tests and "No module named pytest" in grade.runner.stderr
    is_empty = not together and grade.exit_code in (_NO_TESTS, _USAGE)
    if not _names_pytest(command) or not (is_missing or is_empty):
        return
    said = (grade.runner.stdout + grade.runner.stderr).strip().splitlines()
    last = said[-1] if said else "nothing"
    raise DefinitionError(f"isolated_grade: {' '.join(command)} runs no test; pytest says: {last[:300]}")
