"""Images made of this machine's programs, as tar archives for ``docker import``: none can be pulled where tests run.

Each has a program that nothing else has. One has a shell and no Python; one has a Python of its own, at a path that
this machine has not, with a package that only it has.
"""

from __future__ import annotations

import functools
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

PROGRAMS = ("sh", "bash", "env", "cat", "ls", "id", "touch", "mkdir", "sleep", "tr", "head", "kill", "ln")
ONLY_HERE = "/opt/tool/only-here"
PYTHON = "/opt/python/bin/python3"
_NEEDED = "import __future__, ctypes, encodings.ascii, encodings.latin_1, fcntl, importlib.machinery, itertools, json\n"
_NEEDED += "import builtins, operator, resource, runpy, select, site, socket, sqlite3, subprocess, traceback, typing"
"""What of its standard library the image has."""
_TELL = "import sys\nfor n, m in [*sys.modules.items()]: print(n, getattr(m, '__file__', ''))"
_SHARED = re.compile(r"(/\S+) \(0x")


class Files:
    """A tar archive in the making."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._bytes, mode="w")  # noqa: SIM115
        self._known: set[str] = set()

    def put(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """Add a file, unless it is there, with the folders above it."""
        if path in self._known:
            return
        self._known.add(path)
        for folder in list(map(str, Path(path).parents))[-2::-1]:
            self.folder(folder)
        entry = tarfile.TarInfo(path.lstrip("/"))
        entry.mode, entry.size = mode, len(content)
        self._tar.addfile(entry, io.BytesIO(content))

    def folder(self, path: str, mode: int = 0o755) -> None:
        if path not in self._known:
            self._known.add(path)
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            self._tar.addfile(entry)

    def copy(self, source: Path, path: str) -> None:
        self.put(path, source.read_bytes(), 0o755 if os.access(source, os.X_OK) else 0o644)

    def copy_libraries(self, programs: Iterable[Path]) -> None:
        told = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
        for library in sorted(set(_SHARED.findall(told))):
            self.copy(Path(library), library)

    def content(self) -> bytes:
        self._tar.close()
        return self._bytes.getvalue()


def _shell(said: str) -> Files:
    files = Files()
    found = [Path(path) for name in PROGRAMS if (path := shutil.which(name))]
    for program in found:
        files.copy(program, f"/usr/bin/{program.name}")
    files.copy_libraries(found)
    files.put(ONLY_HERE, f"#!/usr/bin/sh\necho {said}\n".encode(), 0o755)
    files.put("/etc/passwd", b"root:x:0:0::/root:/bin/sh\npostgres:x:70:70::/var/lib:/bin/sh\n")
    files.folder("/data", 0o1777)
    files.put("/data/given", b"from the image\n")
    return files


@functools.cache
def with_shell(said: str = "only here") -> bytes:
    """Return an image without a Python; what its own program says makes it another one."""
    return _shell(said).content()


@functools.cache
def with_python() -> bytes:
    """Return an image with a Python."""
    files = _shell("only here")
    files.copy(Path(os.path.realpath(sys.executable)), PYTHON)
    told = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"{_NEEDED}\n{_TELL}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    standard = Path(os.__file__).parent
    named = [line.partition(" ")[::2] for line in told.stdout.splitlines()]
    modules = [Path(path) for _, path in named if path.startswith(f"{standard}/")]
    # One that puts another in its place, as collections.abc of Python 3.13 does, is imported all the same.
    places = (standard / f"{name.replace('.', '/')}.py" for name, _ in named)
    modules += [path for path in places if path.is_file()]
    home = f"/opt/python/{sys.platlibdir}/{standard.name}"
    for path in (standard / "os.py", *modules):
        files.copy(path, f"{home}/{path.relative_to(standard)}")
    files.put(f"{home}/site-packages/only_here.py", b"NAME = 'a package of the image'\n")
    files.copy_libraries([Path(os.path.realpath(sys.executable)), *(path for path in modules if path.suffix == ".so")])
    return files.content()


def without_shell() -> bytes:
    """Return an image without any program."""
    files = Files()
    files.put("/main.txt", b"no program\n")
    return files.content()
