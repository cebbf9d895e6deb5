"""A private directory in which an agent's Python runs."""

from __future__ import annotations

import errno
import logging
import os
import tempfile
import threading
import warnings
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pytest_rltask.sandbox import workspace
from pytest_rltask.sandbox.backends.backend import SCRATCH, WORK
from pytest_rltask.sandbox.backends.view import interpreter, view_of_python
from pytest_rltask.sandbox.choice import PREFIX, current_choice, make_backend
from pytest_rltask.sandbox.forkserver import SUPPORTED, ForkServer
from pytest_rltask.sandbox.process import Process, start
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits, SandboxResult
from pytest_rltask.sandbox.watcher.disk import usage
from pytest_rltask.sandbox.watcher.removal import claim, remove_since, remove_tree, snapshot
from pytest_rltask.tools import ToolError

_DEFAULT_LIMITS = SandboxLimits()
_CLOSE_S = 15.0
_MAKE_ROOM = "replace a file by a shorter one, or by a script that deletes some"
_LOGGER = logging.getLogger(__name__)


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
        self,
        limits: SandboxLimits = _DEFAULT_LIMITS,
        *,
        prefix: str = PREFIX,
        backend: str | None = None,
        preload: Sequence[str] = (),
    ) -> None:
        """Make a fresh directory under ``tempfile.gettempdir()`` for an agent that sees nothing beside it.

        Args:
            limits: What one run may use.
            prefix: How the directory's name begins. Of a pytest that was killed the next one removes those that begin
                with ``rltask-``.
            backend: What isolates it: ``bwrap``, ``landlock``, ``docker``, ``none``, or ``auto`` for the first that
                works.
                By default what ``--sandbox`` of the surrounding run says, and ``auto`` outside a run.
            preload: Modules that scripts will import, such as ``torch``: they are imported once, by an interpreter of
                this sandbox that is forked for each run (on Linux; elsewhere each run starts afresh). It starts when
                the first script is written, since a run will follow, and holds the modules' memory from then on: a
                sandbox in which nothing is run costs nothing. Modules that start threads cannot be preloaded.

        Raises:
            SandboxError: the backend does not work here, or the directory cannot be made.
        """
        self.limits = limits
        self._choice = current_choice()
        self._backend = make_backend(backend)
        self._view = view_of_python()
        self._preload = tuple(preload) if SUPPORTED else ()
        self._turn = threading.Lock()  # who runs a script
        self._lock = threading.Lock()  # who changes one of the following
        self._server: ForkServer | None = None
        self._process: Process | None = None
        self._closed = False
        try:
            self._base = Path(tempfile.mkdtemp(prefix=prefix))
            self._claim = claim(self._base)
            self.path = self._base / WORK
            self._scratch = self._base / SCRATCH  # apart, so that it does not litter what the agent sees
            for folder in (self.path, self._scratch):
                folder.mkdir(mode=0o700)
            self._backend.prepare(self._base, limits)
        except OSError as error:
            raise SandboxError(f"cannot make a directory for the sandbox: {error}") from error
        # An interrupted run ends without its owner if that is still busy, say with opening the episode.
        self._abandoned = weakref.finalize(self, _abandon, self._base, self._claim)

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
            ToolError: the name leaves the directory, leads over a link or cannot be; the content is too long; or the
                disk is full, and would have room for it but for what the sandbox holds.
            SandboxError: the disk is full of other things.
        """
        try:
            data = content.encode() if isinstance(content, str) else content
        except UnicodeEncodeError:
            raise ToolError("the content is not valid Unicode text: it holds half of a surrogate pair") from None
        if len(data) > self.limits.file_bytes:
            raise ToolError(f"the content has {len(data)} bytes; a file may have {self.limits.file_bytes}")
        held = self._check_room(name, len(data))
        try:
            path = workspace.write_file(self.path, name, data, owner=self._backend.owner)
        except FileNotFoundError:
            raise ToolError("the working directory no longer exists") from None
        except SandboxError as error:
            cause = error.__cause__
            is_full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
            if is_full and held >= len(data):  # else a model could fill the disk to void its trial
                raise ToolError("the disk is full; delete some files first") from None
            raise
        if name.endswith(".py"):
            with self._lock:
                self._start_server()  # a model takes a second or more to ask for the run
        return path

    def read_file(self, name: str, *, max_bytes: int) -> bytes:
        """Return the content of a file.

        Raises:
            FileNotFoundError: there is no such file.
            ToolError: it is a folder, a link or a device, or too long.
        """
        return workspace.read_file(self.path, name, max_bytes=max_bytes)

    def file(self, name: str) -> SandboxFile:
        """Name a file, whether it is there or not: see :meth:`pytest_rltask.Episode.artifacts`."""
        return SandboxFile(self, name)

    def files(self) -> list[str]:
        """Return the names of the files at the top of the working directory, without links and folders."""
        return workspace.list_files(self.path)

    def run_python(self, script: str, *args: str, wall_s: float | None = None) -> SandboxResult:
        """Run a script of the working directory with the interpreter and packages of this process.

        When this returns, all processes that the script started are dead. Scripts run one at a time.

        Args:
            script: Its path, relative to the working directory.
            *args: Its command-line arguments.
            wall_s: Seconds it may take, when not those of the limits.

        Raises:
            ToolError: there is no such script, or an argument cannot be passed.
            SandboxError: the sandbox is closed, or could not run it.
        """
        with self._turn:
            try:
                with workspace.open_file(self.path, script):
                    pass
            except FileNotFoundError:
                raise ToolError(f"there is no file {script!r}; write it first") from None
            argv = [workspace.plain_name(script), *args]
            before = [(folder, snapshot(folder)) for folder in (self.path, self._scratch)]
            process = self._start(argv, self.limits.wall_s if wall_s is None else wall_s)
            self._choice.code_ran = True
            try:
                result = process.result()
            finally:
                with self._lock:
                    self._process = None
                    if process.watcher_ended:
                        self._end_server()
            if result.status in ("disk", "files"):
                self._undo(before)
            return result

    def close(self) -> None:
        """Kill what runs, and remove the directory. Harmless when called again, or while a run is going on."""
        with self._lock:
            already, self._closed = self._closed, True
            self._abandoned.detach()
            if self._process:
                self._process.stop("closed")
            self._end_server()
        if self._turn.acquire(timeout=_CLOSE_S):
            self._turn.release()
        self._backend.close()
        if not already:
            problems = remove_tree(self._base)
            os.close(self._claim)
            if problems:
                _warn(f"the sandbox {self._base} could not be removed: {problems[0]}", stacklevel=3)

    def _start(self, argv: list[str], wall_s: float) -> Process:
        """Start a script, forked from the preloaded interpreter if there is one."""
        if any("\0" in argument or not _is_text(argument) for argument in argv):
            raise ToolError("an argument of the script holds a character that no program can receive")
        server = self._ready_server()
        with self._lock:
            if self._closed:
                raise SandboxError("the sandbox is closed")
            self._process = server.run(argv, wall_s=wall_s) if server else None
            if self._process is None:
                command = [interpreter(), "--", *argv]  # "--": a name may be "-c.py"
                env = self._environment()
                self._process = start(
                    command, backend=self._backend, base=self._base, env=env, limits=self.limits, wall_s=wall_s
                )
            return self._process

    def _ready_server(self) -> ForkServer | None:
        """Wait for the preloaded interpreter; return None if runs are to start without one."""
        with self._lock:
            self._start_server()
            server = self._server
        if server and (problem := server.wait()):
            with self._lock:
                self._end_server()
                if not self._closed:
                    self._preload = ()
                    _warn(f"runs start without preloaded modules: {problem}", stacklevel=5)
            return None
        return server

    def _undo(self, before: Sequence[tuple[Path, Mapping[tuple[int, int], int]]]) -> None:
        """Remove what a run wrote that passed a limit of the disk: else the limit would end all later ones as well."""
        with self._lock:
            self._end_server()  # with it goes a /tmp of its own
        self._backend.close()
        for folder, found in before:
            remove_since(folder, found)

    def _start_server(self) -> None:
        if self._preload and not self._server and not self._closed:
            self._server = ForkServer(
                self._preload,
                backend=self._backend,
                base=self._base,
                env=self._environment(),
                limits=self.limits,
            )

    def _environment(self) -> dict[str, str]:
        ours = self._backend.environment(self._base)
        path = [*([ours["PYTHONPATH"]] if "PYTHONPATH" in ours else []), *self._view.first]
        return (
            _environment(self._scratch)
            | self._view.environment
            | ours
            | ({"PYTHONPATH": ":".join(path)} if path else {})
        )

    def _end_server(self) -> None:
        server, self._server = self._server, None
        if server:
            server.end()

    def _check_room(self, name: str, size: int) -> int:
        """Refuse a file that would exceed a limit; return what the files take now."""
        limits = self.limits
        bytes_more, files_more = workspace.growth(self.path, name, size)  # first: it opens what the agent has closed
        held, files = usage(str(self._base), max_bytes=limits.disk_bytes, max_files=limits.disk_files)
        if held + bytes_more > limits.disk_bytes:
            raise ToolError(f"the files would take more than {limits.disk_bytes} bytes together; {_MAKE_ROOM}")
        if files + files_more > limits.disk_files:
            raise ToolError(f"there would be more than {limits.disk_files} files and folders; {_MAKE_ROOM}")
        return held


@dataclass(frozen=True)
class SandboxFile:
    """A file of a sandbox by its name, for whoever reads it later."""

    sandbox: Sandbox
    name: str
    """Its path, relative to the working directory."""

    def read(self, *, max_bytes: int) -> bytes:
        """Return its content; see :meth:`Sandbox.read_file`."""
        return self.sandbox.read_file(self.name, max_bytes=max_bytes)


def _abandon(base: Path, claim: int) -> None:
    remove_tree(base)
    os.close(claim)


def _warn(text: str, *, stacklevel: int) -> None:
    """Warn; where warnings are errors, log instead, since no trial shall end otherwise for it."""
    try:
        warnings.warn(text, RuntimeWarning, stacklevel=stacklevel)
    except RuntimeWarning:
        _LOGGER.warning(text)


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _environment(scratch: Path) -> dict[str, str]:
    """Return all that a run's environment holds: built from nothing, so that no key of ours can be in it."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    return threads | {
        "LOKY_MAX_CPU_COUNT": "0",  # one, for joblib: it warns where it cannot count the machine's cores
        "PATH": f"{os.path.dirname(interpreter())}:/usr/bin:/bin",
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
