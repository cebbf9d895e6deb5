"""Which files the interpreter has loaded, for those who ask again and again: it knows some thousands."""

from __future__ import annotations

import sys

__all__ = ["Loaded"]


class Loaded:
    """The files of the modules that are imported."""

    def __init__(self) -> None:
        self._seen: tuple[int, str] | None = None
        self._files: frozenset[str | None] = frozenset()

    @property
    def files(self) -> frozenset[str | None]:
        """All of them, looked at anew once a module was imported."""
        seen = len(sys.modules), next(reversed(sys.modules))  # how many, and the latest
        if seen != self._seen:
            self._files = frozenset(getattr(module, "__file__", None) for module in list(sys.modules.values()))
            self._seen = seen
        return self._files
