"""What else decides how a run goes: versions of everything installed, the machine, and the suite's commit."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["provenance"]


def provenance(root: Path) -> dict[str, Any]:
    """Return versions, platform and commit as JSON data.

    Args:
        root: a folder of the suite's repository.
    """
    from importlib.metadata import distributions

    versions = {dist.name: dist.version for dist in distributions() if dist.name}
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(sorted(versions.items(), key=lambda entry: entry[0].lower())),
        "git_commit": _git_commit(root),
    }


def _git_commit(root: Path) -> str | None:
    """Return the commit of the suite, with "+" if files differ from it; None outside a repository."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None
