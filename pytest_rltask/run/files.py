"""The files of a run directory as files: created in one step, replaced in one step, read or refused with a reason."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

__all__ = [
    "RunLogError",
    "choose_run_dir",
    "created",
    "find_run_dir",
    "load_json",
    "odd_files",
    "sync_dir",
    "write_text",
    "write_whole",
]


class RunLogError(Exception):
    """A directory cannot be read as a run directory; the message says why."""


def choose_run_dir(log_dir: Path, now: datetime) -> Path:
    """Return a path for a new run directory that nothing occupies; creates nothing."""
    base = log_dir / f"run_{now:%Y%m%d_%H%M%S}"
    path, attempt = base, 1
    while path.exists():
        attempt += 1
        path = base.with_name(f"{base.name}_{attempt}")
    return path


def find_run_dir(path: Path, run_id: str) -> Path | None:
    """Return the directory of a run that chose this path, be it the path itself or a numbered one beside it."""
    candidate, attempt = path, 1
    while candidate.exists():
        if _header_id(candidate) == run_id:
            return candidate
        attempt += 1
        candidate = path.with_name(f"{path.name}_{attempt}")
    return None


def load_json(path: Path) -> Any:
    """Read a file of a run directory.

    Raises:
        RunLogError: it cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RunLogError(f"{path.parent} is not a run directory of pytest-rltask: it has no {path.name}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RunLogError(f"{path} cannot be read: {error}") from None


def created(path: Path, header: dict[str, Any]) -> Path:
    """Create the run directory with its header in one step, or join the one that a process of this run created."""
    _make_log_dir(path.parent)
    draft = Path(tempfile.mkdtemp(prefix=".run-", dir=path.parent))
    draft.chmod(0o755)
    write_whole(draft / "run.json", header)
    candidate, attempt = path, 1
    while True:
        try:
            draft.rename(candidate)  # fails on a directory that is not empty: only one process can win
            sync_dir(path.parent)
            return candidate
        except OSError:
            if not candidate.exists():
                raise
        if _header_id(candidate) == header["id"]:
            (draft / "run.json").unlink()
            draft.rmdir()
            return candidate
        attempt += 1
        candidate = path.with_name(f"{path.name}_{attempt}")


def _make_log_dir(path: Path) -> None:
    """Create the folder of the runs unless it is there; git overlooks what this creates, and nothing of anybody's."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # another process was faster
            path.mkdir()
            (path / ".gitignore").write_text("*\n", encoding="utf-8")


def _header_id(path: Path) -> object:
    try:
        return json.loads((path / "run.json").read_bytes()).get("id")
    except (OSError, ValueError, AttributeError):
        return None


def write_whole(path: Path, data: object) -> None:
    """Replace a file in one step, so that no reader ever sees half of it."""
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(data, file, indent=1, default=str)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(draft, 0o644)
    os.replace(draft, path)
    sync_dir(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace a text in one step, and whatever link stood in its place by a file."""
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise


def odd_files(folder: str, names: list[str]) -> list[str]:
    """Return what of a folder of a run is neither file nor folder, for :func:`shutil.copytree` to leave out."""
    paths = {name: Path(folder, name) for name in names}
    return [name for name, path in paths.items() if path.is_symlink() or not (path.is_file() or path.is_dir())]


def sync_dir(path: Path) -> None:
    """Make a new file's name durable, where the system can."""
    if os.name == "posix":
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
