"""Where an export goes: new files and folders only, since what stands there may be somebody's only copy."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

__all__ = ["ExportError", "file_name", "new_file", "new_folder"]


class ExportError(Exception):
    """Nothing can be exported like this; the message says why, and what to write."""


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[TextIO]:
    """Open a file that is not there yet; it is removed again if the block fails.

    Raises:
        ExportError: it is there, or cannot be made.
    """
    try:
        file = path.open("x", encoding="utf-8", newline="")
    except FileExistsError:
        raise ExportError(f"{path} is there already, and is not overwritten; write --out with another name") from None
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror}; write --out with another name") from None
    try:
        with file:
            yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def new_folder(path: Path) -> Path:
    """Make a folder, or take an empty one.

    Raises:
        ExportError: there is something in it, or it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        is_empty = not any(path.iterdir())
    except FileExistsError:
        raise ExportError(f"{path} is a file; write --out with the name of a folder") from None
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror}; write --out with another name") from None
    if not is_empty:
        raise ExportError(f"{path} is not empty, and nothing is overwritten; write --out with another name")
    return path


def file_name(*words: str) -> str:
    """Return a file's name that any shell and file system takes, of words that an author or a user chose.

    Example:
        >>> file_name("sum", "run-03")
        'sum-run-03'
    """
    name = "-".join(words)
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name).lstrip(".")
    if safe != name or len(safe) > 100:
        safe = f"{safe[:90]}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"
    return safe
