"""Tells at once, while a run goes on, what keeps it waiting: in a pipe and under pytest-xdist as in a terminal."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest

__all__ = ["ServerWarning", "Telling"]


class ServerWarning(pytest.PytestWarning):
    """What keeps a run waiting. Of another process pytest-xdist makes it anew, by its name."""


class Telling:
    """Brings what one process has to tell to the terminal of the one that reports.

    It travels as a recorded warning does, which pytest-xdist passes on at once; no filter of warnings applies to it.

    Args:
        config: pytest's configuration.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._shown: set[str] = set()

    def tell(self, line: str) -> None:
        """Tell something, from pytest's thread."""
        message = warnings.WarningMessage(ServerWarning(f"rltask: {line}"), ServerWarning, "pytest-rltask", 0)
        told = {"warning_message": message, "when": "runtest", "nodeid": "", "location": None}
        self._config.hook.pytest_warning_recorded.call_historic(kwargs=told)

    def show(self, warning: object, hiding: Callable[[], AbstractContextManager[None]]) -> None:
        """Write what was told into the terminal, each line once, whichever worker told it first.

        Args:
            warning: any that was recorded.
            hiding: returns what keeps the terminal free meanwhile.
        """
        line = str(warning)
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if not isinstance(warning, ServerWarning) or line in self._shown or reporter is None:
            return
        self._shown.add(line)
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        with hiding(), capture.global_and_fixture_disabled() if capture else nullcontext():
            reporter.ensure_newline()
            reporter.write_line(line, yellow=True)
            reporter.flush()
