"""What an author may have forgotten, seen from a task's code alone, before anything is opened or paid for.

Only what is certain is told: `open` never reads the seed, or an episode that it is handed to makes nothing of it; no
class of episodes that `open` names has a tool. What code alone cannot show, ``--audit`` finds by playing. A task that
means it says so: `needs_tools` and `needs_seed`.
"""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
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
            f"{where} makes nothing of its seed, so all runs of task {type(task).__name__} may play the same instance; "
            "draw its data from the seed, or, if that is meant, write `needs_seed: ClassVar = False` in the task"
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
    """Return the name of what is given the seed and makes nothing of it; None if there is no such."""
    opening = _function(type(task).open)
    parameters = list(inspect.signature(opening).parameters)[1:] if opening else []
    if opening is None or not parameters:
        return None
    if not _reads(opening, parameters[0]):
        return opening.__qualname__
    # Of the episode's own parameters only one of the same name is known to be the seed.
    unread = [kind.__qualname__ for kind in kinds if _ignores(kind, opening, parameters[0])]
    return unread[0] if unread and len(unread) == len(kinds) else None


def _ignores(kind: type[Episode], opening: FunctionType, name: str) -> bool:
    """Say whether episodes of a class are given a parameter of a name and certainly make nothing of it."""
    init = _function(kind.__init__)
    if init is None or name not in inspect.signature(init).parameters:
        return False
    return not _reads(init, name) or (_just_returns(opening, kind) and _is_shelved(kind, init, name))


def _just_returns(opening: FunctionType, kind: type[Episode]) -> bool:
    """Say whether `open` returns an episode as it made it, and hands it to nothing else."""
    steps = [step for body in _tree(opening) for part in getattr(body, "body", []) for step in ast.walk(part)]
    made = [step.value.func for step in steps if isinstance(step, ast.Return) and isinstance(step.value, ast.Call)]
    returned = sum(_is_read(function, kind.__name__) for function in made)
    return 0 < returned == sum(_is_read(step, kind.__name__) for step in steps)


def _is_shelved(kind: type[Episode], init: FunctionType, name: str) -> bool:
    """Say whether a parameter is but stored, in an attribute that no method of the class reads."""
    own = [one for one in kind.__mro__ if one not in Episode.__mro__]
    trees = [tree for one in own for tree in _tree(one)]
    setup = [step for tree in _tree(init) for step in ast.walk(tree)]
    stored = [attribute for step in setup for attribute in _stored(step, name)]
    if len(trees) < len(own) or not stored or len(stored) != sum(_is_read(step, name) for step in setup):
        return False
    steps = [step for tree in trees for step in ast.walk(tree)]
    attributes = [step for step in steps if isinstance(step, ast.Attribute) and _is_read(step.value, "self")]
    if sum(_is_read(step, "self") for step in steps) != len(attributes):
        return False  # the whole episode is handed to something else, which may read what it likes
    return not any(step.attr in stored and isinstance(step.ctx, ast.Load) for step in attributes)


def _tree(written: type | FunctionType) -> list[ast.stmt]:
    """Return the definition of a class or function; nothing if its source cannot be read."""
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(written))).body[:1]
    except (OSError, TypeError, SyntaxError):
        return []


def _stored(step: ast.AST, name: str) -> Iterator[str]:
    """Yield the attributes of `self` to which an assignment gives a name's value as it is."""
    match step:
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
            pairs = list(zip(targets, values, strict=False))
        case ast.Assign(targets=[target], value=value) | ast.AnnAssign(target=target, value=ast.expr() as value):
            pairs = [(target, value)]
        case _:
            return
    for target, value in pairs:
        if _is_read(value, name) and isinstance(target, ast.Attribute) and _is_read(target.value, "self"):
            yield target.attr


def _is_read(step: ast.AST, name: str) -> bool:
    return isinstance(step, ast.Name) and step.id == name and isinstance(step.ctx, ast.Load)


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
