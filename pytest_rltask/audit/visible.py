"""Whether a number or a hidden value can be read in a text. Pure functions."""

from __future__ import annotations

import base64
import contextlib
import json
import math
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

__all__ = ["is_stated", "is_visible"]

RUN = 64
"""As many values of a hidden sequence, one after the other, give it away; or all of a shorter one."""

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBER = re.compile(r"(?<![\w.])[-\u2212]?(?:\d+(?:\.\d+)?|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
_GROUPED = re.compile(r"(?<![\w.,])\d{1,3}(?:[,_ '\u00a0\u2009\u202f]\d{3})+(?![\d,])(?:\.\d+)?")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)[\s\u00a0\u202f]*(?:%|percent\b)", re.IGNORECASE)


def is_stated(value: float, text: str) -> bool:
    """Say whether a text states a number, in one of the usual ways of writing it.

    Example:
        >>> [is_stated(0.875, text) for text in ("at least 0.875", "87.5 % of the rows", "0.8750", "0.87")]
        [True, True, True, False]
        >>> is_stated(1000, "1,000 rows"), is_stated(60, "within 60s"), is_stated(4, "four calls")
        (True, True, True)
    """
    candidates = [*_numbers(text), *(float(re.sub(r"[^\d.]", "", found)) for found in _GROUPED.findall(text))]
    candidates += [float(found) / 100 for found in _PERCENT.findall(text)]
    if value in range(len(_WORDS)) and re.search(rf"\b{_WORDS[int(value)]}\b", text, re.IGNORECASE):
        return True
    return any(math.isclose(abs(value), abs(number), rel_tol=1e-9) for number in candidates)


def is_visible(value: Any, text: str) -> bool:
    """Say whether a text shows a hidden value.

    A string counts as it is or as JSON writes it; bytes as text, hex or base64; a number as a number of its own; a
    sequence or array of numbers if its first 64 stand one after the other, whatever is between them; any other
    sequence if one of its elements is visible.

    Example:
        >>> is_visible([1, 0, 1], "labels: [1, 0, 1]"), is_visible([1, 0, 1], "101"), is_visible(10, "of 100 rows")
        (True, True, False)
        >>> is_visible(b"key", "a2V5"), is_visible({"city": "Oslo"}, "It is Oslo.")
        (True, True)
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()  # a number of a library
    match value:
        case None | bool():
            return False  # there is nothing to recognise in them
        case str():
            return bool(value) and (value in text or json.dumps(value, ensure_ascii=False)[1:-1] in text)
        case bytes():
            forms = [value.hex(), base64.b64encode(value).decode()]
            with contextlib.suppress(UnicodeDecodeError):
                forms.append(value.decode())
            return bool(value) and any(is_visible(form, text) for form in forms)
        case int() | float():
            return any(number == value for number in _numbers(text))
        case dict():
            return any(is_visible(one, text) for one in value.values())
    return _is_any_visible(value, text)


def _is_any_visible(values: Iterable[Any], text: str) -> bool:
    run = list(islice(_flat(values), RUN))
    if len(run) > 1 and all(isinstance(one, bool | int | float) for one in run):
        return _is_run_visible([float(one) for one in run], text)
    return any(is_visible(one, text) for one in _flat(values))


def _is_run_visible(run: list[float], text: str) -> bool:
    if f",{_joined(run)}," in f",{_joined(_numbers(text))},":
        return True
    digits = "".join(f"{one:g}" for one in run)
    return all(one in range(10) for one in run) and digits in re.sub(r"[\s,;]", "", text)


def _joined(numbers: Iterable[float]) -> str:
    return ",".join(map(repr, numbers))


def _numbers(text: str) -> list[float]:
    return [float(found.replace("\u2212", "-")) for found in _NUMBER.findall(text)]


def _flat(values: Any) -> Iterator[Any]:
    """Yield the elements of nested sequences, and of arrays of whichever library."""
    for one in values:
        if hasattr(one, "tolist"):
            one = one.tolist()  # a row of an array, or a number of its library
        if isinstance(one, Iterable) and not isinstance(one, str | bytes | dict):
            yield from _flat(one)
        else:
            yield one
