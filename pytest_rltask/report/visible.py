"""Text of models and tasks made fit to be shown: what would move a cursor, or turn the direction of writing, is seen.

On a terminal an escape sequence could erase a verdict or write another; on a page it is no character at all.
"""

from __future__ import annotations

import os
import re

__all__ = ["for_log", "tamed", "visible"]

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""What terminals obey, what HTML or UTF-8 cannot carry, and what could make a text read otherwise than it is."""


_COMMAND = re.compile(r"^(\s*)::", re.MULTILINE)


def visible(text: str) -> str:
    r"""Return a text in which each such character is a sign that names it; line ends and tabs stay.

    Example:
        >>> visible("a\x1b[2Jb\u202ec")
        'a␛[2Jb[U+202E]c'
    """
    return UNSAFE.sub(_named, text.replace("\r\n", "\n"))


def for_log(text: str) -> str:
    r"""Return a text of models and tasks as a terminal or a log may have it: visible, and tamed.

    Example:
        >>> for_log("a\x1b[2J")
        'a␛[2J'
    """
    return tamed(visible(text))


def tamed(text: str) -> str:
    """Return a text that is no command to a workflow: GitHub's runner obeys what others print.

    It takes lines that begin with ``::``, blanks aside, and ``##[`` wherever that stands.
    """
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return text
    return _COMMAND.sub(r"\1| ::", text).replace("##[", "## [")


def _named(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else f"[U+{code:04X}]"
