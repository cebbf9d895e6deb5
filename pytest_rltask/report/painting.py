"""Colours of what the command `rltask` shows: whether there are any, and those of a transcript's lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import IO, Any

from pytest_rltask.report.transcript import RULE

__all__ = ["Paint", "TranscriptPainter", "painter", "wants_colour"]

Paint = Callable[[str, str], str]
"""Returns a text in a colour, given the text and what it is: an outcome, a kind of part, ``bold`` or ``match``."""

_CODES = {
    "passed": "32", "missed": "33", "failed": "33", "cheated": "35", "errored": "31", "bold": "1", "faint": "2",
    "match": "1;31", "prompt": "1;34", "system": "34", "harness": "2", "model": "1;36", "thinking": "2;36",
    "calls": "1;36", "result": "36", "error": "31", "judge": "1;35",
}  # fmt: skip
_FAINT = ("system", "harness", "thinking")
"""Parts that are faint throughout, and not in their titles alone."""


def wants_colour(stream: IO[Any], environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether to write in colours: on a terminal, unless ``NO_COLOR`` is set, or ``FORCE_COLOR`` asks for them."""
    if environ.get("NO_COLOR"):
        return False
    return bool(environ.get("FORCE_COLOR")) or (stream.isatty() and environ.get("TERM") != "dumb")


def painter(*, colour: bool) -> Paint:
    """Return what paints texts, or leaves them as they are."""

    def paint(text: str, kind: str) -> str:
        code = _CODES.get(kind)
        return f"\033[{code}m{text}\033[0m" if colour and code and text else text

    return paint


class TranscriptPainter:
    """Paints a transcript line by line, be it one that still grows: titles tell where each part begins.

    Args:
        paint: how.
    """

    def __init__(self, paint: Paint) -> None:
        self._paint = paint
        self._kind = ""

    def line(self, line: str) -> str:
        """Return the next line, without its end, in its colours."""
        if line.startswith(RULE):
            self._kind = _kind_of(line)
            return self._paint(line, self._kind)
        return self._paint(line, "faint") if self._kind in _FAINT else line


def _kind_of(title: str) -> str:
    words = title.removeprefix(RULE).split()
    named = words[3:4] if words[:1] == ["turn"] and words[2:3] == ["·"] else words[:1]
    return "".join(named)
