"""What else decides how a run goes: versions of everything installed, the machine, and the suite's commit."""

from __future__ import annotations

import platform
import re
import subprocess
from pathlib import Path
from typing import Any

__all__ = ["provenance"]

_FIELDS = re.compile(r"^(Name|Version): *(.+?) *$", re.MULTILINE)


def provenance(root: Path) -> dict[str, Any]:
    """Return versions, platform and commit as JSON data.

    Args:
        root: a folder of the suite's repository.
    """
    versions = _versions()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": dict(sorted(versions.items(), key=lambda entry: entry[0].lower())),
        "git_commit": _git_commit(root),
    }


def _versions() -> dict[str, str]:
    """Return the version of each installed distribution.

    Its `name` and `version` would each parse all of its description as an e-mail: 50 ms for 77 of them.
    """
    from importlib.metadata import distributions

    heads = (
        ((dist.read_text("METADATA") or dist.read_text("PKG-INFO") or "").partition("\n\n")[0])
        for dist in distributions()
    )
    fields = (dict(_FIELDS.findall(head)) for head in heads)
    return {found["Name"]: found["Version"] for found in fields if {"Name", "Version"} <= found.keys()}


def _git_commit(root: Path) -> str | None:
    """Return the commit of the suite, with "+" if files differ from it; None outside a repository."""

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None
