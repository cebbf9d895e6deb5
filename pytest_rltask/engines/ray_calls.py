"""Calls of Ray's, as coroutines: their results, and the deaths of those who were called."""

from __future__ import annotations

import contextlib
from typing import Any

from pytest_rltask.run.record import error_text

__all__ = ["Died", "awaited", "ended"]


class Died(Exception):
    """A process or node died; says which and of what, in words."""


async def awaited(ref: Any) -> Any:
    """Wait for what a remote call returns.

    Raises:
        Died: whoever was called died.
    """
    from ray import exceptions

    try:
        return await ref
    except exceptions.RayTaskError:
        raise
    except exceptions.TaskCancelledError:
        raise
    except exceptions.RayError as error:
        raise Died(_said_of(error)) from error


def _said_of(error: Exception) -> str:
    kind = type(error).__name__
    if kind == "OutOfMemoryError":
        return "the node that played the trial ran out of memory; declare what it needs in Task.resources (memory_mb)"
    if kind == "RuntimeEnvSetupError":
        return f"the project could not be brought to a node: {' '.join(error_text(error).split())[:300]}"
    return f"the process that played the trial on a node died ({kind}): killed, out of memory, or a crash"


async def ended(ref: Any) -> None:
    """Wait until a remote call has ended, however."""
    with contextlib.suppress(Exception):
        await ref
