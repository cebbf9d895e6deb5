"""The suite of a run as a process: what grades a trial is the author's code, which only pytest can collect."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from pytest_rltask.commands.errors import UsageError
from pytest_rltask.report.command_line import without
from pytest_rltask.report.visible import visible

__all__ = ["regrade_by_suite"]

_RESULTS = ("--junitxml", "--junit-xml", "--log-file")
"""Options that would replace a file of the run's own."""
_FINE = (0, 1)
"""Exit statuses of pytest: the gate may fail, of which nobody asks here."""
_TOLD_LINES = 12


def regrade_by_suite(run_dir: Path, header: dict[str, Any], words: str = "") -> None:
    """Have pytest collect the run's suite, and grade the recorded trials anew.

    Args:
        run_dir: the run directory, into which the new grades are written.
        header: what its ``run.json`` says.
        words: what to collect with which options; without any, as the run was started.

    Raises:
        UsageError: the suite cannot be collected from here, or pytest refuses to go on with the run.
    """
    try:
        typed = shlex.split(words) or without(shlex.split(str(header.get("command", "")))[1:], *_RESULTS)
    except ValueError as error:
        raise UsageError(f"what to collect cannot be read ({error}); write --pytest ARGUMENTS") from None
    own = [f"--rltask-resume={run_dir}", "--rltask-changed=regrade", "--rltask-regrade-only"]
    command = [sys.executable, "-m", "pytest", *typed, *own, "--maxfail=0", "--color=no"]
    print(visible(f"collecting: {shlex.join(['pytest', *typed])}"), file=sys.stderr)
    # What is regraded is told by this command, once.
    environment = {name: value for name, value in os.environ.items() if name != "GITHUB_STEP_SUMMARY"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    if done.returncode in _FINE:
        return
    shown = shlex.join(["pytest", *typed])
    lines = [line for line in f"{done.stdout}\n{done.stderr}".splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if errors:
        raise UsageError(errors[0])
    if done.returncode == 5:
        why = f"`{shown}` collects no test in {Path.cwd()}"
    else:
        why = f"`{shown}` ended with status {done.returncode}:\n  " + "\n  ".join(lines[-_TOLD_LINES:])
    raise UsageError(
        f"{why}; start rltask from the folder that the run was started from, or write what to collect: "
        f'rltask regrade {run_dir.name} --pytest "tests/test_task.py"'
    )
