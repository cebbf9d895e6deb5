"""Where a function or class is written, and what the annotations of a function say, strings among them."""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import types
import typing
from collections.abc import Callable
from typing import Any

__all__ = ["hint", "identity", "resolved", "written_at"]


def hint(function: Callable[..., Any], name: str) -> Any:
    """Return what an annotation of a function says, be it written as a string or not.

    Raises:
        ValueError: it names nothing that can be imported; the message says why.
    """
    written = inspect.unwrap(function)
    only = types.SimpleNamespace(__annotations__={name: written.__annotations__[name]})
    try:
        return typing.get_type_hints(only, written.__globals__, {}, include_extras=True)[name]
    except SyntaxError:
        raise ValueError("that is no expression") from None
    except Exception as error:  # of whatever stands there
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None


def resolved(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a function by name, without those that say nothing importable."""
    written = inspect.unwrap(function)
    found = {}
    for name in getattr(written, "__annotations__", {}):
        with contextlib.suppress(ValueError):
            found[name] = hint(written, name)
    return found


def written_at(written: Any, line: int = 0) -> str:
    """Return where a function or class is written: ``tasks.py:12``, as seen from the working directory.

    Args:
        written: the function or class.
        line: of its file; 0 for that at which it begins.
    """
    written = inspect.unwrap(written)
    code = getattr(written, "__code__", None)
    if code is not None:
        file, begin = str(code.co_filename), int(code.co_firstlineno)
    else:
        try:
            file, begin = inspect.getsourcefile(written) or "", inspect.getsourcelines(written)[1]
        except (OSError, TypeError):
            return str(getattr(written, "__module__", "?"))
    return f"{os.path.relpath(file) if file.startswith(os.getcwd() + os.sep) else file}:{line or begin}"


def identity(value: object) -> object:
    """Return what identifies a value that JSON cannot hold: the same in every process, whatever its hash seed."""
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))  # where it lies says nothing of what it is
