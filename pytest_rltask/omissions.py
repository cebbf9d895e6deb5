"""What an author may have forgotten, seen from a task's code alone, before anything is opened or paid for.

Only what is certain is told: `open`, or an episode's `__init__` to which it hands the seed, never reads that; no class
of episodes that `open` names has a tool. What code alone cannot show, ``--audit`` finds by playing. A task that means
it says so: `needs_tools` and `needs_seed`.
"""

from __future__ import annotations

import dis
import inspect
import typing
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

from pytest_rltask.task import Episode, Task
from pytest_rltask.tools import has_tools

__all__ = ["episode_classes", "omissions", "toolless"]


def omissions(task: Task) -> Iterator[str]:
    """Yield what a task seems to lack, each with what to write."""
    kinds = episode_classes(task)
    if task.needs_tools and kinds and not any(map(has_tools, kinds)):
        yield toolless(type(task))
    if task.needs_seed and (where := _unread_seed(task, kinds)):
        yield (
            f"{where} never reads its seed, so all runs of task {type(task).__name__} may play the same instance; draw "
            "its data from the seed, or, if that is meant, write `needs_seed: ClassVar = False` in the task"
        )


def toolless(task: type[Task]) -> str:
    """Say that a task's episodes have no tool, and what to write."""
    return (
        f"the episodes of task {task.__name__} have no tool, so that a model can only talk; write `@tool` above the "
        "methods that it may call, or, if that is meant, `needs_tools: ClassVar = False` in the task"
    )


def episode_classes(task: Task) -> list[type[Episode]]:
    """Return the classes of episodes that a task opens, as far as its code tells: by annotation, else by name."""
    opening = _function(type(task).open)
    if opening is None:
        return []
    try:
        returned = typing.get_type_hints(opening).get("return")
    except (NameError, TypeError, AttributeError, SyntaxError):
        returned = None  # not importable from here
    if _is_episode(returned):
        return [returned]
    known = inspect.getclosurevars(opening)
    named = [*known.nonlocals.values(), *known.globals.values()]
    return [value for value in named if _is_episode(value)]


def _is_episode(value: object) -> typing.TypeGuard[type[Episode]]:
    return isinstance(value, type) and issubclass(value, Episode) and value is not Episode


def _unread_seed(task: Task, kinds: list[type[Episode]]) -> str | None:
    """Return the name of the function that is given the seed and does not read it; None if there is no such."""
    opening = _function(type(task).open)
    parameters = list(inspect.signature(opening).parameters)[1:] if opening else []
    if opening is None or not parameters:
        return None
    if not _reads(opening, parameters[0]):
        return opening.__qualname__
    # Of the episode's own parameters only one of the same name is known to be the seed.
    inits = [_function(kind.__init__) for kind in kinds]
    unread = [init for init in inits if init and _takes(init, parameters[0]) and not _reads(init, parameters[0])]
    return unread[0].__qualname__ if unread and len(unread) == len(inits) else None


def _takes(function: FunctionType, name: str) -> bool:
    return name in inspect.signature(function).parameters


def _reads(function: FunctionType, name: str) -> bool:
    """Say whether a function's code reads one of its parameters, or may do so where that cannot be told."""
    code = function.__code__
    if name in code.co_cellvars or {"locals", "vars", "eval", "exec"} & set(code.co_names):
        return True
    loads = (step for step in dis.get_instructions(code) if "LOAD_FAST" in step.opname)
    return any(name == step.argval or (isinstance(step.argval, tuple) and name in step.argval) for step in loads)


def _function(method: Callable[..., Any]) -> FunctionType | None:
    """Return the function that an author wrote below any decorators; None if there is no code to look at."""
    function = inspect.unwrap(method)
    return function if isinstance(function, FunctionType) else None
