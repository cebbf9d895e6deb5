"""A private directory in which an agent's Python runs."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import warnings
from pathlib import Path
from types import TracebackType

from pytest_rltask.sandbox import _workspace
from pytest_rltask.sandbox._backend import SCRATCH, WORK
from pytest_rltask.sandbox._choice import make_backend
from pytest_rltask.sandbox._process import Process
from pytest_rltask.sandbox._result import SandboxError, SandboxLimits, SandboxResult
from pytest_rltask.tools import ToolError

_DEFAULT_LIMITS = SandboxLimits()
_CLOSE_S = 15.0


class Sandbox:
    r"""A private directory, and the processes that run in it; a context manager.

    Its methods may be called from any thread. What the model can mend is raised as ToolError.

    Example:
        >>> with Sandbox(SandboxLimits(wall_s=10)) as sandbox:
        ...     path = sandbox.write_file("hello.py", "print('hello')")
        ...     sandbox.run_python("hello.py").stdout
        'hello\n'
    """

    path: Path
    """The working directory."""

    def __init__(
        self, limits: SandboxLimits = _DEFAULT_LIMITS, *, prefix: str = "rltask-", backend: str | None = None
    ) -> None:
        """Make a fresh directory under ``tempfile.gettempdir()`` for an agent that sees nothing beside it.

        Args:
            limits: What one run may use.
            prefix: How the directory's name begins.
            backend: What isolates it: ``bwrap``, ``landlock``, ``none``, or ``auto`` for the first that works.
                By default what ``--sandbox`` of the surrounding run says, and ``auto`` outside a run.

        Raises:
            SandboxError: the backend does not work here, or the directory cannot be made.
        """
        self.limits = limits
        self._backend = make_backend(backend)
        self._processes: set[Process] = set()
        self._changed = threading.Condition()
        self._closed = False
        try:
            self._base = Path(tempfile.mkdtemp(prefix=prefix))
            self.path = self._base / WORK
            self._scratch = self._base / SCRATCH  # apart, so that it does not litter what the agent sees
            for folder in (self.path, self._scratch):
                folder.mkdir(mode=0o700)
            self._backend.prepare(self._base)
        except OSError as error:
            raise SandboxError(f"cannot make a directory for the sandbox: {error}") from error

    @property
    def backend(self) -> str:
        """Name of the backend that isolates it; ``none``: what runs in it has our own rights."""
        return self._backend.name

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write_file(self, name: str, content: str | bytes) -> Path:
        """Create or replace a file, with its parent folders, and return where it is.

        Raises:
            ToolError: the name leaves the directory, leads over a link or cannot be; or the content is too long.
            SandboxError: the disk is full.
        """
        try:
            data = content.encode() if isinstance(content, str) else content
        except UnicodeEncodeError:
            raise ToolError("the content is not valid Unicode text: it holds half of a surrogate pair") from None
        if len(data) > self.limits.file_bytes:
            raise ToolError(f"the content has {len(data)} bytes; a file may have {self.limits.file_bytes}")
        try:
            return _workspace.write_file(self.path, name, data, owner=self._backend.owner)
        except FileNotFoundError:
            raise ToolError("the working directory no longer exists") from None

    def read_file(self, name: str, *, max_bytes: int) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: there is no such file.
            ToolError: it is a folder, a link or a device, or too long.
        """
        return _workspace.read_file(self.path, name, max_bytes=max_bytes)

    def files(self) -> list[str]:
        """Return the names of the files at the top of the working directory, without links and folders."""
        return _workspace.list_files(self.path)

    def run_python(self, script: str, *args: str, wall_s: float | None = None) -> SandboxResult:
        """Run a script of the working directory with the interpreter and packages of this process.

        When this returns, all processes that the script started are dead.

        Args:
            script: Its path, relative to the working directory.
            *args: Its command-line arguments.
            wall_s: Seconds it may take, when not those of the limits.

        Raises:
            ToolError: there is no such script, or an argument cannot be passed.
            SandboxError: the sandbox is closed, or could not run it.
        """
        try:
            with _workspace.open_file(self.path, script):
                pass
        except FileNotFoundError:
            raise ToolError(f"there is no file {script!r}; write it first") from None
        command = [sys.executable, "-s", "--", _workspace.plain_name(script), *args]  # "--": a name may be "-c.py"
        process = self._start(command, self.limits.wall_s if wall_s is None else wall_s)
        try:
            return process.result()
        finally:
            with self._changed:
                self._processes.discard(process)
                self._changed.notify_all()

    def close(self) -> None:
        """Kill what runs, and remove the directory. Harmless when called again, or while a run is going on."""
        with self._changed:
            already, self._closed = self._closed, True
            for process in self._processes:
                process.stop("closed")
            self._changed.wait_for(lambda: not self._processes, timeout=_CLOSE_S)
        if not already and (problems := _workspace.remove_tree(self._base)):
            warnings.warn(f"the sandbox {self._base} could not be removed: {problems[0]}", RuntimeWarning, stacklevel=2)

    def _start(self, command: list[str], wall_s: float) -> Process:
        with self._changed:
            if self._closed:
                raise SandboxError("the sandbox is closed")
            env = _environment(self._scratch)
            try:
                process = Process(
                    command, backend=self._backend, base=self._base, env=env, limits=self.limits, wall_s=wall_s
                )
            except ValueError:  # from the system's interface, which knows no NUL and no half of a surrogate pair
                raise ToolError("an argument of the script holds a character that no program can receive") from None
            self._processes.add(process)
            return process


def _environment(scratch: Path) -> dict[str, str]:
    """Return all that a run's environment holds: built from nothing, so that no key of ours can be in it."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    return threads | {
        "PATH": f"{os.path.dirname(sys.executable)}:/usr/bin:/bin",
        "HOME": str(scratch),
        "USER": "agent",
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        "PYTHONIOENCODING": "utf-8",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",  # what was printed before a kill is not lost
    }
