"""A test's parameters, as `pytest.mark.parametrize` gives them: those that its task takes make a task for each row.

A class of tasks takes those that are called like its fields, a function ``lambda config, bugs: ...`` those that it
names. What pytest makes only in a test's turn, through ``indirect`` or a fixture's own ``params``, no task can take: it
is there before. What no task takes is for the test's assertion alone, and the rows then play the same trials.
"""

from __future__ import annotations

import difflib
import functools
import inspect
import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_rltask.run.planned import SHOWN_CHARS
from pytest_rltask.run.record import clean_text
from pytest_rltask.suite.marker import EXAMPLE
from pytest_rltask.suite.setups import is_made_by_pytest
from pytest_rltask.task import Task
from pytest_rltask.tools import DefinitionError

__all__ = ["Given", "asserted", "check_names", "combinations", "given", "made", "misses", "offer", "shown"]

MOST_COMBINATIONS = 1000
CONFIG = "config"


@dataclass(frozen=True)
class Given:
    """The parameters of one item, without its trial."""

    direct: Mapping[str, Any]
    """Values by name."""
    later: tuple[str, ...] = ()
    """Names of those whose value a fixture makes in the item's turn."""
    marks: tuple[pytest.Mark, ...] = ()
    """Marks of the values."""

    @property
    def key(self) -> tuple[object, ...]:
        """The same for items that differ in model and run alone."""
        values = [(name, id(value)) for name, value in self.direct.items()]
        return *values, *map(id, self.marks)


def given(item: pytest.Item) -> Given:
    """Return an item's parameters."""
    callspec = getattr(item, "callspec", None)
    params = {name: value for name, value in getattr(callspec, "params", {}).items() if name != "trial"}
    later = tuple(name for name in params if not is_made_by_pytest(item, name))
    direct = {name: value for name, value in params.items() if name not in later}
    return Given(direct, later, tuple(getattr(callspec, "marks", ())))


def combinations(definition: pytest.Item) -> list[Given]:
    """Return what `pytest.mark.parametrize` will give a test, as far as its marks tell before pytest reads them.

    Of values that some hook gives it says nothing, nor of those that an iterator makes, which none may use up.
    """
    axes = [list(_axis(mark)) for mark in definition.iter_markers("parametrize")]
    found = itertools.islice(itertools.product(*filter(None, axes)), MOST_COMBINATIONS)
    return [
        Given(
            {name: value for one in parts for name, value in one.direct.items()},
            tuple(name for one in parts for name in one.later),
            tuple(mark for one in parts for mark in one.marks),
        )
        for parts in found
    ]


def _axis(mark: pytest.Mark) -> Iterator[Given]:
    said = {**dict(zip(("argnames", "argvalues", "indirect"), mark.args, strict=False)), **mark.kwargs}
    values: Any
    names, values, indirect = said.get("argnames"), said.get("argvalues"), said.get("indirect", False)
    names = [name.strip() for name in names.split(",") if name.strip()] if isinstance(names, str) else list(names or ())
    for value in values if isinstance(values, Collection) else ():
        one: Any = value if isinstance(value, type(pytest.param())) else pytest.param(*_row(value, names))
        try:
            pairs = dict(zip(names, one.values, strict=True))
        except (TypeError, ValueError):
            return  # pytest says what is wrong with it
        later = names if indirect is True else [name for name in names if indirect and name in indirect]
        marks = [getattr(mark, "mark", mark) for mark in one.marks]
        yield Given({name: pairs[name] for name in names if name not in later}, tuple(later), tuple(marks))


def _row(value: Any, names: Collection[str]) -> Collection[Any]:
    if len(names) == 1:
        return (value,)
    return value if isinstance(value, Collection) else ()


def offer(metafunc: pytest.Metafunc, source: object, names: Iterable[str]) -> None:
    """Have pytest give a test the parameters that its task takes, though its function does not name them."""
    for name in names:
        if name not in metafunc.fixturenames and name in _taken(source, names):
            metafunc.fixturenames.append(name)


def check_names(metafunc: pytest.Metafunc, source: object, names: Iterable[str], where: str) -> None:
    """Make sure that each parameter is taken by the task or the test.

    Raises:
        DefinitionError: one is of use to nobody.
    """
    own = inspect.signature(metafunc.function).parameters
    for name in names:
        if name in metafunc.fixturenames or name in own:
            continue
        function = f"`def {metafunc.function.__name__}({', '.join([*own, name])})`"
        if isinstance(source, Task) and name in _fields(type(source)):
            kind = type(source).__name__
            raise DefinitionError(
                f"{where}: the task is made already, {kind}(...), so that {name} cannot reach it; "
                f"write task={kind} to have each row make its own, or {function} if the assertion alone uses {name}"
            )
        fields = ", ".join(_taken(source, ())) or "none"
        what = "fields" if _kind(source) else "parameters"
        near = difflib.get_close_matches(name, _taken(source, ()), n=1)
        instead = f'@pytest.mark.parametrize("{near[0]}", ...)' if near else "one of them"
        raise DefinitionError(
            f"{where}: its task takes no {name!r}: {_called(source)} has the {what} {fields}; write {instead}, "
            f"or {function} if the assertion alone uses {name}"
        )


def made(source: object, given: Given, config: pytest.Config, where: str) -> Task:
    """Return the task of a row.

    Args:
        source: what the marker has: a task, a class of tasks, or a function that makes one.
        given: the parameters of the row.
        config: pytest's configuration, which a function may ask for.
        where: the test's node id.

    Raises:
        DefinitionError: no task can be made of it.
    """
    if isinstance(source, Task):
        return source
    if not callable(source) or (isinstance(source, type) and not issubclass(source, Task)):
        raise DefinitionError(
            f"{where}: task is {source!r}, which is no Task; write @pytest.mark.rltask(task=MyTask())"
        )
    task = _of_class(source, given, where) if _kind(source) else _of_function(source, given, config, where)
    if not isinstance(task, Task):
        raise DefinitionError(f"{where}: task is {task!r}, which is no Task; write {EXAMPLE}")
    return task


def _of_class(make: Callable[..., Any], given: Given, where: str) -> object:
    fields = inspect.signature(make).parameters
    values = {name: value for name, value in given.direct.items() if name in fields}
    name = _called(make)
    try:
        inspect.signature(make).bind(**values)
    except TypeError:
        missing = [one.name for one in fields.values() if one.default is one.empty and one.name not in values]
        late = [one for one in missing if one in given.later]
        if late:
            raise DefinitionError(f"{where}: {_too_late(late[0], name)}") from None
        raise DefinitionError(
            f"{where}: {name} has no value for {', '.join(missing)}; write "
            f'@pytest.mark.parametrize("{missing[0]}", [...]) or task={name}({missing[0]}=...)'
        ) from None
    try:
        return make(**values)
    except (TypeError, ValueError) as error:
        with_values = ", ".join(f"{one}={shown(value)!r}" for one, value in values.items())
        raise DefinitionError(f"{where}: {name}({with_values}) cannot be made: {clean_text(str(error))}") from None


def _of_function(make: Callable[..., Any], given: Given, config: pytest.Config, where: str) -> object:
    try:
        signature = inspect.signature(make)
    except (TypeError, ValueError):
        signature = inspect.signature(lambda config: None)
    taken = {name: given.direct[name] for name in _taken(make, given.direct) if name in given.direct}
    first = _config_of(signature, taken)
    args: tuple[Any, ...] = (config,) if first == "" else ()
    kwargs = taken | ({first: config} if first else {})
    try:
        bound = signature.bind(*args, **kwargs) if args or kwargs else None
    except TypeError:
        bound = None
    if bound is None:
        _refuse(signature, given, kwargs, where)
        raise DefinitionError(f"{where}: task must take the configuration; write `task=lambda config: ...`")
    if (
        first
        and first != CONFIG
        and (near := difflib.get_close_matches(first, given.direct.keys() - taken.keys(), n=1))
    ):
        raise DefinitionError(
            f"{where}: the task's {first!r} names none of the test's parameters, which are "
            f"{', '.join(given.direct)}; write `task=lambda config, {near[0]}: ...`"
        )
    return make(*bound.args, **bound.kwargs)


def _refuse(signature: inspect.Signature, given: Given, kwargs: Collection[str], where: str) -> None:
    """Say which parameters of a function nobody has a value for."""
    needed = [one.name for one in signature.parameters.values() if one.default is one.empty and one.name not in kwargs]
    missing = [name for name in needed if signature.parameters[name].kind not in (2, 4)]  # neither *args nor **kwargs
    if late := [name for name in missing if name in given.later]:
        raise DefinitionError(f"{where}: {_too_late(late[0], 'its task')}")
    if missing:
        has = f"is parametrised by {', '.join(given.direct)}" if given.direct else "has no parameters"
        raise DefinitionError(
            f"{where}: the task asks for {', '.join(missing)}, but the test {has}; "
            f'write @pytest.mark.parametrize("{missing[0]}", [...])'
        )


def _too_late(name: str, task: str) -> str:
    return (
        f"a fixture makes {name} in the test's turn, when {task} has long been made; "
        f"leave out indirect, and write @pytest.mark.parametrize({name!r}, [...])"
    )


def _config_of(signature: inspect.Signature, taken: Collection[str]) -> str | None:
    """Return which parameter gets the configuration: its name, "" for the first by position, or None."""
    if CONFIG in signature.parameters and CONFIG not in taken:
        return "" if signature.parameters[CONFIG].kind is inspect.Parameter.POSITIONAL_ONLY else CONFIG
    for one in signature.parameters.values():
        if one.kind is one.VAR_POSITIONAL or one.kind is one.POSITIONAL_ONLY:
            return ""
        if one.kind is one.POSITIONAL_OR_KEYWORD and one.name not in taken:
            return one.name if one.default is one.empty or not taken else None
    return None


def asserted(source: object, given: Given, item: pytest.Item) -> dict[str, Any] | None:
    """Return the parameters that a test takes itself, if any has made its task; None if none has."""
    if not any(name in given.direct for name in _taken(source, given.direct)):
        return None
    own = inspect.signature(getattr(item, "function", lambda: None)).parameters
    return {name: value for name, value in given.direct.items() if name in own}


def misses(source: object, task: Task, given: Given) -> Iterator[str]:
    """Yield which parameters an author may think that the task gets, and what to write."""
    fields = _fields(type(task))
    name = type(task).__name__
    for one in given.direct if isinstance(source, Task) else ():
        if one in fields:
            yield (
                f"the parameter {one} does not reach the field of {name} that is called so, since the task is made "
                f"already; write task={name} to have each row make its own, or give one of them another name"
            )
    for one in given.later:
        if one in fields:
            yield f"the parameter {one} does not reach {name}: {_too_late(one, 'the task')}"


def _kind(source: object) -> type[Task] | None:
    """Return the class of tasks that a marker names, be some of its fields given already; None if it names none."""
    while isinstance(source, functools.partial):
        source = source.func
    return source if isinstance(source, type) and issubclass(source, Task) else None


def _fields(kind: type[Task]) -> list[str]:
    return list(inspect.signature(kind).parameters)


def _taken(source: object, names: Iterable[str]) -> list[str]:
    """Return which parameters a task takes; of any name those of `names`."""
    if isinstance(source, Task) or not callable(source):
        return []
    try:
        parameters = inspect.signature(source).parameters.values()
    except (TypeError, ValueError):
        return []
    by_name = [one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    more = names if any(one.kind is one.VAR_KEYWORD for one in parameters) else ()
    return list(dict.fromkeys([*by_name, *more]))


def _called(source: object) -> str:
    kind = _kind(source) or (type(source) if isinstance(source, Task) else None)
    return kind.__name__ if kind else "its function"


def shown(value: object) -> Any:
    """Return a parameter's value as the run directory keeps it: JSON's own as they are, others as they show themselves.

    Example:
        >>> shown(0.5), shown(None), shown(float("nan")), shown((1, 2))
        (0.5, None, 'nan', '(1, 2)')
    """
    if value is None or isinstance(value, bool) or (type(value) is int and abs(value) < 2**53):
        return value
    if type(value) is float and value - value == 0:  # neither infinite nor NaN
        return value
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    text = clean_text(str(text))
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 1]}…"
