"""The command ``rltask``: questions asked of finished runs, without pytest and without a model.

`main` parses the arguments and calls the subcommand's module. Only that module is imported, so that each answers fast.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pytest_rltask import __version__
from pytest_rltask.commands.errors import USAGE, UsageError
from pytest_rltask.report.visible import for_log

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "list": "the runs of the log directory",
    "show": "a run, or the conversation of a trial",
    "stats": "pass@k, means with errors, reasons, near misses",
    "compare": "is B harder than A? Trials paired by seed",
    "calibrate": "the thresholds that put a pass rate into the band",
    "merge": "one run of the shards that several machines played",
    "regrade": "grade a run's trials anew, without a model",
    "export": "a run for trainers and viewers: jsonl, csv, atif, inspect",
    "init": "a task to begin with, in a new or an existing project",
    "doctor": "what works on this machine, for you and for bug reports",
}
"""The subcommands, each a module of :mod:`pytest_rltask.commands`, with what it answers."""
_CLOSED = 141
"""Exit status, as a shell gives it, of a program whose reader went away."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; write `{self.prog} --help` for what it takes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer one command line, and return the exit status: 0, 1 for what was to fail, 4 for wrong usage."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_streams()
    try:
        parser = _parser(words)
        options = parser.parse_args(words)
        status = int(importlib.import_module(f"pytest_rltask.commands.{options.command}").run(options))
        sys.stdout.flush()
    except UsageError as error:
        print(f"rltask: {for_log(str(error))}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter's own flush complains
        return _CLOSED
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(for_log(f"rltask: {where}{error.strerror or error}"), file=sys.stderr)
        return USAGE
    return status


def _open_streams() -> None:
    """Have any text be printed: to a stream that was closed, and to one that has no such characters."""
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and "utf" not in stream.encoding.lower():
            stream.reconfigure(errors="backslashreplace")


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser that knows all commands, and the arguments of the one that is given."""
    parser = _Parser(prog="rltask", description="Questions asked of runs of pytest-rltask.", epilog=_how())
    parser.add_argument("--version", action="version", version=f"pytest-rltask {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    completing = "_ARGCOMPLETE" in os.environ
    typed = os.environ.get("COMP_LINE", "").split()[1:] if completing else words
    given = next((word for word in typed if not word.startswith("-")), None)
    for name, help_text in COMMANDS.items():
        one = commands.add_parser(name, help=help_text, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == given:
            module = importlib.import_module(f"pytest_rltask.commands.{name}")
            one.description, one.epilog = f"{name}: {help_text}", f"example:\n  {module.EXAMPLE}"
            module.add_arguments(one)
    if completing:
        import argcomplete

        argcomplete.autocomplete(parser)
    return parser


def _how() -> str:
    return "`rltask COMMAND --help` shows an example of each. RUN is a directory, `last`, or a part of a run's name."
