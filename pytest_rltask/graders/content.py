"""What the parameters of a task hold, as text: functions and objects in them decide over grades as numbers do."""

from __future__ import annotations

import contextlib
import functools
import json
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pytest_rltask.graders.sources import digest_of
from pytest_rltask.source.written import identity

__all__ = ["content_text", "values_in"]


def content_text(value: object) -> str:
    """Return a value as text that is the same for the same content, in every process."""
    return json.dumps(_content(value, ()))


def _content(value: Any, around: tuple[int, ...]) -> object:
    """Return what a value is and holds, be its representation ever so short."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if id(value) in around:
        return "..."
    inside = (*around, id(value))
    match value:
        case Mapping():
            return sorted(([str(identity(key)), _content(one, inside)] for key, one in value.items()), key=repr)
        case list() | tuple():
            return [_content(one, inside) for one in value]
        case types.FunctionType():
            held = [value.__defaults__, value.__kwdefaults__, _cells(value)]
            return [f"{value.__module__}.{value.__qualname__}", _content(held, inside)]
        case functools.partial():
            return _content([value.func, value.args, value.keywords], inside)
    if hasattr(value, "tobytes") and hasattr(value, "shape"):
        return [identity(value), digest_of(value.tobytes())]
    own = None if isinstance(value, type | types.ModuleType) else getattr(value, "__dict__", None)
    return [identity(value), _content(own, inside)] if own else identity(value)


def _cells(function: types.FunctionType) -> list[object]:
    """Return what a function holds of those around it."""
    found: list[object] = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):  # not filled yet
            found.append(cell.cell_contents)
    return found


def values_in(values: Iterable[Any]) -> Iterator[Any]:
    """Yield values and what collections, and wrapped functions, hold."""
    for value in values:
        yield value
        if isinstance(value, Mapping):
            yield from values_in(value.values())
        elif isinstance(value, list | tuple | set | frozenset):
            yield from values_in(value)
        elif isinstance(value, functools.partial):
            yield from values_in([value.func, *value.args, *value.keywords.values()])
        elif isinstance(value, types.MethodType):
            yield from values_in([value.__func__, value.__self__])
