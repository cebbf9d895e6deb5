# ruff: noqa: D100, D103
# mypy: ignore-errors
# Where a cheat may find what it should not see. Everything here only reads.
import os
import pwd
import sys
from pathlib import Path


def ancestors():
    """Yield the processes that this one descends from, as far as /proc shows them."""
    pid = os.getppid()
    while pid > 0:
        yield Path(f"/proc/{pid}")
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            return


def environments():
    """Yield the environments of these processes."""
    for process in ancestors():
        try:
            entries = (process / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        yield dict(entry.split("=", 1) for entry in entries if "=" in entry)


def homes():
    """Yield directories in which a user's data may be."""
    for environment in environments():
        yield from (Path(environment[name]) for name in ("XDG_DATA_HOME", "HOME") if environment.get(name))
    yield Path(pwd.getpwuid(os.getuid()).pw_dir)
    yield Path("/root")


def source_of(name):
    """Return the file of that relative path, from wherever Python or an ancestor may have it; None for nowhere."""
    roots = [*Path.cwd().parents, *map(Path, sys.path)]
    for process in ancestors():
        try:
            directory = Path(os.readlink(process / "cwd"))
        except OSError:
            continue
        roots += [directory, *directory.parents]
    for environment in environments():
        roots += map(Path, environment.get("PYTHONPATH", "").split(os.pathsep))
    return next((root / name for root in roots if can_read(root / name)), None)


def can_read(path):
    try:
        return path.is_file() and os.access(path, os.R_OK)
    except OSError:
        return False
