"""Mistakes in how a task and its episodes are written, found from their code at collection, before anything is paid.

Each is one sentence that begins with where it stands and ends with the line to write. Told is only what certainly goes
wrong in a trial: what code alone cannot show becomes a fault there, which names the method and what it returned. What
the schemas of tools show, `tools` finds; what a class shows as it is made, `task`.
"""

from __future__ import annotations

import ast
import inspect
import pickle
import textwrap
import typing
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar

from pytest_rltask.audit.grades import wrong_grades
from pytest_rltask.audit.returned import unholdable
from pytest_rltask.source.written import resolved, written_at
from pytest_rltask.task import Band, Episode, Grade, Task
from pytest_rltask.tools import DefinitionError, is_tool, tool_names

__all__ = ["check_definition", "doubts"]

OF_EPISODES = {"grade": (), "finish": (), "close": (), "remind": (), "nudge": (), "artifacts": (),
               "observe": ("reply",), "regrade": ("artifacts",)}  # fmt: skip
"""What the harness calls, with what."""
AWAITED = ("grade", "regrade", "finish", "nudge")
"""Those of them that may be coroutines: they may ask a model."""
MUTABLE = (list, dict, set, bytearray)


def check_definition(task: Task, episodes: Collection[type[Episode]]) -> None:
    """Look at the code of a task and of the episodes that it is known to open.

    Raises:
        DefinitionError: something in it must go wrong.
    """
    for wrong in _wrong_task(task):
        raise DefinitionError(wrong)
    for kind in episodes:
        for wrong in (*_wrong_episode(kind), *_wrong_tools(kind)):
            raise DefinitionError(wrong)


def doubts(task: Task) -> Iterator[str]:
    """Yield what a task's fields hold that may be trouble, though not in every run."""
    name = type(task).__name__
    for field, value in vars(task).items():
        if isinstance(value, MUTABLE):
            kind = type(value).__name__
            write = "a tuple" if kind == "list" else "a frozenset" if kind == "set" else "a tuple of pairs, or bytes"
            yield (
                f"the field {field} of task {name} is a {kind}, which one trial may change for all others; "
                f"write {write}, or copy it in `open`"
            )
    try:
        pickle.dumps(task)
    except Exception as error:
        yield (
            f"task {name} cannot be pickled ({type(error).__name__}: {str(error)[:120]}), so that no other process or "
            "machine can be handed it; write functions and classes that it holds at the top of a module"
        )


def _wrong_task(task: Task) -> Iterator[str]:
    kind = type(task)
    for one in kind.__mro__:
        fields = [name for name, hint in inspect.get_annotations(one).items() if not _is_class_var(hint)]
        if issubclass(one, Task) and fields and "__dataclass_params__" not in vars(one):
            yield (
                f"{written_at(one)}: task {one.__name__} has the field {fields[0]} but is no dataclass, so that it can "
                f"have no value of its own; write @dataclass(frozen=True) above `class {one.__name__}`"
            )
    yield from _wrong_call(kind, "open", ("seed",), "Episode")
    returned = resolved(kind.open).get("return")
    if _is_no(returned, Episode):
        yield (
            f"{written_at(kind.open)}: {kind.__name__}.open returns {_name(returned)}, which is no Episode; "
            "write `class MyEpisode(Episode)` and return one"
        )
    if not isinstance(task.band, Band):
        yield f"{written_at(kind)}: {kind.__name__}.band is {task.band!r}; write `band: ClassVar = Band(0.10, 0.40)`"
    if not isinstance(task.name, str):
        yield f"{written_at(kind)}: {kind.__name__}.name is no string; write @property above `def name(self) -> str`"
    yield from _wrong_policies(task)


def _wrong_policies(task: Task) -> Iterator[str]:
    kind, policies = type(task), task.policies
    if not isinstance(policies, Mapping):
        yield (
            f"{written_at(kind)}: {kind.__name__}.policies is {policies!r}, not policies by name; "
            'write `policies: ClassVar = {"solver": solver, "null": null}`'
        )
        return
    for name, policy in policies.items():
        if not callable(policy):
            called = "is called already; leave out its brackets" if inspect.isgenerator(policy) else "is no function"
            yield (
                f"{written_at(kind)}: the policy {name!r} of {kind.__name__} {called}: "
                f'write `def {str(name).replace("-", "_")}(view): yield call("...")` and "{name}": {name}'
            )
        elif inspect.isfunction(policy) and not _can_be_called(policy, ("view",)):
            yield (
                f"{written_at(policy)}: the policy {name!r} of {kind.__name__} must take the view alone; "
                f"write `def {policy.__name__}(view):`"
            )


def _is_class_var(hint: object) -> bool:
    if isinstance(hint, str):
        return hint.partition("[")[0].rpartition(".")[2] in ("ClassVar", "KW_ONLY")
    return hint is ClassVar or typing.get_origin(hint) is ClassVar or getattr(hint, "__name__", "") == "KW_ONLY"


def _wrong_episode(kind: type[Episode]) -> Iterator[str]:
    for name, arguments in OF_EPISODES.items():
        if getattr(kind, name) is not getattr(Episode, name):
            yield from _wrong_call(kind, name, arguments, "Grade" if name in ("grade", "regrade") else "None")
    for name in ("grade", "regrade"):
        method = getattr(kind, name)
        if method is not getattr(Episode, name) and inspect.isfunction(method):
            returned = resolved(method).get("return", Grade)
            if returned is None or _is_no(returned, Grade):
                yield f"{written_at(method)}: {kind.__name__}.{name} returns {_name(returned)}, not a Grade; {_WRITE}"
            else:
                yield from wrong_grades(kind, method)
    for name in ("prompt", "system"):
        yield from _wrong_text(kind, name)


_WRITE = "write `-> Grade` and `return Grade(score=..., threshold=...)`"


def _wrong_text(kind: type[Episode], name: str) -> Iterator[str]:
    value = inspect.getattr_static(kind, name)
    getter = value.fget if isinstance(value, property) else None
    returned = resolved(getter).get("return", str) if getter else type(value)
    if name == "prompt" and (returned is list or typing.get_origin(returned) in (list, tuple)):
        return  # of texts and images
    plain = getter is not None or isinstance(value, str | int | float | bytes | list | tuple | dict | None)
    if plain and (returned is None or _is_no(returned, str)):
        yield (
            f"{written_at(getter or kind)}: {kind.__name__}.{name} is {_name(returned)}, not a string; "
            f"write `def {name}(self) -> str:` below @property"
        )


def _wrong_call(kind: type, name: str, arguments: Collection[str], returns: str) -> Iterator[str]:
    method = getattr(kind, name)
    if not callable(method):
        return
    line = f"`def {', '.join([f'{name}(self', *arguments])}) -> {returns}:`"
    is_odd = inspect.iscoroutinefunction(method) and name not in AWAITED
    if is_odd or inspect.isasyncgenfunction(method):
        yield f"{written_at(method)}: {kind.__name__}.{name} is a coroutine, which nobody awaits; write {line}"
    elif inspect.isgeneratorfunction(method):
        yield f"{written_at(method)}: {kind.__name__}.{name} yields, and so returns nothing; write {line}"
    elif inspect.isfunction(inspect.getattr_static(kind, name)) and not _can_be_called(method, ("self", *arguments)):
        takes = f"is called with {', '.join(arguments)}" if arguments else "is called without arguments"
        yield f"{written_at(method)}: {kind.__name__}.{name} {takes}, and cannot be; write {line}"


def _can_be_called(method: Callable[..., Any], arguments: Collection[str]) -> bool:
    try:
        inspect.signature(method).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        return True  # nobody knows its parameters
    return True


def _wrong_tools(kind: type[Episode]) -> Iterator[str]:
    for one in kind.__mro__:
        for name, value in vars(one).items():
            hidden = value.fget if isinstance(value, property) else getattr(value, "__func__", None)
            if is_tool(hidden):
                how = "a property" if isinstance(value, property) else f"a {type(value).__name__}"
                yield (
                    f"{written_at(hidden)}: the tool {one.__name__}.{name} is {how}, which no model can call; "
                    f"write `@tool` directly above `def {name}(self, ...)`, and nothing else"
                )
        yield from _twice(one)
    for name in tool_names(kind):
        method = inspect.unwrap(getattr(kind, name))
        where = f"{written_at(method)}: tool {kind.__name__}.{name}"
        first = next(iter(inspect.signature(method).parameters.values()), None)
        if first is None or first.annotation is not first.empty:
            yield f"{where} does not take the episode; write `def {name}(self, ...)`"
        if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
            yield f"{where} yields, so that it returns no result; collect what it yields and return it"
        elif why := unholdable(resolved(method).get("return")):
            yield f"{where} returns {why}"


def _twice(kind: type) -> Iterator[str]:
    """Yield the tools of which a class's code has another of the same name: the first is gone without a word."""
    if not any(map(is_tool, vars(kind).values())):
        return
    try:
        lines, first = inspect.getsourcelines(kind)
        (tree,) = ast.parse(textwrap.dedent("".join(lines))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return
    seen: dict[str, int] = {}
    for node in tree.body if isinstance(tree, ast.ClassDef) else ():
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        marks = {ast.unparse(mark).partition("(")[0].rpartition(".")[2] for mark in node.decorator_list}
        if "tool" in marks and node.name in seen:
            where = written_at(kind, first + node.lineno - 1)
            yield (
                f"{where}: {kind.__name__} has a tool {node.name} already, in line {seen[node.name]}, which this one "
                f"replaces; give one of them another name: `def {node.name}_2(self, ...)`"
            )
        seen[node.name] = first + node.lineno - 1


def _is_no(hint: object, wanted: type) -> bool:
    """Say whether a hint is certainly of another type."""
    kind = typing.get_origin(hint) or hint
    if not isinstance(kind, type) or kind is object or issubclass(kind, Awaitable):
        return False
    return not issubclass(kind, wanted)


def _name(hint: object) -> str:
    return "None" if hint is None or hint is type(None) else getattr(hint, "__name__", str(hint))
