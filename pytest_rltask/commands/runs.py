"""How the commands take a run: as a directory, as ``last``, or as a part of its name within the log directory."""

from __future__ import annotations

import argparse
import configparser
import os
import shlex
import tomllib
from pathlib import Path

from pytest_rltask.commands.errors import UsageError
from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.load import Run, load_header, load_run
from pytest_rltask.run.named import LAST, find_run, runs_in

__all__ = ["add_log_dir", "add_run", "load", "log_dir_of", "path_of"]

_SETTING = "rltask_log_dir"
_DEFAULT = "logs"
_INI_FILES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini", "setup.cfg")
"""Where pytest looks for settings, in its order."""


def add_run(parser: argparse.ArgumentParser, name: str = "run", *, nargs: str | None = None) -> None:
    """Add a positional argument that names a run, or several."""
    text = f"a run: its directory, `{LAST}`, or a part of its name"
    argument = parser.add_argument(name, metavar=name.upper(), nargs=nargs, help=text)
    argument.completer = _names  # type: ignore[attr-defined]  # argcomplete's way
    if parser.get_default("log_dir") is None:
        add_log_dir(parser)


def add_log_dir(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the runs are."""
    text = f"where runs are (default: the ini setting {_SETTING}, else `{_DEFAULT}`)"
    parser.add_argument("--log-dir", default="", metavar="DIR", help=text)


def log_dir_of(options: argparse.Namespace) -> Path:
    """Return the directory of the runs: as given, else as the ini file here or above says, else ``logs``."""
    if options.log_dir:
        return Path(options.log_dir).expanduser()
    for folder in (Path.cwd(), *Path.cwd().parents):
        if folder != Path.cwd() and not _is_ours(folder):
            break  # in a folder of everybody's, anybody may have laid down a run
        for name in _INI_FILES:
            if (set_to := _setting(folder / name)) is not None:
                return folder / Path(set_to).expanduser()
        if (folder / _DEFAULT).is_dir() and runs_in(folder / _DEFAULT):
            return folder / _DEFAULT
    return Path.cwd() / _DEFAULT


def path_of(wanted: str, options: argparse.Namespace) -> Path:
    """Return the directory of the run that is named.

    Raises:
        UsageError: there is none, or several are meant.
    """
    log_dir = log_dir_of(options)
    try:
        path = find_run(wanted, log_dir, Path.cwd())
        load_header(path)
    except RunLogError as error:
        where = f" --log-dir={shlex.quote(options.log_dir)}" if options.log_dir else ""
        write = f"`rltask list{where}` shows those of {log_dir}; write a directory, `{LAST}`, or a part of a name"
        raise UsageError(f"{shlex.quote(wanted)}: {error}; {write}") from None
    return path


def load(wanted: str, options: argparse.Namespace) -> Run:
    """Load the run that is named.

    Raises:
        UsageError: there is none, several are meant, or it cannot be read.
    """
    path = path_of(wanted, options)
    try:
        return load_run(path)
    except (RunLogError, OSError) as error:
        raise UsageError(f"{shlex.quote(wanted)}: {error}") from None


def _is_ours(folder: Path) -> bool:
    """Say whether a folder belongs to whoever asks, as git demands of a repository's."""
    return not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()


def _setting(file: Path) -> str | None:
    """Return what an ini file of pytest's says of the log directory."""
    try:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".toml":
            data = tomllib.loads(text)
            tables = [data.get("pytest", {})] if "pytest" in file.stem else []
            tool = data.get("tool", {}).get("pytest", {})
            found = [table.get(_SETTING) for table in (*tables, tool.get("ini_options", {}), tool)]
            return next((str(one) for one in found if one), None)
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read_string(text)
        section = "tool:pytest" if file.suffix == ".cfg" else "pytest"
        return parser.get(section, _SETTING, fallback=None)
    except (OSError, ValueError, AttributeError, configparser.Error):
        return None  # pytest itself tells what is wrong with it


def _names(prefix: str, parsed_args: argparse.Namespace, **_: object) -> list[str]:
    """Return what may be written for a run, for completion."""
    return [
        name for name in (LAST, *(path.name for path in runs_in(log_dir_of(parsed_args)))) if name.startswith(prefix)
    ]
