"""The seam for isolation: a backend wraps the agent's command line in a program that hides the rest of the machine.

The wrapped command runs below the watcher (``watcher/launcher``), with the limits already set. So a backend says only
what the agent may see and reach; time, memory, processes and the death of the whole tree are not its business. All it
may do is start the watcher somewhere else than on this machine.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pytest_rltask.clock import monotonic_s
from pytest_rltask.sandbox.result import SandboxLimits
from pytest_rltask.sandbox.watcher import launcher, proc
from pytest_rltask.sandbox.watcher.disk import FOLDERS

Ruleset = tuple[tuple[int, int, int], list[tuple[str, int]]]
"""Of Landlock: the rights handled (of files, of the network, scopes), and the rights granted below each path."""
WORK, SCRATCH = FOLDERS
"""The two folders below a sandbox's base that the agent may write to; it sees them at their own paths."""


class WatcherProcess(Protocol):
    """A started watcher. Its methods may be called from several threads."""

    def ends_within(self, wait_s: float) -> bool:
        """Wait for it to end, and return whether it did."""

    def kill(self) -> None:
        """Kill it, with all processes below it, and wait until it is dead."""


@dataclass(frozen=True)
class WatcherStart:
    """How a watcher is to be started."""

    arguments: Sequence[str]
    """Of ``launcher.main``."""
    cwd: Path
    """Where it starts."""
    env: Mapping[str, str]
    """Its whole environment, which becomes the command's."""
    pass_fds: Sequence[int]
    """Descriptors it is given, under their numbers."""
    streams: tuple[int, int] = (subprocess.DEVNULL, subprocess.DEVNULL)
    """Descriptors of its standard output and error, or ``subprocess.DEVNULL``."""
    stdin: int = subprocess.DEVNULL
    """The descriptor of its standard input."""


@dataclass(frozen=True)
class Wish:
    """What a command keeps once it is isolated."""

    keep_fds: Sequence[int] = ()
    """Descriptors that stay open and usable inside, under their numbers. All others are closed."""
    ready_fd: int | None = None
    """Gets one byte when the isolation is complete and the command is about to start. A command that ends without it
    never ran, which is our fault and not the agent's."""
    goes_on: bool = False
    """Whether the command is ``python -I -S -c SOURCE ...`` and may go on in the process that gives up the rights."""
    forks_runs: bool = False
    """Whether it runs nothing of the agent's itself, and each process that it forks for that applies ``narrowing``
    first."""


class Backend(Protocol):
    """Isolates the commands of one sandbox from the machine they run on."""

    @property
    def name(self) -> str:
        """The backend as the user names it, and as reports show it."""

    @property
    def owner(self) -> int | None:
        """The user whom the agent runs as and whose its files must be; None for our own."""

    @property
    def confirms(self) -> bool:
        """Whether its commands write to ``ready_fd``."""

    @property
    def differences(self) -> tuple[str, ...]:
        """What honest code cannot do here although it can with other backends: sentences for the agent."""

    def prepare(self, base: Path, limits: SandboxLimits) -> None:
        """Make ready a fresh sandbox, whose folders exist and are still empty.

        Args:
            base: Its folder.
            limits: What the watcher will bound anyway; a second line, where a backend has one, lies behind them.
        """

    def environment(self, base: Path) -> dict[str, str]:
        """Return variables that its commands need besides those of every run."""

    def wrap(self, command: Sequence[str], *, base: Path, wish: Wish) -> Sequence[str]:
        """Return the command line that runs a command isolated.

        Args:
            command: What to run; an absolute path comes first.
            base: The sandbox's folder; of what it holds, the command sees WORK and SCRATCH only.
            wish: What it keeps.
        """

    def narrowing(self, base: Path) -> Ruleset | None:
        """Return what each run forked in the isolation must give up before the agent's code begins, if anything."""

    def start_watcher(self, asked: WatcherStart) -> WatcherProcess:
        """Start the watcher, where the wrapped command can run.

        Raises:
            OSError: it could not be started.
            SandboxError: it could not, for a reason of this backend's.
        """

    def close(self) -> None:
        """End what belongs to the sandbox and is still there, when no watcher runs any more."""


class Plain:
    """What most backends answer."""

    @property
    def differences(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def environment(self, base: Path) -> dict[str, str]:
        """Return nothing: the variables of every run do."""
        return {}

    def narrowing(self, base: Path) -> Ruleset | None:
        """Return None: a fork has what its parent has."""
        return None


class OnThisMachine(Plain):
    """Starts the watcher as a child of ours, which leaves nothing to end."""

    def start_watcher(self, asked: WatcherStart) -> WatcherProcess:
        """Start it; see :class:`Backend`."""
        popen = subprocess.Popen(
            [sys.executable, "-I", "-S", launcher.__file__, *asked.arguments],
            cwd=asked.cwd,
            env=asked.env,
            stdin=asked.stdin,
            stdout=asked.streams[0],
            stderr=asked.streams[1],
            pass_fds=asked.pass_fds,
            start_new_session=True,
        )
        return _Child(popen)

    def close(self) -> None:
        """Do nothing."""


class _Child:
    """A watcher on this machine."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self.popen = popen

    def ends_within(self, wait_s: float) -> bool:
        deadline = monotonic_s() + wait_s
        while self.popen.poll() is None:  # Popen.wait() would read a clock that tests freeze
            if monotonic_s() >= deadline:
                return False
            time.sleep(0.001)
        return True

    def kill(self) -> None:
        for pid in (*proc.descendants(self.popen.pid), self.popen.pid):
            proc.kill(pid)
        self.popen.wait()


class NoIsolation(OnThisMachine):
    """Limits and hygiene only: the agent runs as our user and can read and write what our user can."""

    name = "none"
    owner = None
    confirms = False

    def prepare(self, base: Path, limits: SandboxLimits) -> None:
        """Do nothing: the folders are our user's already."""

    def wrap(self, command: Sequence[str], *, base: Path, wish: Wish) -> Sequence[str]:
        """Return the command as it is."""
        return command
