"""Command lines as words, from which the next one is made that a report names."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["joined", "without"]


def joined(words: Iterable[str], flag: str) -> list[str]:
    """Write an option and its value as one word: of a folder as a word of its own, pytest takes its configuration.

    Example:
        >>> joined(["-q", "--log-dir", "runs"], "--log-dir")
        ['-q', '--log-dir=runs']
    """
    words = list(words)
    if flag not in words[:-1]:
        return words
    place = words.index(flag)
    return [*words[:place], f"{flag}={words[place + 1]}", *words[place + 2 :]]


def without(words: Iterable[str], flag: str) -> list[str]:
    """Return the words of a command line without an option and its value.

    Example:
        >>> without(["pytest", "--runs", "3", "-x", "--runs=4"], "--runs")
        ['pytest', '-x']
    """
    rest = iter(words)
    kept: list[str] = []
    for word in rest:
        if word == flag:
            next(rest, None)
        elif not word.startswith(f"{flag}="):
            kept.append(word)
    return kept
