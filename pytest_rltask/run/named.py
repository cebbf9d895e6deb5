"""Finds the run directory that a person names: by its path, as the last one, or by a part of its name."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.load import load_header

__all__ = ["LAST", "find_run", "runs_in"]

LAST = "last"
"""What names the run that was begun last."""
_TOLD = 5


def find_run(wanted: str, log_dir: Path, cwd: Path) -> Path:
    """Return the directory of a run.

    Args:
        wanted: a path, ``last``, or a part of the name of one run in `log_dir`.
        log_dir: where the runs are.
        cwd: what paths are relative to.

    Raises:
        RunLogError: the last one is wanted and there is none, or several have a name with that part.
    """
    if wanted == LAST:
        found = runs_in(log_dir)
        if not found:
            raise RunLogError(f"{log_dir} holds no run directory")
        return found[-1]
    path = cwd / Path(wanted).expanduser()
    if path.exists():
        return path
    named = [run for run in runs_in(log_dir) if wanted in run.name]
    exact = [run for run in named if run.name == wanted] or named
    if len(exact) > 1:
        some = ", ".join(run.name for run in exact[-_TOLD:])
        raise RunLogError(f"{len(exact)} runs of {log_dir} have it in their name, the last ones are {some}")
    return exact[0] if exact else path


def runs_in(log_dir: Path) -> list[Path]:
    """Return the run directories of a log directory in the order of their beginning.

    One that cannot be read has its place by when it was written, one of a later version comes last: whoever asks for
    the last one is told of it, and not given an older one instead.
    """
    found = []
    for path in log_dir.glob("run_*"):
        try:
            created = str(load_header(path).get("created", ""))
        except RunLogError as error:
            if not os.path.lexists(path / "run.json"):
                continue
            created = "~" if "later version" in str(error) else _written(path)
        found.append((created, len(path.name), path.name, path))
    return [path for *_, path in sorted(found)]


def _written(path: Path) -> str:
    """Return when a run directory was made or last added to, as headers tell it."""
    return datetime.fromtimestamp(path.lstat().st_mtime, UTC).isoformat(timespec="seconds")
