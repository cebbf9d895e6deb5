"""The command line that runs a command below ``_confine``, the program inside the isolation."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_rltask.sandbox import _confine
from pytest_rltask.sandbox._seccomp import PARENT, Instruction
from pytest_rltask.sandbox._view import interpreter


def confined(command: Sequence[str], *, seccomp: Sequence[Instruction], **rest: Any) -> list[str]:
    """Return the command line; for the arguments see :func:`_confine.main`."""
    arguments = {"seccomp": list(seccomp), "parent": PARENT} | rest
    program = f"{source()}\nimport sys\nmain(sys.argv[1:], **{arguments!r})\n"
    return [interpreter(), "-I", "-S", "-c", program, *command]


@functools.cache
def source() -> str:
    """Return the source of ``_confine``, for programs that must not see where it lies."""
    return Path(_confine.__file__).read_text(encoding="utf-8")
