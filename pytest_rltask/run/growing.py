"""Writes a text piece by piece, so that it can be read while it grows and whatever of it was written outlives a kill.

Nothing is synced: the text is told for people, and told again once it is complete. As for records (`lines`), the
functions are held, since other tests may put a file system of their own in the place of ``os``.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["GrowingText"]


class GrowingText:
    """Texts in one folder, which is made when the first is begun.

    Args:
        folder: of the texts; its own folder exists.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        self._open, self._close, self._write, self._mkdir = os.open, os.close, os.write, os.mkdir
        self._anew = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._on = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW

    def begin(self, path: Path, text: str) -> None:
        """Write the beginning of a text; what stood there before is gone.

        Raises:
            OSError: it cannot be written.
        """
        try:
            self._put(path, text, self._anew)
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):  # another process of the run was faster
                self._mkdir(self._folder)
            self._put(path, text, self._anew)

    def append(self, path: Path, text: str) -> None:
        """Write what follows.

        Raises:
            OSError: it cannot be written.
        """
        self._put(path, text, self._on)

    def _put(self, path: Path, text: str, flags: int) -> None:
        file = self._open(str(path), flags, 0o666)
        try:
            rest = memoryview(text.encode("utf-8", "replace"))
            while rest:
                rest = rest[self._write(file, rest) :]
        finally:
            self._close(file)
