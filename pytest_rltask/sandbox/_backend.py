"""The seam for isolation: a backend wraps the agent's command line in a program that hides the rest of the machine.

The wrapped command runs below the watcher (``_launcher``), with the limits already set. So a backend says only what
the agent may see and reach; time, memory, processes and the death of the whole tree are not its business.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Backend(Protocol):
    """Isolates a command from the machine it runs on."""

    @property
    def name(self) -> str:
        """The backend as the user names it, and as reports show it."""

    def wrap(self, command: Sequence[str], *, base: Path, keep_fds: Sequence[int] = ()) -> Sequence[str]:
        """Return the command line that runs ``command`` isolated.

        ``base`` holds all the folders it may write to; the descriptors ``keep_fds`` stay open in it.
        """


class NoIsolation:
    """Limits and hygiene only: the agent runs as our user and can read and write what our user can."""

    name = "none"

    def wrap(self, command: Sequence[str], *, base: Path, keep_fds: Sequence[int] = ()) -> Sequence[str]:
        """Return the command as it is."""
        return command
