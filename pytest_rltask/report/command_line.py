"""Command lines as words, from which the next one is made that a report names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

__all__ = ["joined", "short_path", "without"]


def joined(words: Iterable[str], *flags: str) -> list[str]:
    """Write an option and its value as one word: of a folder as a word of its own, pytest takes its configuration.

    Example:
        >>> joined(["-q", "--log-dir", "runs"], "--log-dir")
        ['-q', '--log-dir=runs']
    """
    rest = iter(words)
    return [f"{word}={value}" if word in flags and (value := next(rest, None)) else word for word in rest]


def without(words: Iterable[str], *flags: str) -> list[str]:
    """Return the words of a command line without an option, by any of its names, and its value.

    Example:
        >>> without(["pytest", "--runs", "3", "-x", "--runs=4"], "--runs")
        ['pytest', '-x']
    """
    rest = iter(words)
    kept: list[str] = []
    for word in rest:
        if word in flags:
            next(rest, None)
        elif word.partition("=")[0] not in flags:
            kept.append(word)
    return kept


def short_path(path: Path) -> str:
    """Return a path as a person would type it from here."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
