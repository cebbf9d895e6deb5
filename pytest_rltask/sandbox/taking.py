"""Takes an agent's files from one sandbox to a fresh one: by what they hold, whatever they say of their size.

All of it is the agent's doing: as many files as it may have, files of holes alone, names that stand in the way. So the
cost of each file is its own, and what cannot be taken is told as the agent's fault, never as ours.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from pytest_rltask.sandbox import workspace
from pytest_rltask.sandbox.result import SandboxError, SandboxLimits
from pytest_rltask.tools import ToolError

_FEW_BYTES = 2**26
"""What a machine has to have room for: if a disk is full of less, it is full of other things."""


def take(source: Path, into: Path, wanted: Callable[[str], bool], *, limits: SandboxLimits, owner: int | None) -> None:
    """Copy files from below one working directory to below another, with their right to execute.

    Links, files with several names, and what cannot be read are left out, as is what vanishes meanwhile.

    Args:
        source: The one.
        into: The other, which is empty.
        wanted: Says by a file's path whether it is copied.
        limits: Of both.
        owner: The user whom the copies belong to, if not our own.

    Raises:
        ToolError: They take more than the limits.
        SandboxError: There is no room for them.
    """
    taken = number = 0
    for name in workspace.list_tree(source):
        if not wanted(name):
            continue
        number += 1
        try:
            taken += workspace.copy_file(source, name, into, room=limits.disk_bytes - taken, owner=owner)
        except (FileNotFoundError, ToolError):
            continue
        except workspace.NoRoom:
            raise ToolError(f"its files take more than {limits.disk_bytes} bytes together") from None
        except SandboxError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT) and taken > _FEW_BYTES:
                raise ToolError("its files leave no room on the disk for a copy") from None
            raise
        if number > limits.disk_files:
            raise ToolError(f"it holds more than {limits.disk_files} files")
