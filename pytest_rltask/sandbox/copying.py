"""What an author's file or folder holds, to be copied into a sandbox.

The author is trusted, and mistaken now and then: a link that leads out of the folder would be copied as something else,
a pipe would block, a folder of data would fill the sandbox. Such is said before anything is copied.
"""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_rltask.sandbox.backends.imports import is_inside
from pytest_rltask.sandbox.result import SandboxLimits
from pytest_rltask.tools import DefinitionError

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


@dataclass(frozen=True)
class Copied:
    """A file, or a link, to be made in the sandbox."""

    name: str
    """Its path there, relative to the working directory."""
    source: Path
    target: str = ""
    """Of a link, where it leads."""
    size: int = 0
    executable: bool = False


def entries_of(path: str | os.PathLike[str], into: str, exclude: Sequence[str], limits: SandboxLimits) -> list[Copied]:
    """Return what is to be copied.

    Args:
        path: A file, or a folder with all it holds.
        into: Where it goes, relative to the working directory; empty for that itself.
        exclude: Patterns of names to leave out, as ``fnmatch`` has them.
        limits: What the sandbox may hold.

    Raises:
        DefinitionError: it does not exist, holds what cannot be copied, or too much.
    """
    top = Path(os.path.abspath(path))
    if top.is_dir():
        found = list(_below(top, into, exclude))
    elif top.is_file():
        found = [_file(top, f"{into}/{top.name}" if into else top.name, os.stat(top))]
    else:
        what = "is neither a file nor a folder" if top.exists() else "does not exist"
        raise DefinitionError(f"copy_in({os.fspath(path)!r}): {top} {what}; give the path of a file or a folder")
    _check(found, top, limits)
    return found


def _below(top: Path, into: str, exclude: Sequence[str]) -> Iterator[Copied]:
    for folder, folders, files in os.walk(top, onerror=_raise):
        wanted = [name for name in (*folders, *files) if not any(fnmatch.fnmatchcase(name, one) for one in exclude)]
        folders[:] = [name for name in folders if name in wanted and not os.path.islink(os.path.join(folder, name))]
        for name in sorted(set(wanted) - set(folders)):
            source = Path(folder, name)
            status = os.lstat(source)
            there = "/".join(part for part in (into, *source.relative_to(top).parts) if part)
            yield _link(source, top, there) if stat.S_ISLNK(status.st_mode) else _file(source, there, status)


def _raise(error: OSError) -> None:
    raise DefinitionError(f"copy_in: cannot read {error.filename}: {error.strerror}") from None


def _link(source: Path, top: Path, there: str) -> Copied:
    target = os.readlink(source)
    leads = os.path.normpath(os.path.join(source.parent, target))
    if os.path.isabs(target) or not is_inside(leads, str(top)):
        raise DefinitionError(
            f"copy_in: {source} is a link to {target}, outside of {top}, where the agent could not follow it; put the "
            "file itself there, or leave it out: exclude=[" + repr(source.name) + "]"
        )
    return Copied(there, source, target=target)


def _file(source: Path, there: str, status: os.stat_result) -> Copied:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no file")
        raise DefinitionError(f"copy_in: {source} is {kind}; leave it out: exclude=[{source.name!r}]")
    return Copied(there, source, size=status.st_size, executable=bool(status.st_mode & 0o100))


def _check(found: Sequence[Copied], top: Path, limits: SandboxLimits) -> None:
    most = max(found, key=lambda one: one.size, default=None)
    total = sum(one.size for one in found)
    if most and most.size > limits.file_bytes:
        raise DefinitionError(
            f"copy_in: {most.source} has {most.size} bytes; SandboxLimits(file_bytes=...) allows {limits.file_bytes}"
        )
    if total > limits.disk_bytes:
        raise DefinitionError(
            f"copy_in: {top} has {total} bytes; SandboxLimits(disk_bytes=...) allows {limits.disk_bytes}"
        )
    if len(found) > limits.disk_files:
        raise DefinitionError(
            f"copy_in: {top} has {len(found)} files; SandboxLimits(disk_files=...) allows {limits.disk_files}; leave "
            "some out: exclude=['.venv', 'node_modules']"
        )
