"""What a tool says that it returns, held against what JSON can hold of it: a model is sent a string, or JSON."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import os
import types
import typing
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

__all__ = ["unholdable"]

HELD = (
    str, int, float, list, tuple, dict, set, frozenset, enum.Enum, Mapping,
    os.PathLike, datetime.date, datetime.time, decimal.Decimal, uuid.UUID,
)  # fmt: skip
"""What `trial.turns` makes JSON of, beside dataclasses and numpy's arrays."""
KEYS = (str, int, float, type(None))
INSTEAD = {
    "bytes": "write -> str, and .decode() behind what is returned",
    "bytearray": "write -> str, and .decode() behind what is returned",
    "complex": "write -> list[float], and return [value.real, value.imag]",
    "DataFrame": 'write -> list[dict[str, object]], and .to_dict("records") behind what is returned',
    "BaseModel": "write -> dict[str, object], and .model_dump() behind what is returned",
}


def unholdable(hint: object) -> str:
    """Say what of a return annotation JSON cannot hold, and what to write; empty if it can hold all, or nobody knows.

    Example:
        >>> unholdable(dict[str, list[int]])
        ''
        >>> unholdable(list[bytes])
        'bytes, which JSON cannot hold; write -> str, and .decode() behind what is returned'
    """
    if (bad := _bad(hint, frozenset())) is None:
        return ""
    names = [one.__name__ for one in getattr(bad, "__mro__", (bad,)) if hasattr(one, "__name__")]
    named = names[0] if names else str(bad)
    known = next((INSTEAD[name] for name in names if name in INSTEAD), None)
    if known is None and _is_key(bad):
        return (
            f"a dict whose keys are {named}, which JSON cannot hold; write -> dict[str, ...], and str() around each key"
        )
    return (
        f"{named}, which JSON cannot hold; {known or 'write -> str or -> dict[str, object], and return what it says'}"
    )


@dataclasses.dataclass(frozen=True)
class _Key:
    """A type of keys that JSON has none of."""

    kind: Any

    @property
    def __name__(self) -> str:
        return str(getattr(self.kind, "__name__", self.kind))


def _is_key(bad: object) -> bool:
    return isinstance(bad, _Key)


def _bad(hint: Any, seen: frozenset[Any]) -> Any:
    """Return the first type of a hint that JSON cannot hold; None if there is none."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _bad(arguments[0], seen)
    if origin is typing.Literal:
        return next((bad for one in arguments if (bad := _bad(type(one), seen)) is not None), None)
    if origin is typing.Union or isinstance(hint, types.UnionType):
        return next((bad for one in arguments if (bad := _bad(one, seen)) is not None), None)
    kind = origin or hint
    if not isinstance(kind, type) or kind in (object, type(None), Any):
        return None  # Any, a type variable, or what nobody knows
    if issubclass(kind, Mapping) and len(arguments) == 2:
        key = typing.get_origin(arguments[0]) or arguments[0]
        if isinstance(key, type) and not issubclass(key, KEYS) and key not in (object, Any):
            return _Key(key)
    if kind is type or issubclass(kind, Iterator | AsyncIterator) or kind is Callable:
        return kind
    if hasattr(kind, "rltask_blocks"):
        return None  # an image or a document
    if dataclasses.is_dataclass(kind):
        return None if kind in seen else _bad_field(kind, seen | {kind})
    if not issubclass(kind, HELD) and not _may_hold(kind):
        return kind
    inside = (one for one in arguments if one is not Ellipsis)
    return next((bad for one in inside if (bad := _bad(one, seen)) is not None), None)


def _bad_field(kind: Any, seen: frozenset[Any]) -> Any:
    try:
        hints = typing.get_type_hints(kind)
    except Exception:
        return None
    return next((bad for one in hints.values() if (bad := _bad(one, seen)) is not None), None)


def _may_hold(kind: type) -> bool:
    """Say whether a type is one of a library's arrays, or an abstract one."""
    return (
        hasattr(kind, "tolist")
        or getattr(kind, "_is_protocol", False)
        or getattr(kind, "__module__", "").startswith("collections.")
        or typing.is_typeddict(kind)
    )
