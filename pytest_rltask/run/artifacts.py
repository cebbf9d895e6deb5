"""What graders read, kept beside the records: written before the trial's record is, and told apart by digests.

``artifacts/`` holds a folder for each trial, named like its transcript, and a file for each artifact. Its name may be
an agent's, so that on disk it is one that harms nobody; the record holds the true one, with size and digest.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pytest_rltask.run.planned import transcript_path
from pytest_rltask.run.record import Artifact, Record, clean_text

__all__ = ["MOST_BYTES", "MOST_FILES", "LostArtifact", "keep_artifacts", "load_artifacts"]

MOST_BYTES = 128 * 2**20
"""What all artifacts of one trial may have together."""
MOST_FILES = 200
"""How many artifacts one trial may have."""
SPARED_BYTES = 2**30
"""What keeping artifacts leaves free of a disk: records are dearer."""
_NAME_CHARS = 200
_MOST_TOLD = 20
"""How many that are not kept are named, each with its reason."""


class LostArtifact(Exception):
    """What was kept is not there as it was recorded; says which, and what became of it."""


def keep_artifacts(run_dir: Path, record: Record, contents: Mapping[str, bytes]) -> None:
    """Write artifacts of a trial to disk, and what is kept and what is not into its record.

    Args:
        run_dir: the run directory.
        record: of the trial, which is not on disk yet.
        contents: by name.
    """
    left = MOST_BYTES
    for name, content in contents.items():
        try:
            why = _refusal(run_dir, name, len(content), left, len(record.artifacts))
            path = run_dir if why else _write(run_dir, record, name, content)
        except OSError as error:
            why = f"it could not be written: {error.strerror}"
        if why:
            told = record.artifacts_left_out
            told[clean_text(name)[:_NAME_CHARS] if len(told) < _MOST_TOLD else "(more)"] = why
            continue
        left -= len(content)
        digest = hashlib.sha256(content).hexdigest()
        record.artifacts.append(Artifact(name, str(path.relative_to(run_dir)), len(content), digest))


def _refusal(run_dir: Path, name: str, size: int, left: int, kept: int) -> str:
    """Say why an artifact is not kept; empty if it is."""
    if not name or len(name) > _NAME_CHARS or name != clean_text(name):
        return f"its name is no text of 1 to {_NAME_CHARS} characters"
    if kept >= MOST_FILES:
        return f"{MOST_FILES} are kept at most"
    if size > left:
        return f"it has {size:,} bytes; {MOST_BYTES:,} are kept at most of all that a trial leaves"
    if size and shutil.disk_usage(run_dir).free - size < SPARED_BYTES:
        return f"less than {SPARED_BYTES:,} bytes of the disk would be left"
    return ""


def _write(run_dir: Path, record: Record, name: str, content: bytes) -> Path:
    folder = run_dir / "artifacts" / transcript_path(run_dir, record.task, record.trial_id).stem
    folder.mkdir(parents=True, exist_ok=True)
    flat = name.replace("/", "__")
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in flat).lstrip(".")
    if safe != flat or "__" in name or len(safe) > 100:
        safe = f"{safe[:90]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    taken = {Path(artifact.path).name.casefold() for artifact in record.artifacts}
    if safe.casefold() in taken:  # another name's digest, or a disk that knows no capitals
        safe = f"{len(record.artifacts):03d}-{safe}"
    handle, draft = tempfile.mkstemp(prefix=".draft-", dir=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.chmod(draft, 0o644)
    os.replace(draft, folder / safe)
    return folder / safe


def load_artifacts(run_dir: Path, record: Record) -> dict[str, bytes]:
    """Return the artifacts of a trial by their names, just as they were kept.

    Raises:
        LostArtifact: one is not there, or is another file by now.
    """
    found = {}
    home = (run_dir / "artifacts").resolve()
    for artifact in record.artifacts:
        path = (run_dir / artifact.path).resolve()
        if not path.is_relative_to(home) or not path.is_file():
            raise LostArtifact(f"{artifact.path} is not there")
        if path.stat().st_size != artifact.bytes:
            raise LostArtifact(f"{artifact.path} was changed")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != artifact.sha256:
            raise LostArtifact(f"{artifact.path} was changed")
        found[artifact.name] = content
    return found
