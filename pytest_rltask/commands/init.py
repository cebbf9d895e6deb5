"""``rltask init NAME``: a task to begin with, in a new or an existing project."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from pytest_rltask.commands.errors import FINE, UsageError

__all__ = ["EXAMPLE", "add_arguments", "run"]

EXAMPLE = "rltask init find_number    # writes tasks/find_number and what a project needs, and nothing over a file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("name", metavar="NAME", help="of the task: lower case, digits and _")
    parser.add_argument("--into", metavar="DIR", default=".", help="the project's folder (default: this one)")


def run(options: argparse.Namespace) -> int:
    """Write the files, and say which, and what to type next.

    Raises:
        UsageError: the name is none, or something is in the way. Nothing was written then.
    """
    from pytest_rltask.starter import Project, wrong_name

    if wrong := wrong_name(options.name):
        raise UsageError(f"{options.name!r} {wrong}")
    project = Project(Path(options.into).expanduser(), options.name)
    if taken := project.taken():
        raise UsageError(f"{', '.join(map(str, taken))} exists, and nothing is written over; choose another NAME")
    try:
        written, kept = project.write()
    except OSError as error:
        raise UsageError(f"{error.filename or options.into} cannot be written: {error.strerror}") from None
    for path in written:
        print(f"created {path}")
    for path in kept:
        print(f"kept {path}, which was there")
    print("note: there is no release of pytest-rltask yet; write into requirements-tasks.txt what you install it from")
    into = "" if options.into == "." else f"cd {shlex.quote(options.into)} && "
    print(f"next: {into}pytest {project.folder} --audit")
    print(f"      {into}pytest {project.folder} --model policy:baseline")
    return FINE
