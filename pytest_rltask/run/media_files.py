"""Images and documents of conversations on disk: ``media/``, a file for each content, however many trials show it.

Names are digests, so that no name of an agent's reaches the disk, and who reads one knows whether it is what was shown.
Nothing is written through a link, or read from anywhere else.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytest_rltask.media.attached import FOLDER
from pytest_rltask.run.record import Record

__all__ = ["load_media", "store_media"]

_NAME = re.compile(rf"{FOLDER}/[0-9a-f]{{32}}\.[a-z]{{3,4}}")


def store_media(run_dir: Path, record: Record) -> None:
    """Write what a trial showed to disk, what is not there yet.

    Raises:
        OSError: it cannot be written.
    """
    folder = run_dir / FOLDER
    for name, content in list(record.media.items()):
        if not _NAME.fullmatch(name) or _size(run_dir / name) == len(content):
            continue
        folder.mkdir(exist_ok=True)
        if folder.is_symlink():
            raise NotADirectoryError(f"{folder} is a link")
        handle, draft = tempfile.mkstemp(prefix=".draft-", dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(draft, 0o644)
        os.replace(draft, run_dir / name)


def _size(path: Path) -> int:
    """Return the size of a file; -1 if it is none, or a link."""
    try:
        found = path.lstat()
    except OSError:
        return -1
    return found.st_size if stat.S_ISREG(found.st_mode) else -1


def load_media(run_dir: Path, block: Mapping[str, Any]) -> bytes | None:
    """Return what a block refers to; None if it is not there, or is something else by now.

    Args:
        run_dir: the run directory, which somebody else may have written.
        block: of a message.
    """
    name, size = str(block.get("file", "")), block.get("bytes")
    path = run_dir / name
    if not _NAME.fullmatch(name) or path.parent.is_symlink() or _size(path) != size:
        return None
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return content if hashlib.sha256(content).hexdigest() == block.get("sha256") else None
