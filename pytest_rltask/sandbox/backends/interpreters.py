"""The interpreter that runs in a sandbox: this process's, or that of a virtual environment which the author made."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from pytest_rltask.tools import DefinitionError

OLDEST = (3, 10)
"""What our programs inside the isolation need."""
_ASK = """
import json, sys, sysconfig
told = {"version": sys.version_info[:2], "import_path": [path for path in sys.path if path]}
told["prefixes"] = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
told["paths"] = list(sysconfig.get_paths().values())
print(); print(json.dumps(told))
"""
_ASK_S = 60.0
_REMEDY = 'make an environment by `uv venv tasks/env` or `python -m venv tasks/env`, and write python="tasks/env"'


@dataclass(frozen=True)
class Interpreter:
    """A Python, and where it finds its own."""

    executable: str
    """Its absolute path, which may be a link."""
    prefixes: frozenset[str]
    """The folders in which it, and what it was made from, are installed."""
    paths: frozenset[str]
    """Its own folders of modules and packages."""
    import_path: tuple[str, ...] = ()
    """Where it imports from, of another than this process's."""

    @property
    def is_ours(self) -> bool:
        """Whether it is this process's."""
        return not self.import_path


def ours() -> Interpreter:
    """Return the interpreter of this process, by the path by which it can be found inside."""
    prefixes = frozenset({sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix})
    return Interpreter(os.path.abspath(sys.executable), prefixes, frozenset(sysconfig.get_paths().values()))


def facts_of(path: str | os.PathLike[str]) -> Interpreter:
    """Return what is to be known of an interpreter.

    Args:
        path: It, or the virtual environment that it belongs to.

    Raises:
        DefinitionError: there is none, or one that is too old.
    """
    given = Path(os.path.abspath(path))
    python = given / "bin" / "python" if given.is_dir() else given
    if not given.exists():
        raise DefinitionError(f"Sandbox(python={os.fspath(path)!r}): {given} does not exist; {_REMEDY}")
    if not os.access(python, os.X_OK):
        what = "is a folder without bin/python" if given.is_dir() else "is no program"
        raise DefinitionError(f"Sandbox(python={os.fspath(path)!r}): {given} {what}; {_REMEDY}")
    return _facts(str(python), python.stat().st_mtime_ns)


@functools.lru_cache(maxsize=32)
def _facts(python: str, changed: int) -> Interpreter:
    """Ask it, without what the environment of this process would tell it."""
    try:
        answer = subprocess.run(
            [python, "-I", "-c", _ASK], cwd="/", env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=_ASK_S
        )
        told = json.loads(answer.stdout.splitlines()[-1])
        version, (prefix, *_) = tuple(told["version"]), told["prefixes"]
    except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError) as error:
        raise DefinitionError(
            f"Sandbox(python=...): {python} does not answer as a Python does ({type(error).__name__}); {_REMEDY}"
        ) from None
    if version < OLDEST:
        needed, got = (".".join(map(str, one)) for one in (OLDEST, version))
        raise DefinitionError(f"Sandbox(python=...): {python} is Python {got}; {needed} is the oldest that works")
    if os.path.realpath(prefix) == os.path.realpath(sys.prefix):
        return ours()
    return Interpreter(python, frozenset(told["prefixes"]), frozenset(told["paths"]), tuple(told["import_path"]))
