"""Text of models and tasks made fit to be shown: what would move a cursor, or turn the direction of writing, is seen.

On a terminal an escape sequence could erase a verdict or write another; on a page it is no character at all.
"""

from __future__ import annotations

import re

__all__ = ["visible"]

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""What terminals obey, what HTML or UTF-8 cannot carry, and what could make a text read otherwise than it is."""


def visible(text: str) -> str:
    r"""Return a text in which each such character is a sign that names it; line ends and tabs stay.

    Example:
        >>> visible("a\x1b[2Jb\u202ec")
        'a␛[2Jb[U+202E]c'
    """
    return UNSAFE.sub(_named, text.replace("\r\n", "\n"))


def _named(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else f"[U+{code:04X}]"
