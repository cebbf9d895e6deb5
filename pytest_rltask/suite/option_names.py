"""The names of the options: ``--rltask-runs`` is the true one, ``--runs`` stays as long as nobody else claims it.

pytest takes no option twice, and whoever comes second fails with a traceback that names nobody. So the short names are
added last, once all plugins and the conftest files of the start have added theirs.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import re
from collections.abc import Generator, Iterable, Iterator
from typing import Any, NoReturn

import pytest

from pytest_rltask.suite.options import OPTIONS, Option, add_options

__all__ = ["NAMES", "Names", "names_of"]

NAMES = "rltask-names"
"""Name of the plugin that holds :class:`Names`."""


class Names:
    """Adds the options of a pytest process, and knows which of their short names are others'.

    Args:
        parser: of the command line.
        pluginmanager: of this process.
    """

    def __init__(self, parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
        self.given_up: tuple[str, ...] = ()
        """Short names that others claim, so that theirs is meant."""
        self._parser = parser
        self._group = add_options(parser)
        self._is_done = False
        if _loads_conftests(pluginmanager):
            self._add_short_names()  # one of them loads us: nobody will call the hook below any more

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_load_initial_conftests(
        self, early_config: pytest.Config, parser: pytest.Parser, args: list[str]
    ) -> Generator[None]:
        """Have values of our options not be taken for paths meanwhile, and add the short names in the end."""
        known = early_config.known_args_namespace
        rest = _without_short_names(args)
        if rest != args:
            early_config.known_args_namespace = parser.parse_known_args(rest, copy.copy(early_config.option))
            early_config.known_args_namespace.confcutdir = known.confcutdir
        yield
        self._add_short_names()

    def _add_short_names(self) -> None:
        if self._is_done:
            return
        self._is_done = True
        self.given_up = tuple(_claimed(self._parser, [option.flag for option in OPTIONS]))
        for option in OPTIONS:
            if option.flag not in self.given_up:
                self._group.addoption(option.flag, dest=option.dest, help=argparse.SUPPRESS, **option.attributes)

    def flag(self, short: str) -> str:
        """Return the name by which to write an option here, given its short one."""
        return f"--rltask-{short.removeprefix('--')}" if short in self.given_up else short

    def ours(self, short: str) -> tuple[str, ...]:
        """Return all names by which an option can be written here, given its short one."""
        return tuple({self.flag(short), f"--rltask-{short.removeprefix('--')}"})

    def spelled(self, text: str) -> str:
        """Return a text of ours with the names under which the options can be reached here.

        Example:
            >>> names = Names.__new__(Names)
            >>> names.given_up = ("--runs",)
            >>> names.spelled("write --runs 5, not --runs-more, or --seed 1")
            'write --rltask-runs 5, not --runs-more, or --seed 1'
        """
        if not self.given_up:
            return text
        claimed = "|".join(re.escape(flag.removeprefix("--")) for flag in self.given_up)
        return re.sub(rf"(?<![\w-])--({claimed})(?![\w-])", r"--rltask-\1", text)

    @contextlib.contextmanager
    def told(self) -> Iterator[None]:
        """Have usage errors of a block name the options as they can be reached here."""
        try:
            yield
        except pytest.UsageError as error:
            if (said := self.spelled(str(error))) == str(error):
                raise
            raise pytest.UsageError(said) from None

    @property
    def line(self) -> str:
        """What the header says of names that are others'; empty if none is."""
        if not self.given_up:
            return ""
        ours = " ".join(f"--rltask-{flag.removeprefix('--')}" for flag in self.given_up)
        verb = "belongs" if len(self.given_up) == 1 else "belong"
        return f"rltask: {' '.join(self.given_up)} {verb} to another plugin or conftest.py; for trials write {ours}"


def names_of(config: pytest.Config) -> Names:
    """Return the names of a process."""
    names = config.pluginmanager.get_plugin(NAMES)
    assert isinstance(names, Names), "the plugin registers it with its options"
    return names


def _loads_conftests(pluginmanager: pytest.PytestPluginManager) -> bool:
    """Say whether pytest has begun with the conftest files of the start: it sets this just before."""
    config = pluginmanager.get_plugin("pytestconfig")
    known = getattr(config, "known_args_namespace", None)
    return getattr(known, "confcutdir", None) is not None


def _claimed(parser: pytest.Parser, flags: list[str]) -> Iterator[str]:
    """Yield the options that somebody has: to add one that is taken would harm theirs before it fails."""
    try:
        unknown = parser.parse_known_and_unknown_args([f"{flag}=x" for flag in flags])[1]
        yield from (flag for flag in flags if f"{flag}=x" not in unknown)
    except pytest.UsageError:  # one of them takes no such value, or none; whoever it is, it is known
        if len(flags) == 1:
            yield from flags
        else:
            for flag in flags:
                yield from _claimed(parser, [flag])


class _Quiet(argparse.ArgumentParser):
    """Raises instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _without_short_names(args: Iterable[str]) -> list[str]:
    """Return a command line without our options by their short names, values included."""
    words = list(args)
    parser = _Quiet(add_help=False, allow_abbrev=False)
    for option in OPTIONS:
        parser.add_argument(option.flag, **_plain(option))
    try:
        return parser.parse_known_args(words)[1]
    except ValueError:
        return words  # a value is missing: pytest says so


def _plain(option: Option) -> dict[str, Any]:
    return {"action": "store_true"} if option.is_switch else {}
