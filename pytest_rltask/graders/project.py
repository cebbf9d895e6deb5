"""Which files of a project a file reaches: what it imports, wherever in it, and the scripts that it names.

Nothing is imported or run to find out. The interpreter's own library, installed packages and this plugin are no part of
a project: their versions stand in ``run.json``. Where it cannot be told what is imported, all files beside are taken,
unread if they are many.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from pytest_rltask.graders.sources import Import, Source, digest_of, read_source
from pytest_rltask.graders.unread import read_whole

__all__ = ["Project", "is_library", "state_of"]

_PACKAGES = {"site-packages", "dist-packages"}
MOST_READ = 200
"""Files of a folder that are read though only some may be imported; of more, all are known by their bytes."""
_OURS = Path(__file__).resolve().parents[1]


class Project:
    """The files of a suite, each read once.

    Args:
        root: the folder that paths are told from.
        earlier: the same, read before: files that have not changed since are not read again.
    """

    def __init__(self, root: Path, earlier: Project | None = None) -> None:
        self._root = root
        self._earlier = earlier
        self._read: dict[tuple[Path, bool], Source] = {}
        self._reach: dict[int, tuple[Path, ...]] = {}
        self._real: dict[Path, Path | None] = {}
        self.states: dict[Path, tuple[int, int]] = {}
        """Of each file that was read: when it was written, and its size."""
        self._libraries = _libraries()
        self.places = lru_cache(maxsize=None)(_places)
        self.below = lru_cache(maxsize=None)(lambda folder: tuple(_below(folder)))

    def closure(self, files: Iterable[Path]) -> dict[Path, Source]:
        """Return what files say, and all that they reach; files that cannot be read are left out."""
        found: dict[Path, Source] = {}
        folders: set[Path] = set()
        beside: list[Path] = []
        waiting = list(self._own(files))
        while waiting or beside:
            is_whole = not waiting  # what is reached otherwise goes first
            path = beside.pop() if is_whole else waiting.pop()
            if path in found or (source := self.read(path, is_whole=is_whole)) is None:
                continue
            found[path] = source
            (beside if is_whole else waiting).extend(self._reached(path, source))
            if source.runs_any_file and (folder := _top_folder(path)) not in folders:
                folders.add(folder)
                others = self.below(folder)
                (beside if is_whole or len(others) > MOST_READ else waiting).extend(self._own(others))
        return found

    def _reached(self, path: Path, source: Source) -> tuple[Path, ...]:
        """Return the files of the project that a file reaches by name."""
        if id(source) not in self._reach:
            reached = (*self._imported(path, source), *self._scripts(path, source))
            self._reach[id(source)] = tuple(dict.fromkeys(self._own(reached)))
        return self._reach[id(source)]

    def read(self, path: Path, *, is_whole: bool = False) -> Source | None:
        """Return what a file says; None if it cannot be read.

        Args:
            path: of the file.
            is_whole: whether its text is enough, and not looked into.
        """
        if (path, is_whole) not in self._read:
            self.states[path] = state = state_of(path)
            earlier = self._earlier
            if earlier is not None and earlier.states.get(path) == state and (path, is_whole) in earlier._read:
                self._read[path, is_whole] = earlier._read[path, is_whole]
                return self._read[path, is_whole]
            try:
                self._read[path, is_whole] = read_whole(path) if is_whole else read_source(path)
            except OSError:
                return None
        return self._read[path, is_whole]

    def named(self, path: Path) -> str:
        """Return a file's path as it is told: the same wherever the project lies."""
        return Path(os.path.relpath(path, self._root.resolve())).as_posix()

    def is_foreign(self, path: Path) -> bool:
        """Say whether a file belongs to the interpreter, an installed package or this plugin."""
        if _PACKAGES.intersection(path.parts) or path.is_relative_to(_OURS):
            return True
        return any(path.is_relative_to(library) for library in self._libraries)

    def package(self, name: str) -> str:
        """Return a digest of all that an installed package or module holds; empty if there is none."""
        files: list[Path] = []
        for place in self.places(name):
            files += sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]
        lines = [f"{path.name} {digest_of(path.read_bytes())}" for path in files if path.suffix != ".pyc"]
        return digest_of("\n".join(lines)) if lines else ""

    def _own(self, files: Iterable[Path]) -> Iterator[Path]:
        """Yield the real paths of those files that are the project's."""
        for path in files:
            if path not in self._real:
                self._real[path] = self._found(path)
            if real := self._real[path]:
                yield real

    def _found(self, path: Path) -> Path | None:
        try:
            real = path.resolve()
        except (OSError, RuntimeError):
            return None
        return real if real.is_file() and not self.is_foreign(real) else None

    def _imported(self, file: Path, source: Source) -> Iterator[Path]:
        for one in source.imports:
            if one.level:
                folder = file.parents[one.level - 1] if one.level <= len(file.parents) else file.parent
                yield from _inside(folder, one.module.split(".") if one.module else [], one.names)
            else:
                yield from self._absolute(file, one)
        for folder in _packages_of(file):
            yield folder / "__init__.py"

    def _absolute(self, file: Path, one: Import) -> Iterator[Path]:
        top, *rest = one.module.split(".")
        for place in dict.fromkeys([*self.places(top), *_module(file.parent, top)]):
            if place.is_dir():
                if not self.is_foreign(place):
                    yield from _inside(place, rest, one.names)
            else:
                yield place

    def _scripts(self, file: Path, source: Source) -> Iterator[Path]:
        """Yield the scripts that a file names, wherever below its folder they lie."""
        for name in sorted(source.scripts):
            if (file.parent / name).is_file():
                yield file.parent / name
            elif name != "__init__.py":
                last = name.rpartition("/")[2]
                yield from (path for path in self.below(file.parent) if path.name == last)


def state_of(path: Path) -> tuple[int, int]:
    """Return what tells a file's versions apart without reading it: when it was written, and its size."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0)
    return (stat.st_mtime_ns, stat.st_size)


def is_library(file: str) -> bool:
    """Say whether a file belongs to the interpreter's own library, as does what has none."""
    return not file or any(Path(file).resolve().is_relative_to(library) for library in _libraries())


def _libraries() -> set[Path]:
    paths = sysconfig.get_paths()
    return {Path(paths[name]).resolve() for name in ("stdlib", "platstdlib")}


def _places(top: str) -> tuple[Path, ...]:
    """Return where a top-level module lies: its file, or the folders of a package. It is not imported for that."""
    try:
        spec = importlib.util.find_spec(top) if top and top not in sys.builtin_module_names else None
    except (ImportError, ValueError, AttributeError):
        spec = None
        file = getattr(sys.modules.get(top), "__file__", None)
        if file:
            return (Path(file),)
    if spec is None:
        return ()
    if spec.submodule_search_locations is not None:
        return tuple(Path(folder) for folder in spec.submodule_search_locations)
    return (Path(spec.origin),) if spec.origin and os.path.isabs(spec.origin) else ()


def _module(folder: Path, name: str) -> Iterator[Path]:
    """Yield where a module lies in a folder: as a file, as a package, or both."""
    if not name:
        return
    if (file := folder / f"{name}.py").is_file():
        yield file
    if (folder / name).is_dir():
        yield folder / name
    else:
        yield from folder.glob(f"{name}.*.so")


def _inside(folder: Path, dotted: list[str], names: Iterable[str]) -> Iterator[Path]:
    """Yield the files that an import from a package runs: that of each package on the way, and each module named."""
    yield folder / "__init__.py"
    if not dotted:
        for name in names:
            for place in _module(folder, name):
                yield place / "__init__.py" if place.is_dir() else place
        return
    for place in _module(folder, dotted[0]):
        if place.is_dir():
            yield from _inside(place, dotted[1:], names)
        else:
            yield place


def _packages_of(file: Path) -> Iterator[Path]:
    """Yield the folders of the packages that a file is part of, from the inside."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        yield folder
        folder = folder.parent


def _top_folder(file: Path) -> Path:
    """Return the folder of the outermost package that a file is part of; that in which it lies, if of none."""
    return [file.parent, *_packages_of(file)][-1]


def _below(folder: Path) -> Iterator[Path]:
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".")
            and name not in {"__pycache__", "node_modules", *_PACKAGES}
            and not os.path.exists(os.path.join(here, name, "pyvenv.cfg"))
        )
        yield from (Path(here, name) for name in sorted(files) if name.endswith(".py"))
