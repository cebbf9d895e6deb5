"""Markup in which nothing can go unescaped: only :func:`element` makes :class:`Html`, and any other text is escaped.

What a model or a task wrote is untrusted. A plain string, as a child or as an attribute, is escaped wherever it
goes; control characters, lone surrogates and marks that turn the direction of writing are made visible. The result
is well-formed XML as well as HTML.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from pytest_rltask.report.visible import visible

__all__ = ["Html", "clip", "code", "element", "join"]

SELF_CLOSING = {"meta", "rect", "line", "circle", "path"}
"""Elements without content that HTML and XML alike let close themselves."""


class Html(str):
    """Text that is markup. Made by :func:`element` and :func:`join` only, and from constants of this package."""

    __slots__ = ()


def element(name: str, /, *children: str, **attributes: str | int | float | None) -> Html:
    """Return an element; children and attributes that are not :class:`Html` are escaped.

    Args:
        name: of the element; never from outside.
        children: texts and elements.
        attributes: a trailing underscore is dropped, others become hyphens; None leaves the attribute out.

    Example:
        >>> element("p", "1 < 2 ", element("b", "yes"), class_="sum")
        '<p class="sum">1 &lt; 2 <b>yes</b></p>'
    """
    head = name + "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(visible(str(value)))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in SELF_CLOSING and not children:
        return Html(f"<{head}/>")
    return Html(f"<{head}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Html:
    """Return parts one after the other, escaping what is not :class:`Html`."""
    return Html("".join(part if isinstance(part, Html) else escape(visible(part)) for part in parts))


def clip(text: str, length: int) -> str:
    """Return a text of about this length at most, the middle of a longer one left out.

    Example:
        >>> clip("abcdefgh", 4)
        'ab [... 4 characters left out ...] gh'
    """
    if len(text) <= length:
        return text
    half = length // 2
    return f"{text[:half]} [... {len(text) - 2 * half:,} characters left out ...] {text[-half:]}"


def code(text: str) -> Html:
    """Return a script of this package as an element's content, which HTML reads as it is and XML as well."""
    assert not re.search(r"</script|<!--|]]>", text), "a script of ours cannot end its element"
    return Html(f"//<![CDATA[\n{text}\n//]]>")
