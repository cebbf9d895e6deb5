"""How a run is written down and started again: its header, and the command lines that reproduce it or go on with it."""

from __future__ import annotations

import os
import shlex
import uuid
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.clock import utc
from pytest_rltask.report.command_line import joined, without
from pytest_rltask.run.files import choose_run_dir
from pytest_rltask.run.record import SCHEMA_VERSION
from pytest_rltask.suite.option_names import names_of
from pytest_rltask.suite.options import Options

__all__ = ["new_header", "reproduction", "typed", "unwritable"]


def new_header(config: pytest.Config, options: Options, log_dir: Path) -> dict[str, Any]:
    """Return the header of a run that begins now.

    Raises:
        pytest.UsageError: it could not be written.
    """
    existing = next(path for path in (log_dir, *log_dir.parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise pytest.UsageError(unwritable(options.log_dir, f"{existing} is no writable folder"))
    return {
        "schema": SCHEMA_VERSION,
        "id": uuid.uuid4().hex,
        "path": str(choose_run_dir(log_dir, utc().astimezone())),
        "created": utc().isoformat(timespec="seconds"),
        "command": reproduction(config, options),
        "gate": options.gate,
        "sequential": options.sequential,
    }


def reproduction(config: pytest.Config, options: Options) -> str:
    """Return the command as typed, with every setting that it left to a default, and nothing that resumes a run."""
    names = names_of(config)
    words = typed(config)
    flags = {word.partition("=")[0] for word in words}
    missing = [
        word
        for flag, *values in options.command_line()
        if flags.isdisjoint(names.ours(flag))
        for word in (names.flag(flag), *values)
    ]
    return shlex.join([*words, *missing])


def typed(config: pytest.Config) -> list[str]:
    """Return the words of the command as typed, without what resumes a run."""
    names = names_of(config)
    words = without(map(str, config.invocation_params.args), *names.ours("--resume"), *names.ours("--changed"))
    return ["pytest", *joined(words, *names.ours("--log-dir"))]


def unwritable(log_dir: str, why: str) -> str:
    """Say that no run directory can be created, and what to write."""
    return f"--log-dir {log_dir}: no run directory can be created in it ({why}); write --log-dir=DIR"
