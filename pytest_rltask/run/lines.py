"""Appends lines to a file, by functions that no test replaces: other tests run while trials end.

pyfakefs puts a file system of its own in the place of ``os`` and ``pathlib`` wherever a module holds them, and records
would vanish with it. It does not look for functions that an object holds.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["Lines"]


class Lines:
    """A file to which lines are appended.

    Args:
        path: of the file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._folder = str(path), str(path.parent)
        self._open, self._close, self._stat = os.open, os.close, os.fstat
        self._read, self._write, self._sync = os.pread, os.write, os.fsync
        self._flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC

    def append(self, line: bytes, *, durable: bool) -> None:
        """Append a line; a durable one would survive a power cut."""
        file = self._open(self._path, self._flags, 0o666)
        try:
            size = self._stat(file).st_size
            # Behind the half line of a process that died, this one would be read as part of it.
            is_torn = size > 0 and self._read(file, 1, size - 1) != b"\n"
            rest = memoryview(b"\n" * is_torn + line)
            while rest:
                rest = rest[self._write(file, rest) :]
            if durable:
                self._sync(file)
        finally:
            self._close(file)
        if size == 0:
            self._sync_name()

    def _sync_name(self) -> None:
        folder = self._open(self._folder, os.O_RDONLY)
        try:
            self._sync(folder)
        finally:
            self._close(folder)
