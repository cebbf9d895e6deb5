"""The command line that runs a command below ``inside/confine``, the program inside the isolation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pytest_rltask.sandbox.backends.backend import Wish
from pytest_rltask.sandbox.backends.seccomp import PARENT, Instruction
from pytest_rltask.sandbox.inside import source


def confined(
    command: Sequence[str],
    *,
    python: str,
    wish: Wish,
    seccomp: Sequence[Instruction],
    imports: Sequence[str] = (),
    **rest: Any,
) -> list[str]:
    """Return the command line, for an interpreter that the agent sees; for the arguments see :func:`confine.main`.

    Where the agent does not see it, ``imports`` are all the modules that a program which goes on in its process needs.
    """
    arguments = {
        "keep_fds": wish.keep_fds,
        "ready_fd": wish.ready_fd,
        "seccomp": list(seccomp),
        "parent": PARENT,
        "goes_on": wish.goes_on,
    } | rest
    program = f"{source('confine')}\nimport {', '.join(['sys', *imports])}\nmain(sys.argv[1:], **{arguments!r})\n"
    return [python, "-I", "-S", "-c", program, *command]
