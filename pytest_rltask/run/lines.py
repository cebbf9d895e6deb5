"""Appends lines to a file, by functions that no test replaces: other tests run while trials end.

pyfakefs puts a file system of its own in the place of ``os`` and ``pathlib`` wherever a module holds them, and records
would vanish with it. It does not look for functions that an object holds.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["Lines", "Reserve"]


class Lines:
    """A file to which lines are appended.

    Args:
        path: of the file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._folder = str(path), str(path.parent)
        self._open, self._close, self._stat = os.open, os.close, os.fstat
        self._read, self._write, self._sync, self._cut = os.pread, os.write, os.fsync, os.ftruncate
        self._flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW

    def append(self, line: bytes, *, durable: bool) -> None:
        """Append a line; a durable one would survive a power cut."""
        file = self._open(self._path, self._flags, 0o666)
        try:
            size = self._stat(file).st_size
            # Behind the half line of a process that died, this one would be read as part of it.
            is_torn = size > 0 and self._read(file, 1, size - 1) != b"\n"
            rest = memoryview(b"\n" * is_torn + line)
            try:
                while rest:
                    rest = rest[self._write(file, rest) :]
            except OSError:
                self._cut(file, size)  # half a line says nothing, and fills a full disk
                raise
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


class Reserve:
    """Space set aside beside a file, for the few lines that must not be lost when the disk is full.

    Args:
        path: of the file whose lines they would be.
        size: of the space, in bytes.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._size = str(path.with_name(f".{path.name}.reserve")), size
        self._rest = Lines(path.with_suffix(f".rest{path.suffix}"))
        self._open, self._close, self._write, self._remove = os.open, os.close, os.write, os.unlink
        self._is_held = False

    def hold(self) -> None:
        """Set the space aside, unless that is done or cannot be done."""
        if self._is_held:
            return
        self._is_held = True
        with contextlib.suppress(OSError):
            file = self._open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
            try:
                self._write(file, bytes(self._size))
            finally:
                self._close(file)

    def append(self, line: bytes) -> None:
        """Give the space up for a line, which goes to a file of its own: the limit may be that of one file.

        Raises:
            OSError: there is no space even so.
        """
        self.release()
        self._rest.append(line, durable=True)

    def release(self) -> None:
        """Give the space up."""
        with contextlib.suppress(OSError):
            self._remove(self._path)
