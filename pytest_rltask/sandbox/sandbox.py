"""A private directory in which an agent's Python runs."""

from __future__ import annotations

import errno
import os
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

from pytest_rltask.sandbox import workspace
from pytest_rltask.sandbox.backends.backend import SCRATCH, WORK
from pytest_rltask.sandbox.backends.view import python_of
from pytest_rltask.sandbox.choice import PREFIX, current_choice, make_backend, view_of
from pytest_rltask.sandbox.copying import entries_of
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits, SandboxResult
from pytest_rltask.sandbox.runner import Runner, Wanted, warn
from pytest_rltask.sandbox.shell import Shell
from pytest_rltask.sandbox.taking import take
from pytest_rltask.sandbox.watcher.disk import usage
from pytest_rltask.sandbox.watcher.removal import claim, remove_tree
from pytest_rltask.tools import ToolError

_DEFAULT_LIMITS = SandboxLimits()
_MAKE_ROOM = "replace a file by a shorter one, or by a script that deletes some"


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
        python: str | os.PathLike[str] | None = None,
        image: str | None = None,
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
            python: A virtual environment, or the interpreter of one, whose packages the agent sees instead of those
                that pytest has. It may be of another version, from 3.10 on. The agent cannot change it.
            image: A container image, such as ``python:3.12-slim``, whose files the agent sees instead of this
                machine's: its programs, compilers and packages, read-only, as an ordinary user. It takes ``--sandbox
                docker``, must have been pulled before, needs a shell, and need not have a Python.

        Raises:
            DefinitionError: ``python`` is neither; or ``image`` is no name, is given with ``python``, or has no Python
                that could preload.
            SandboxError: the backend does not work here, or the directory cannot be made; or the image takes another
                backend, is not on this machine, or has no shell.
        """
        self.limits = limits
        self._choice = current_choice()
        self._python, self._image = python, image
        view = view_of(python=python, image=image, wanted=backend)
        if preload:
            python_of(view, "Sandbox(preload=...)", for_ours=True)
        isolation = make_backend(backend, view)
        self._shells: list[Shell] = []
        self._closed = False
        try:
            self._base = Path(tempfile.mkdtemp(prefix=prefix))
            self._claim = claim(self._base)
            self.path = self._base / WORK
            for folder in (self.path, self._base / SCRATCH):  # apart, so that it does not litter what the agent sees
                folder.mkdir(mode=0o700)
            isolation.prepare(self._base, limits)
        except OSError as error:
            raise SandboxError(f"cannot make a directory for the sandbox: {error}") from error
        self._runner = Runner(self._base, backend=isolation, view=view, limits=limits, preload=preload)
        # An interrupted run ends without its owner if that is still busy, say with opening the episode.
        self._abandoned = weakref.finalize(self, _abandon, self._base, self._claim)

    def sibling(self, *, of_tests: bool = False) -> Sandbox:
        """Return an empty sandbox with the same limits and isolation; of tests, with pytest's own interpreter."""
        python, image = (None, None) if of_tests else (self._python, self._image)
        return Sandbox(self.limits, backend=self.backend, python=python, image=image)

    def run_with(
        self, command: Sequence[str], fds: Mapping[int, int], *, env: Mapping[str, str], wall_s: float
    ) -> SandboxResult:
        """Run a program that gets further descriptors, by their numbers; see :meth:`run`."""
        path = [value for value in (env.get("PYTHONPATH"), self._runner.environment().get("PYTHONPATH")) if value]
        more = {"PYTHONPATH": ":".join(path)} if path else {}
        return self._run(Wanted(command, env={**env, **more}, fds=fds), wall_s)

    def check_python(self, asked: str, *, for_ours: bool = True) -> None:
        """Refuse what needs a Python in an image that has none; see ``python_of``."""
        python_of(self._runner.view, asked, for_ours=for_ours)

    @property
    def python(self) -> str:
        """The path of the interpreter that the agent's Python is.

        Raises:
            DefinitionError: the image has none.
        """
        return python_of(self._runner.view, "Sandbox.python")

    @property
    def backend(self) -> str:
        """Name of the backend that isolates it; ``none``: what runs in it has our own rights."""
        return self._runner.backend.name

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def write_file(self, name: str, content: str | bytes, *, executable: bool = False) -> Path:
        """Create or replace a file, with its parent folders, and return where it is.

        Args:
            name: Its path, relative to the working directory.
            content: What it holds.
            executable: Whether it may be run as a program.

        Raises:
            ToolError: the name leaves the directory, leads over a link or cannot be; the content is too long; or the
                disk is full, and would have room for it but for what the sandbox holds.
            SandboxError: the disk is full of other things.
        """
        data = self._data(content)
        held = self._check_room([(name, len(data))])
        path = self._written(name, data, held=held, executable=executable)
        if name.endswith(".py"):
            self._runner.warm_up()  # a model takes a second or more to ask for the run
        return path

    def write_files(self, files: Mapping[str, str | bytes]) -> None:
        """Create or replace files by their paths, if there is room for all; see :meth:`write_file`."""
        data = {name: self._data(content) for name, content in files.items()}
        held = self._check_room([(name, len(content)) for name, content in data.items()])
        for name, content in data.items():
            self._written(name, content, held=held)

    def copy_in(
        self, path: str | os.PathLike[str], into: str = "", *, exclude: Sequence[str] = ("__pycache__",)
    ) -> None:
        """Copy a file of the author's, or all that a folder holds, into the working directory.

        Modes keep their right to execute. Links that stay within the folder are copied as links.

        Args:
            path: The file or folder.
            into: The folder of the working directory that it goes to; by default that itself.
            exclude: Patterns of names to leave out, such as ``*.pyc`` and ``.git``.

        Raises:
            DefinitionError: it does not exist, or holds more than the limits allow, a link that leads out of it, or
                what is no file.
            ToolError: it does not fit beside what the sandbox holds.
        """
        entries = entries_of(path, into, exclude, self.limits)
        held = self._check_room([(entry.name, entry.size) for entry in entries])
        for entry in entries:
            if entry.target:
                workspace.write_link(self.path, entry.name, entry.target, owner=self._runner.backend.owner)
            else:
                self._written(entry.name, entry.source.read_bytes(), held=held, executable=entry.executable)

    def take(self, other: Sandbox, wanted: Callable[[str], bool] = bool) -> None:
        """Copy the files of another sandbox to this one, which is empty; see ``taking``.

        Raises:
            ToolError: they take more than the limits.
        """
        take(other.path, self.path, wanted, limits=self.limits, owner=self._runner.backend.owner)

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

    def files(self, *, recursive: bool = False) -> list[str]:
        """Return the names of the files at the top of the working directory, without links and folders.

        Args:
            recursive: Name those in its folders too, by their paths, such as ``src/main.py``.
        """
        return workspace.list_tree(self.path) if recursive else workspace.list_files(self.path)

    def run_python(self, script: str, *args: str, wall_s: float | None = None) -> SandboxResult:
        """Run a script of the working directory with the interpreter and packages that the agent sees.

        When this returns, all processes that the script started are dead. Scripts run one at a time.

        Args:
            script: Its path, relative to the working directory.
            *args: Its command-line arguments.
            wall_s: Seconds it may take, when not those of the limits.

        Raises:
            ToolError: there is no such script, or an argument cannot be passed.
            DefinitionError: the image has no Python.
            SandboxError: the sandbox is closed, or could not run it.
        """
        self.check_python("Sandbox.run_python", for_ours=False)
        try:
            with workspace.open_file(self.path, script):
                pass
        except FileNotFoundError:
            raise ToolError(f"there is no file {script!r}; write it first") from None
        return self._run(Wanted([workspace.plain_name(script), *args], is_script=True), wall_s)

    def run(
        self,
        command: str | Sequence[str],
        *,
        stdin: str | bytes | None = None,
        env: Mapping[str, str] | None = None,
        wall_s: float | None = None,
    ) -> SandboxResult:
        """Run a program in the working directory: any that the agent can see.

        When this returns, all processes that it started are dead. Runs take place one at a time; their limits are those
        of :meth:`run_python`.

        Args:
            command: The program, by its path or its name on PATH, and its arguments; or a line for ``sh -c``.
            stdin: What it reads from its standard input; by default that is at its end.
            env: Variables besides those of every run.
            wall_s: Seconds it may take, when not those of the limits.

        Returns:
            What became of it. A program that does not exist ends with code 127, one that cannot be started with 126, as
            in a shell.

        Raises:
            ToolError: no program can be given these arguments.
            SandboxError: the sandbox is closed, or could not run it.

        Example:
            >>> with Sandbox() as sandbox:
            ...     sandbox.run("tr a-z A-Z | head -c 3", stdin="loud").stdout
            'LOU'
        """
        words = ["sh", "-c", command] if isinstance(command, str) else list(command)
        given = stdin.encode("utf-8", "replace") if isinstance(stdin, str) else stdin
        return self._run(Wanted(words, env=dict(env or {}), stdin=given), wall_s)

    def shell(self, *, merged: bool = False) -> Shell:
        """Return a shell of the working directory that keeps its state from command to command.

        It starts with its first command, and has processes, limits and a ``/tmp`` of its own.

        Args:
            merged: Whether what commands write to the standard error comes in the standard output, in its order.
        """
        shell = Shell(self._runner, merged=merged, note=self._note)
        self._shells.append(shell)
        return shell

    def end_jobs(self) -> None:
        """Kill what commands of shells have left at work, so that files stay as they are; a shell keeps its state."""
        for shell in self._shells:
            shell.end_jobs()

    def close(self) -> None:
        """Kill what runs, and remove the directory. Harmless when called again, or while a run is going on."""
        already, self._closed = self._closed, True
        self._abandoned.detach()
        for shell in self._shells:
            shell.close()
        self._runner.close()
        if not already:
            problems = remove_tree(self._base)
            os.close(self._claim)
            if problems:
                warn(f"the sandbox {self._base} could not be removed: {problems[0]}", stacklevel=3)

    def _run(self, wanted: Wanted, wall_s: float | None) -> SandboxResult:
        self._note()
        return self._runner.run(replace(wanted, wall_s=self.limits.wall_s if wall_s is None else wall_s))

    def _note(self) -> None:
        self._choice.code_ran = True

    def _data(self, content: str | bytes) -> bytes:
        try:
            data = content.encode() if isinstance(content, str) else content
        except UnicodeEncodeError:
            raise ToolError("the content is not valid Unicode text: it holds half of a surrogate pair") from None
        if len(data) > self.limits.file_bytes:
            raise ToolError(f"the content has {len(data)} bytes; a file may have {self.limits.file_bytes}")
        return data

    def _written(self, name: str, data: bytes, *, held: int, executable: bool = False) -> Path:
        """Write a file for which there is room; ``held`` is what the files took before."""
        try:
            owner = self._runner.backend.owner
            return workspace.write_file(self.path, name, data, owner=owner, executable=executable)
        except FileNotFoundError:
            raise ToolError("the working directory no longer exists") from None
        except SandboxError as error:
            cause = error.__cause__
            is_full = isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
            if is_full and held >= len(data):  # else a model could fill the disk to void its trial
                raise ToolError("the disk is full; delete some files first") from None
            raise

    def _check_room(self, files: Sequence[tuple[str, int]]) -> int:
        """Refuse files, by their names and sizes, that would exceed a limit; return what the files take now."""
        limits = self.limits
        # First: it opens what the agent has closed.
        more = [workspace.growth(self.path, name, size) for name, size in files]
        bytes_more, files_more = (sum(one[place] for one in more) for place in (0, 1))
        held, found = usage(str(self._base), max_bytes=limits.disk_bytes, max_files=limits.disk_files)
        if held + bytes_more > limits.disk_bytes:
            raise ToolError(f"the files would take more than {limits.disk_bytes} bytes together; {_MAKE_ROOM}")
        if found + files_more > limits.disk_files:
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
