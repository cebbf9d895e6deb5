"""A plugin for the pytest that grades an agent's code: tells of each test over a pipe that pytest-rltask reads.

It lies beside the tests as ``_rltask_told``. The pipe begins with a word that ends the report as well: a report that
does not end so was cut short. Whoever shares the process with it can undo it: that is why the agent's code does not,
unless the author asked for it.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


class Told:
    """Writes what becomes of each test."""

    def __init__(self) -> None:
        given = int(os.environ.pop("RLTASK_TOLD"))
        self._out = os.dup(given)
        os.close(given)
        self._word = os.environ.pop("RLTASK_WORD")
        self._count = 0
        self._say({"began": True})

    def pytest_collectreport(self, report: Any) -> None:
        """Tell of a file whose tests are not there: one of no outcome would be missed by nobody."""
        if report.outcome != "passed":
            self._say({"tests": [report.nodeid]})
            said = str(report.longrepr)[-2000:]
            self._say({"test": report.nodeid, "when": "collect", "outcome": report.outcome, "said": said})

    def pytest_collection_finish(self, session: Any) -> None:
        """Tell which tests there are."""
        self._say({"tests": [item.nodeid for item in session.items]})

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Tell the outcome of a phase of a test."""
        outcome = "expected" if hasattr(report, "wasxfail") else report.outcome
        said = "" if report.outcome == "passed" else str(report.longrepr)[-2000:]
        self._say({"test": report.nodeid, "when": report.when, "outcome": outcome, "said": said})

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Tell that this is all."""
        self._say({"end": int(exitstatus), "count": self._count + 1, "word": self._word})

    def _say(self, what: dict[str, Any]) -> None:
        self._count += 1
        data = json.dumps(what).encode() + b"\n"
        while data:
            data = data[os.write(self._out, data) :]


def pytest_configure(config: Any) -> None:
    """Begin, in the first pytest that is started: those that tests start are no part of the report."""
    if "RLTASK_TOLD" in os.environ:
        config.pluginmanager.register(Told(), "rltask-told")
        if folder := os.environ.pop("RLTASK_FOLDER", ""):
            sys.path.append(folder)  # now that the word is hidden, and behind all that pytest may import yet
