"""The seam for isolation: a backend wraps the agent's command line in a program that hides the rest of the machine.

The wrapped command runs below the watcher (``_launcher``), with the limits already set. So a backend says only what
the agent may see and reach; time, memory, processes and the death of the whole tree are not its business.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

WORK, SCRATCH = "work", "tmp"
"""The two folders below a sandbox's base that the agent may write to; it sees them at their own paths."""


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

    def prepare(self, base: Path) -> None:
        """Make ready a fresh sandbox, whose folders exist and are still empty."""

    def wrap(
        self, command: Sequence[str], *, base: Path, keep_fds: Sequence[int] = (), ready_fd: int | None = None
    ) -> Sequence[str]:
        """Return the command line that runs a command isolated.

        Args:
            command: What to run; an absolute path comes first.
            base: The sandbox's folder; of what it holds, the command sees WORK and SCRATCH only.
            keep_fds: Descriptors that stay open and usable inside, under their numbers. All others are closed.
            ready_fd: Gets one byte when the isolation is complete and the command is about to start. A command
                that ends without it never ran, which is our fault and not the agent's.
        """


class NoIsolation:
    """Limits and hygiene only: the agent runs as our user and can read and write what our user can."""

    name = "none"
    owner = None
    confirms = False

    def prepare(self, base: Path) -> None:
        """Do nothing: the folders are our user's already."""

    def wrap(
        self, command: Sequence[str], *, base: Path, keep_fds: Sequence[int] = (), ready_fd: int | None = None
    ) -> Sequence[str]:
        """Return the command as it is."""
        return command
