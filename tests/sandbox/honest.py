"""What honest programs do in a sandbox, compared with what they do in a bare process: the same, or a named difference.

A program is a script as a strong model would write it. It runs once as ``python script.py`` in an empty folder, and in
a sandbox of each backend, cold and forked from a preloaded interpreter. Exit code, output and files must agree; where
they do not, the table names the difference, docs/security.md states it under that name, and the run says it in words.

``python -m tests.sandbox.honest`` plays the whole table and prints it (``make honest``); the suite some in one.
"""

from __future__ import annotations

import argparse
import base64
import functools
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent
from typing import Any

from pytest_rltask.sandbox import Sandbox, SandboxError, SandboxLimits, resolve_backend
from pytest_rltask.sandbox.watcher import removal

__all__ = ["DIFFERENCES", "Column", "Program", "check", "columns", "played"]

MB = 2**20
LIMITS = SandboxLimits(wall_s=240, output_bytes=4 * MB, memory_bytes=6 * 2**30, disk_bytes=2**30)
PRELOAD = ("numpy", "pandas", "sklearn", "torch")
MODES = ("cold", "preloaded")
BACKENDS = ("bwrap", "landlock", "docker", "none")
IS_ROOT = os.geteuid() == 0

DIFFERENCES = {
    "no network": "address family|not supported|refused|not permitted",
    "no servers under landlock": "no sockets but connected pairs",
    "closed /tmp under landlock": "/tmp and /dev/shm are closed",
    "no /proc of others under landlock": "cannot read its own /proc/self",
    "modes and times under landlock": "",
}
"""The differences there may be: what a run that meets one says in words; nothing where nobody could notice."""


@dataclass(frozen=True)
class Program:
    """An honest program."""

    code: str
    needs: tuple[str, ...] = ()
    """Modules without which it is left out."""
    files: Mapping[str, str] = field(default_factory=dict)
    """What lies beside it."""
    differs: Mapping[str, Callable[[Column], bool]] = field(default_factory=dict)
    """The differences that it meets, each with the columns in which it does."""
    same_files: bool = True
    """Whether the files that it leaves have the same content each time."""

    @property
    def missing(self) -> list[str]:
        """The modules that it needs and that are not installed."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]


@dataclass(frozen=True)
class Column:
    """How a program is run."""

    backend: str
    mode: str

    def __str__(self) -> str:
        return f"{self.backend} {self.mode} {'root' if IS_ROOT else 'user'}"


@dataclass
class Cell:
    """What is wrong with a program in a column."""

    wrong: str
    again: str = ""
    """What was still wrong when it was played once more."""

    @property
    def mark(self) -> str:
        """What to call it: nothing if all is as it should be."""
        return "WRONG" if self.again else "UNSTEADY" if self.wrong else ""


@dataclass(frozen=True)
class Deed:
    """What a program did."""

    exit_code: int | None
    stdout: str
    stderr: str
    files: Mapping[str, bytes]
    summary: str = ""


def under(*backends: str, as_user: bool = False) -> Callable[[Column], bool]:
    """Return whether a column is of these backends, and if it matters, not of root."""
    return lambda column: column.backend in backends and not (as_user and IS_ROOT)


def check(program: Program, column: Column, bare: Deed, sandboxed: Deed) -> str:
    """Return what differs without being named, or is named and does not differ; empty if all is as it should be."""
    expected = [name for name, where in program.differs.items() if where(column)]
    found = list(_different(program, bare, sandboxed))
    if not expected:
        return "; ".join(found)
    if not found:
        return f"no longer differs by: {', '.join(expected)}"
    said = f"{sandboxed.stdout}\n{sandboxed.stderr}\n{sandboxed.summary}"
    unsaid = [name for name in expected if not re.search(DIFFERENCES[name], said, re.IGNORECASE)]
    return f"differs ({'; '.join(found)}) and does not say in words: {', '.join(unsaid)}" if unsaid else ""


def _different(program: Program, bare: Deed, sandboxed: Deed) -> Iterator[str]:
    if bare.exit_code != sandboxed.exit_code:
        how = f"exit code {sandboxed.exit_code} instead of {bare.exit_code} ({sandboxed.summary})"
        yield f"{how}: {sandboxed.stderr[-800:]}"
    for name in ("stdout", "stderr"):
        was, now = getattr(bare, name), getattr(sandboxed, name)
        if was != now:
            yield f"{name} {now[-600:]!r} instead of {was[-600:]!r}"
    if bare.files.keys() != sandboxed.files.keys():
        yield f"files {sorted(sandboxed.files)} instead of {sorted(bare.files)}"
    elif program.same_files:
        others = [name for name, content in bare.files.items() if content != sandboxed.files[name]]
        if others:
            yield f"other content of {', '.join(others)}"


def _heed_signals() -> None:
    """Heed what is ignored below ``nohup`` or in the background of a shell, and would be in what is started there."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


def run_bare(program: Program) -> Deed:
    """Run a program as a process like any other."""
    with tempfile.TemporaryDirectory(prefix="honest-") as name:
        work, home = Path(name, "work"), Path(name, "tmp")
        for folder in (work, home):
            folder.mkdir()
        for path, content in _sources(program).items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(content)
        ran = subprocess.run(
            [sys.executable, "script.py"],
            cwd=work,
            env=_environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMITS.wall_s,
            check=False,
            preexec_fn=_heed_signals,
        )
        told = (_normal(stream.decode("utf-8", "replace"), work, home) for stream in (ran.stdout, ran.stderr))
        return Deed(ran.returncode, *told, _files(work))


class Played:
    """A sandbox of one column, in which programs run one after the other."""

    def __init__(self, column: Column) -> None:
        self._sandbox = Sandbox(
            LIMITS, backend=column.backend, preload=_preload() if column.mode == "preloaded" else ()
        )
        self._lock = threading.Lock()

    def __enter__(self) -> Played:
        return self

    def __exit__(self, *exception: object) -> None:
        self._sandbox.close()

    def run(self, program: Program) -> Deed:
        """Run a program, and clear the sandbox."""
        with self._lock:
            for path, content in _sources(program).items():
                self._sandbox.write_file(path, content)
            result = self._sandbox.run_python("script.py")
            if os.environ.get("HONEST_SECONDS"):
                print(f"{result.wall_s:6.2f} s {program.code[:60]!r}", file=sys.stderr)
            work = self._sandbox.path
            told = (_normal(stream, work, work.with_name("tmp")) for stream in (result.stdout, result.stderr))
            deed = Deed(result.exit_code, *told, _files(work), result.summary)
            for folder in (work, work.with_name("tmp")):
                removal.remove_since(folder, {})
            return deed


def played(column: Column) -> Played:
    """Return a sandbox for the programs of a column."""
    return Played(column)


def columns(backends: Sequence[str] = BACKENDS, modes: Sequence[str] = MODES) -> Iterator[Column]:
    """Yield the columns that can be played here."""
    for backend in backends:
        try:
            resolve_backend(backend)
        except SandboxError:
            continue
        yield from (Column(backend, mode) for mode in modes)


@functools.cache
def _preload() -> tuple[str, ...]:
    return tuple(name for name in PRELOAD if importlib.util.find_spec(name))


def _sources(program: Program) -> dict[str, str]:
    return {
        "script.py": dedent(program.code).lstrip(),
        **{n: dedent(text).lstrip() for n, text in program.files.items()},
    }


def _environment(home: Path) -> dict[str, str]:
    """Return what a sandbox gives its programs, as far as they can tell."""
    from pytest_rltask.sandbox.backends.view import view_of_python
    from pytest_rltask.sandbox.environment import environment

    return environment(home, view_of_python(), {})


def _files(work: Path) -> dict[str, bytes]:
    found = {}
    for path in sorted(work.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            found[path.relative_to(work).as_posix()] = path.read_bytes()
    return found


def _normal(text: str, work: Path, home: Path) -> str:
    """Return text without what says where and when it was written."""
    for path, name in ((work, "<work>"), (home, "<tmp>")):
        text = text.replace(str(path), name)
    return text


def main() -> int:
    """Play the table, and print it."""
    from tests.sandbox.honest_programs import PROGRAMS

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--modes", default=",".join(MODES))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--bare", type=Path, help="a file of what programs do outside: read, if it is there, or written"
    )
    parser.add_argument("programs", nargs="*", default=[])
    told = parser.parse_args()
    started = time.monotonic()
    programs = {n: p for n, p in PROGRAMS.items() if not told.programs or n in told.programs}
    left_out = {name: program.missing for name, program in programs.items() if program.missing}
    programs = {name: program for name, program in programs.items() if name not in left_out}
    columns_here = list(columns(told.backends.split(","), told.modes.split(",")))
    with ThreadPoolExecutor(told.jobs) as pool:
        bare = _outside(programs, pool, told.bare)
        # Each column in as many parts as are played at once: one that takes longer than others would be waited for.
        parts = [(column, part) for column in columns_here for part in range(told.jobs)]
        names = list(programs)
        results = pool.map(lambda it: _column(it[0], {n: programs[n] for n in names[it[1] :: told.jobs]}, bare), parts)
        cells: dict[Column, dict[str, Cell]] = {column: {} for column in columns_here}
        for (column, _), result in zip(parts, results, strict=True):
            cells[column] |= result
    wrong = _print(programs, cells, left_out)
    print(f"{time.monotonic() - started:.0f} s")
    return wrong


def _outside(programs: Mapping[str, Program], pool: ThreadPoolExecutor, kept: Path | None) -> dict[str, Deed]:
    """Return what programs do outside: what the file holds of them, as they are now; the rest is played and kept."""
    told = json.loads(kept.read_text()) if kept and kept.exists() else {}
    known = {
        name: deed for name, (sources, deed) in told.items() if name in programs and sources == _sources(programs[name])
    }
    new = {name: program for name, program in programs.items() if name not in known}
    bare = {name: _read(deed) for name, deed in known.items()}
    bare |= zip(new, pool.map(run_bare, new.values()), strict=True)
    if kept and new:
        kept.write_text(json.dumps({name: [_sources(programs[name]), _written(deed)] for name, deed in bare.items()}))
    return bare


def _written(deed: Deed) -> dict[str, object]:
    return {**vars(deed), "files": {name: base64.b64encode(data).decode() for name, data in deed.files.items()}}


def _read(told: Mapping[str, Any]) -> Deed:
    return Deed(**{**told, "files": {name: base64.b64decode(data) for name, data in told["files"].items()}})


def _column(column: Column, programs: Mapping[str, Program], bare: Mapping[str, Deed]) -> dict[str, Cell]:
    """Play a column; what is wrong in it once more, outside as well, since a program may depend on how busy it is."""
    cells = {}
    with played(column) as sandbox:
        for name, program in programs.items():
            cells[name] = cell = Cell(check(program, column, bare[name], sandbox.run(program)))
            if cell.wrong:
                cell.again = check(program, column, run_bare(program), sandbox.run(program))
    return cells


def _print(
    programs: Mapping[str, Program], cells: Mapping[Column, Mapping[str, Cell]], left_out: Mapping[str, Sequence[str]]
) -> int:
    """Print a line a program, and the differences, named and not; return how many cells are wrong, as an exit code."""
    width = max(map(len, programs))
    print("columns:", *cells, sep="\n  ")
    for name, program in programs.items():
        marks = []
        for column, results in cells.items():
            named = any(where(column) for where in program.differs.values())
            marks.append(results[name].mark or ("named" if named else "same"))
        print(f"{name:{width}}  {'  '.join(f'{mark:5}' for mark in marks)}  {', '.join(program.differs)}")
    marked = [(name, column, cell) for column, results in cells.items() for name, cell in results.items() if cell.mark]
    for name, column, cell in marked:
        print(f"\n{cell.mark} {name} [{column}]: {cell.wrong}")
    wrong = [cell for _, _, cell in marked if cell.again]
    for name, missing in left_out.items():
        print(f"left out: {name}, which needs {', '.join(missing)}")
    cells_played = len(programs) * len(cells)
    print(f"{cells_played - len(wrong)} passed, {len(wrong)} failed")
    return 1 if wrong or not cells_played else 0


if __name__ == "__main__":
    sys.exit(main())
