"""What the environment of an agent's commands holds: built from nothing, so that no key of ours can be in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pytest_rltask.sandbox.backends.view import View
from pytest_rltask.tools import ToolError

ARGUMENT_BYTES = 2**17 - 1
"""The longest argument, or variable with its value, that Linux hands to a program."""


def environment(scratch: Path, view: View, of_backend: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of all commands of a sandbox.

    Args:
        scratch: Its folder for temporary files.
        view: What it sees.
        of_backend: What its backend adds.
    """
    path = [*([of_backend["PYTHONPATH"]] if "PYTHONPATH" in of_backend else []), *view.first]
    return (
        _of_all(scratch, view.python)
        | view.environment
        | dict(of_backend)
        | ({"PYTHONPATH": ":".join(path)} if path else {})
    )


def checked(command: list[str], env: Mapping[str, str]) -> None:
    """Refuse what no program can be given.

    Raises:
        ToolError: an argument or a variable holds a NUL character or half of a surrogate pair, or is too long.
    """
    if not command or not command[0]:
        raise ToolError("there is no command; give a program and its arguments, or a line for the shell")
    for what, text in [
        *(("an argument", word) for word in command),
        *(("a variable", f"{name}={value}") for name, value in env.items()),
    ]:
        if "\0" in text or not _is_text(text):
            raise ToolError(f"{what} of the command holds a character that no program can receive")
        if len(text.encode()) > ARGUMENT_BYTES:
            raise ToolError(
                f"{what} of the command has {len(text.encode())} bytes; {ARGUMENT_BYTES} are the most: put it into a "
                "file, or into the standard input"
            )
    for name in env:
        if not name or "=" in name:
            raise ToolError(f"{name!r} is no name of a variable")


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _of_all(scratch: Path, python: str) -> dict[str, str]:
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1")
    return threads | {
        "LOKY_MAX_CPU_COUNT": "0",  # one, for joblib: it warns where it cannot count the machine's cores
        "PATH": f"{os.path.dirname(python)}:/usr/bin:/bin",
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
