"""What a command cannot take: one sentence on stderr, and pytest's exit status for it."""

from __future__ import annotations

__all__ = ["FAILED", "FINE", "USAGE", "UsageError"]

FINE, FAILED, USAGE = 0, 1, 4
"""Exit status: all is well, what the command was asked to fail on is so, or it was used wrongly."""


class UsageError(Exception):
    """The command was used wrongly; the message names what was given, and the line to write."""
