"""``--model human`` under pytest: one person at pytest's own terminal, which pytest lets go of meanwhile."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import pytest

__all__ = ["at_terminal", "no_terminal"]


def no_terminal(config: pytest.Config) -> str:
    """Say why no person can play here; empty if one can."""
    if hasattr(config, "workerinput") or getattr(config.option, "dist", "no") != "no":
        return "--model human plays at this terminal, one trial after the other; leave out -n"
    with _uncaptured(config):
        is_there = sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()
    return "" if is_there else "--model human needs a terminal to show the task and to read from; there is none"


@contextlib.contextmanager
def at_terminal(config: pytest.Config) -> Iterator[None]:
    """Give a person the terminal, and leave it as it was, however the block ends."""
    import termios

    with _uncaptured(config):
        before = termios.tcgetattr(sys.stdin)
        try:
            yield
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)  # an interrupted read leaves it without echo


@contextlib.contextmanager
def _uncaptured(config: pytest.Config) -> Iterator[None]:
    """Have this process's standard streams be the real ones, as pytest does for a debugger."""
    capture = config.pluginmanager.get_plugin("capturemanager")
    if capture is None:
        yield
        return
    capture.suspend(in_=True)
    try:
        yield
    finally:
        capture.resume()
