"""Text on the terminal page by page, as git does: by ``PAGER``, else by less, else not at all."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping

from pytest_rltask.report.visible import tamed

__all__ = ["pager_of", "show_lines"]

NOT_FOUND = 127
"""What a shell exits with that finds no such command."""


def show_lines(lines: Iterable[str], *, paged: bool) -> None:
    """Print lines, page by page where that is wanted and standard output is a terminal.

    Args:
        lines: without their ends; safe for a terminal.
        paged: whether it is wanted.
    """
    command = pager_of(os.environ) if paged and sys.stdout.isatty() else ""
    coming, given = iter(lines), list[str]()
    if not command or _status(command, coming, given) == NOT_FOUND:  # the shell has said so; here is the text
        for line in itertools.chain(given, coming):
            print(tamed(line))


def _status(command: str, lines: Iterator[str], given: list[str]) -> int:
    """Give lines to a pager, note them, and return its exit status once whoever reads has read enough."""
    # Colours pass (R), a short text stays on the screen (FX): git's own words, unless LESS says otherwise.
    environment = {"LESS": "FRX", "LV": "-c", **os.environ}
    with subprocess.Popen(
        command, shell=True, stdin=subprocess.PIPE, text=True, errors="backslashreplace", env=environment
    ) as pager:
        assert pager.stdin is not None, "it is a pipe"
        with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):  # whoever has read enough
            for line in lines:
                given.append(line)
                pager.stdin.write(f"{line}\n")
        with contextlib.suppress(BrokenPipeError):
            pager.stdin.close()
        while True:
            with contextlib.suppress(KeyboardInterrupt):  # means the pager, which goes on
                return pager.wait()


def pager_of(environ: Mapping[str, str]) -> str:
    """Return the command that shows text page by page; empty: there is none, or it is not wanted.

    Args:
        environ: where ``PAGER`` is looked for; one that is empty or ``cat`` wants none.
    """
    if environ.get("TERM") == "dumb":
        return ""
    command = environ.get("PAGER")
    if command is None:
        return "less" if shutil.which("less", path=environ.get("PATH")) else ""
    return "" if command.strip() in ("", "cat") else command
