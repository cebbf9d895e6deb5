"""The gate as pytest sees it: one synthetic test case for each task and model, after the trials.

It shows among the failures, in the short summary and in JUnit XML, and it alone decides the exit status: a
missed trial is data, a pass rate out of the band is a failure.
"""

from __future__ import annotations

from typing import Literal

import pytest

from pytest_rltask.models.named import label_of
from pytest_rltask.report.summary import Row, Summary
from pytest_rltask.report.sweep import values_text
from pytest_rltask.report.table import gate_line
from pytest_rltask.report.visible import for_log
from pytest_rltask.run.planned import split_trial_id
from pytest_rltask.suite.gate_allure import report_to_allure

__all__ = ["report_gate"]


def report_gate(session: pytest.Session, summary: Summary, *, errored_trials: int) -> None:
    """Report each row's gate as a test case and set the exit status.

    Args:
        session: pytest's session, whose exit status is set.
        summary: of the run.
        errored_trials: how many of the session's failures are errored trials. They alone do not fail the run:
            a share that matters makes a row `incomplete`.
    """
    if summary.holds and session.testsfailed == errored_trials:
        session.exitstatus = pytest.ExitCode.OK
    if summary.part:
        return
    for row in summary.rows:
        for report in _reports(row):
            # The progress of the trials has reached 100 %: the terminal shows gates without any.
            vars(report)["rltask_quiet"] = True
            session.config.hook.pytest_runtest_logreport(report=report)
            vars(report)["rltask_quiet"] = False
            _forget_failure(session.config, report)
        report_to_allure(session.config, row, _nodeid(row), _properties(row))
        _show(session.config, row)
    if not summary.holds:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _show(config: pytest.Config, row: Row) -> None:
    """Give the gate a line of its own where tests have one."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and config.get_verbosity() > 0:
        reporter.ensure_newline()
        markup = {"green": True} if row.verdict.holds else {"red": True}
        reporter.write_line(f"{_nodeid(row)} {row.verdict.word.upper()}", **markup)


def _nodeid(row: Row) -> str:
    base, others = split_trial_id(row.test)
    return f"{base}[{'-'.join(part for part in (others, label_of(row.model), 'gate') if part)}]"


def _reports(row: Row) -> list[pytest.TestReport]:
    text = None if row.verdict.holds else for_log(gate_line(row))
    call = _report(row, "call", text)
    vars(call)["rltask_gate"] = row.verdict.word  # a report may carry attributes of a plugin's own
    # JUnit XML closes a test case, and reads its properties, at its teardown; pytest-html begins one at its setup.
    return [_report(row, "setup"), call, _report(row, "teardown")]


def _properties(row: Row) -> list[tuple[str, object]]:
    """Return what results files say of a gate: flat, plain values."""
    return [
        *([("parameters", values_text(row.parameters))] if row.parameters else []),
        ("trials", row.judged),
        ("passed", row.passed),
        ("pass_rate", "" if row.verdict.rate is None else round(row.verdict.rate, 4)),
        ("band", f"{row.band.low:g}-{row.band.high:g}"),
        ("verdict", row.verdict.word),
        ("proven", row.verdict.proven),
    ]


def _report(row: Row, when: Literal["setup", "call", "teardown"], text: str | None = None) -> pytest.TestReport:
    nodeid = _nodeid(row)
    path, _, name = nodeid.partition("::")
    return pytest.TestReport(
        nodeid=nodeid,
        location=(path, row.line - 1 if row.line else None, name.replace("::", ".")),
        keywords={nodeid: 1},
        outcome="failed" if text else "passed",
        longrepr=text,
        when=when,
        user_properties=_properties(row),
    )


def _forget_failure(config: pytest.Config, report: pytest.TestReport) -> None:
    """Keep the gate out of `--lf`, which could not collect it."""
    plugin = config.pluginmanager.get_plugin("lfplugin")
    failed = getattr(plugin, "lastfailed", {})
    for key in (report.nodeid, getattr(report, "id", None)):
        failed.pop(key, None)
