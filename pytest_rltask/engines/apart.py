"""Keeps the working directory of trials apart from that of tests, which change theirs while trials are in flight."""

from __future__ import annotations

import os
import sys

__all__ = ["keep_apart"]

_CLONE_FS = 0x200
"""Of ``linux/sched.h``: what threads share of working directory and umask."""


def keep_apart(folder: str) -> None:
    """Give this thread, and those that it starts, a working directory of its own; elsewhere than on Linux do nothing.

    Nothing either where a container forbids it: relative paths of tasks are then those of whatever test is running.

    Args:
        folder: the working directory.
    """
    if sys.platform != "linux":
        return
    import ctypes  # os.unshare is there from Python 3.12 on

    if ctypes.CDLL(None).unshare(_CLONE_FS) == 0 and os.path.isdir(folder):
        os.chdir(folder)
