"""What grades the trials of a test, by content: its task's fields, and the code that may decide over pass or miss.

That code is what the task's class, its bases, the test function and the folder's ``conftest.py`` can reach within the
project: see :mod:`~pytest_rltask.graders.project` for files, and below for what of a file counts. A function counts
once anything that counts mentions its name, in whichever file; all counts where names are made at run time. So a change
may be told that changes no grade, and none that does is passed over.
"""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pytest_rltask.graders.content import content_text, values_in
from pytest_rltask.graders.loaded import Loaded
from pytest_rltask.graders.project import Project, is_library, state_of
from pytest_rltask.graders.sources import Part, Source, digest_of, with_values
from pytest_rltask.judges.rubric import WORDING
from pytest_rltask.run.record import known_fields
from pytest_rltask.task import Task
from pytest_rltask.tools import DefinitionError

__all__ = ["Grader", "Graders"]

_NO_SOURCE = "(no source)"


@dataclass(frozen=True)
class Grader:
    """What grades the trials of a test."""

    task: str
    """Module and name of the task's class."""
    fields: dict[str, str] = field(default_factory=dict)
    """The task's fields: numbers as text, of what else they hold a digest, since that may be a key or an answer.

    Then who answers for each of its judges."""
    files: dict[str, dict[str, str]] = field(default_factory=dict)
    """The digest of each part that counts, by file."""
    shapes: dict[str, dict[str, tuple[str, list[float]]]] = field(default_factory=dict)
    """Of parts that hold literal thresholds: the digest without them, and the thresholds."""
    threshold_fields: list[str] = field(default_factory=list)
    """Fields that are nothing but the threshold of a grade."""
    test: str = ""
    """File and name of the test function, as among `files`."""

    @property
    def digest(self) -> str:
        """16 hex digits that identify it."""
        return digest_of(json.dumps([self.task, self.fields, self.files], sort_keys=True))

    @property
    def has_no_source(self) -> bool:
        """Whether some of it is known by its byte code alone."""
        return any(file.startswith(_NO_SOURCE) for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Grader:
        """Rebuild a grader.

        Raises:
            TypeError: the data are none.
        """
        return cls(**known_fields(cls, data))

    def differences(self, other: Grader) -> Iterator[str]:
        """Yield how another grader differs from this earlier one, by field, and by file with its functions."""
        if self.task != other.task:
            yield f"the task was {self.task}, is {other.task}"
        for name in dict.fromkeys([*self.fields, *other.fields]):
            was, now = self.fields.get(name, "not there"), other.fields.get(name, "not there")
            if was != now:
                yield f"{name} was {was}, is {now}"
        for file in dict.fromkeys([*self.files, *other.files]):
            if parts := list(self.changed_parts(other, file)):
                yield f"{file}: {', '.join(parts)}"

    def thresholds(self, other: Grader) -> dict[float, float] | None:
        """Return what another grader made of each threshold of this earlier one; None if more than thresholds differs.

        It is empty if nothing differs but the test function, which judges recorded scores anyhow.
        """
        changed: list[tuple[float, float]] = []
        if (
            self.task != other.task
            or self.fields.keys() != other.fields.keys()
            or self.files.keys() != other.files.keys()
        ):
            return None
        for name, was in self.fields.items():
            if was != other.fields[name]:
                if name not in self.threshold_fields or name not in other.threshold_fields:
                    return None
                changed.append((float(was), float(other.fields[name])))
        for file in self.files:
            was_parts, now_parts = self.shapes.get(file, {}), other.shapes.get(file, {})
            for part in self.changed_parts(other, file):
                was_shape, now_shape = was_parts.get(part), now_parts.get(part)
                if f"{file}: {part}" == self.test == other.test:
                    continue
                if was_shape is None or now_shape is None or was_shape[0] != now_shape[0]:
                    return None
                changed += zip(was_shape[1], now_shape[1], strict=True)
        return dict(changed) if len(set(changed)) == len(dict(changed)) else None

    def changed_parts(self, other: Grader, file: str) -> Iterator[str]:
        """Yield the names of what differs within a file."""
        was, now = self.files.get(file, {}), other.files.get(file, {})
        for name in dict.fromkeys([*was, *now]):
            if was.get(name) != now.get(name):
                gone = " (gone)" if name not in now else " (new)" if name not in was else ""
                yield (name or "its content") + gone


class Graders:
    """The graders of a session's tests, each worked out once.

    Args:
        root: the folder that paths are told from.
        plugins: files of pytest's plugins, ``conftest.py`` among them.
        earlier: files read before.
    """

    def __init__(self, root: Path, plugins: Iterable[str] = (), earlier: Project | None = None) -> None:
        self._root = root
        self._project = Project(root, earlier)
        self._plugins = [Path(file) for file in plugins]
        self._known: dict[tuple[object, ...], Grader] = {}
        self._asked: dict[str, Callable[[Graders], Grader]] = {}
        self._late: dict[Path, tuple[int, int]] = {}
        self._loaded = Loaded()

    def of(
        self,
        task: Task,
        test: Callable[..., Any],
        *,
        path: Path,
        name: str,
        cls: type | None = None,
        given: Mapping[str, Any] | None = None,
        judges: Mapping[str, str] | None = None,
    ) -> Grader:
        """Return what grades the trials of a task.

        Args:
            task: with its parameters.
            test: the test function, decorated as it may be.
            path: of the file that it was collected from.
            name: its name there.
            cls: the class that it is a method of.
            given: the parameters that it takes itself, if others of them made the task: the values of other rows then
                grade nothing of this one.
            judges: who answers for each judge of the task.
        """
        told = None if given is None else {f"parameter {one}": _told(value) for one, value in given.items()}
        key = (type(task), task.digest(), path, cls, name, repr(told), *(judges or {}).items())
        if key not in self._known:
            named = list(_named(task, inspect.unwrap(test), *(cls.__mro__ if cls else ())))
            full_name = f"{cls.__name__}.{name}" if cls else name
            grader = self._worked_out(task, named, path=path, name=full_name, given=told)
            asked = {f"judge {judge}": model for judge, model in (judges or {}).items()}
            asked |= {"words of RubricJudge": WORDING} if asked else {}
            grader = dataclasses.replace(grader, fields=grader.fields | asked)
            self._known[key] = grader
            loaded = self._loaded.files
            self._late |= {path: state for path, state in self._project.states.items() if str(path) not in loaded}
            where: dict[str, Any] = {"path": path, "name": name, "cls": cls, "given": given, "judges": judges}
            self._asked[grader.digest] = lambda others: others.of(task, test, **where)
        return self._known[key]

    def now(self, digest: str) -> Grader | None:
        """Return what has become of a grader since files changed that are read late; None if none did.

        Those are scripts, data, and modules that are imported within a function.
        """
        if digest not in self._asked or not self._has_late_change():
            return None
        grader = self._asked[digest](Graders(self._root, map(str, self._plugins), self._project))
        return grader if grader.digest != digest else None

    def _has_late_change(self) -> bool:
        if not self._late:
            return False
        loaded = self._loaded.files
        for path, state in list(self._late.items()):
            if state_of(path) != state:
                return True
            if str(path) in loaded:
                del self._late[path]  # what it says now is what runs, whatever becomes of the file
        return False

    @property
    def by_digest(self) -> dict[str, Grader]:
        """All graders that were asked for."""
        return {grader.digest: grader for grader in self._known.values()}

    def _worked_out(
        self, task: Task, named: list[Any], *, path: Path, name: str, given: dict[str, str] | None
    ) -> Grader:
        homes = [(Path(file), one) for one in named if (file := _file(one))]
        files = list(dict.fromkeys([path, *(file for file, _ in homes)]))
        known = self._project.closure([*files, *self._plugins_of(path)])
        parts = _reached(known, {name.partition(".")[0], *(_owner(one) for one in named)})
        parts = {
            file: with_values(own, "" if given is None or file != path.resolve() else name)
            for file, own in parts.items()
        }
        told = _fields_told_elsewhere(task)
        kept = {
            self._project.named(file): {n: part for n, part in own.items() if n not in told}
            for file, own in sorted(parts.items())
        }
        kept = {file: own for file, own in kept.items() if own}
        test = f"{self._project.named(path.resolve())}: {name}"
        sourced = {one for file, one in homes if _defines(self._project.read(file.resolve()), _owner(one))}
        sourceless: dict[str, dict[str, str]] = {}
        for one in named:
            if one not in sourced:
                sourceless.setdefault(f"{_NO_SOURCE} {one.__module__}", {}).update(_compiled(one))
        foreign = {f"package {name}": {"": digest} for name, digest in self._packages(files)}
        shapes = {
            file: found
            for file, own in kept.items()
            if (found := {n: (part.shape, list(part.thresholds)) for n, part in own.items() if part.shape})
        }
        return Grader(
            task=f"{type(task).__module__}.{type(task).__qualname__}",
            fields={f.name: _told(getattr(task, f.name)) for f in dataclasses.fields(task)} | (given or {}),
            files={
                **{file: {name: own[name].digest for name in sorted(own)} for file, own in kept.items()},
                **dict(sorted(sourceless.items())),
                **dict(sorted(foreign.items())),
                **dict(sorted(self._named_sources(task))),
            },
            shapes=shapes,
            threshold_fields=sorted(_threshold_fields(task, kept, test)),
            test=test,
        )

    def _plugins_of(self, path: Path) -> Iterator[Path]:
        """Yield the plugins whose fixtures and hooks a test gets: of each ``conftest.py``, those of its folders."""
        folders = path.resolve().parents
        for file in self._plugins:
            if file.name != "conftest.py" or file.resolve().parent in folders:
                yield file

    def _packages(self, files: Iterable[Path]) -> Iterator[tuple[str, str]]:
        """Yield what the installed packages hold that a task's own classes come from."""
        for file in files:
            real = file.resolve()
            store = next((n for n, part in enumerate(real.parts) if part in ("site-packages", "dist-packages")), None)
            if store is not None and store + 1 < len(real.parts):
                name = real.parts[store + 1].removesuffix(".py")
                if name != "pytest_rltask":
                    yield name, self._project.package(name)

    def _named_sources(self, task: Task) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield what the task names in ``sources``: files by their digests, packages by that of all they hold."""
        for pattern in _checked_sources(task):
            home = _file(type(task))
            folder = Path(home).parent if home else Path()
            found = sorted(path for path in folder.glob(pattern)) if not Path(pattern).is_absolute() else []
            found = found or ([Path(pattern)] if Path(pattern).exists() else [])
            files = [file for path in found for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
            files = [file for file in files if file.is_file() and "__pycache__" not in file.parts]
            for file in files:
                source = self._project.read(file.resolve())
                parts = source.parts if source else {}
                yield self._project.named(file.resolve()), {name: part.digest for name, part in parts.items()}
            if not files:
                digest = self._project.package(pattern) if pattern.isidentifier() else ""
                if not digest:
                    raise DefinitionError(
                        f"{type(task).__name__}.sources names {pattern!r}, which is no file beside its module and no "
                        'package; write sources = ("data/labels.csv", "scripts/*.py", "my_package")'
                    )
                yield f"package {pattern}", {"": digest}


def _checked_sources(task: Task) -> tuple[str, ...]:
    named = task.sources
    if isinstance(named, str) or not all(isinstance(one, str) and one for one in named):
        raise DefinitionError(
            f"{type(task).__name__}.sources is {named!r}; write a tuple of paths, patterns or packages: "
            'sources = ("data/labels.csv",)'
        )
    return tuple(named)


def _named(task: Task, *others: Any) -> Iterator[Any]:
    """Yield the classes and functions from which all that grades is reached."""
    kinds: list[Any] = [*others, *type(task).__mro__]
    for value in values_in(getattr(task, f.name) for f in dataclasses.fields(task)):
        if isinstance(value, type):
            kinds += value.__mro__
        else:
            value = inspect.unwrap(value) if callable(value) else value
            kinds += [value] if isinstance(value, types.FunctionType) else type(value).__mro__
    for kind in dict.fromkeys(kinds):
        top = kind.__module__.partition(".")[0]
        # A project may have a module that is called like one of the interpreter's, such as `test`.
        if top != "pytest_rltask" and not (top in sys.stdlib_module_names and is_library(_file(kind))):
            yield kind


def _file(named: Any) -> str:
    """Return the file that says it defines a class or function; empty if none does."""
    code = getattr(named, "__code__", None)
    file = code.co_filename if code else getattr(sys.modules.get(named.__module__), "__file__", None)
    return file if file and Path(file).is_file() else ""


def _owner(named: Any) -> str:
    return str(named.__qualname__).partition(".")[0]


def _defines(source: Source | None, owner: str) -> bool:
    """Say whether a file holds a definition; it does not hold what was made by ``exec``."""
    return source is not None and (owner == "<lambda>" or any(_of(part) == owner for part in source.parts.values()))


def _of(part: Part) -> str:
    return part.name.partition(".")[0]


def _reached(files: Mapping[Path, Source], names: Iterable[str]) -> dict[Path, dict[str, Part]]:
    """Return the parts that count, by file: what runs on import, what the names name, and what any of them mentions."""
    if any(source.reaches_any_name for source in files.values()):
        return {path: dict(source.parts) for path, source in files.items()}
    owners: dict[str, list[tuple[Path, Part]]] = {}
    for path, source in files.items():
        for part in source.parts.values():
            owners.setdefault(_of(part), []).append((path, part))
    waiting = [*names, *(owner for owner, own in owners.items() if any(part.always for _, part in own))]
    counted: set[str] = set()
    found: dict[Path, dict[str, Part]] = {path: {} for path in files}
    while waiting:
        owner = waiting.pop()
        if owner in counted:
            continue
        counted.add(owner)
        for path, part in owners.get(owner, ()):
            found[path][part.name] = part
            waiting += part.mentions
    return found


def _threshold_fields(task: Task, kept: Mapping[str, Mapping[str, Part]], test: str) -> Iterator[str]:
    """Yield the fields that hold a number, and are read for the threshold of a grade, for prompt and test alone."""
    parts = [part for file, own in kept.items() for part in own.values() if f"{file}: {part.name}" != test]
    grading = [part for part in parts if part.name.rpartition(".")[2] not in ("prompt", "thresholds")]
    for one in dataclasses.fields(task):
        value = getattr(task, one.name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_read = any(one.name in part.threshold_names for part in grading)
        if is_number and is_read and not any(one.name in part.other_mentions for part in grading):
            yield one.name


def _fields_told_elsewhere(task: Task) -> set[str]:
    """Return the parts that hold defaults of the task's fields, whose values count, and what grades nothing."""
    fields = {f.name for f in dataclasses.fields(task)} | {"band"}
    return {f"{kind.__qualname__}.{name}" for kind in type(task).__mro__ for name in fields}


def _compiled(named: Any) -> dict[str, str]:
    """Return digests of byte code, of a class or function without a source."""
    own = vars(named).values() if isinstance(named, type) else [named]
    functions = [getattr(one, "fget", None) or getattr(one, "__func__", None) or one for one in own]
    functions = [one for one in functions if hasattr(one, "__code__")] or [named]
    return {one.__qualname__: digest_of(_code_text(getattr(one, "__code__", None))) for one in functions}


def _code_text(code: types.CodeType | None) -> str:
    if code is None:
        return ""
    inner = [_code_text(one) if isinstance(one, types.CodeType) else repr(one) for one in code.co_consts]
    return repr((code.co_code, code.co_names, inner))


def _told(value: object) -> str:
    text = content_text(value)
    return text if value is None or isinstance(value, bool | int | float) else f"content {digest_of(text)}"
