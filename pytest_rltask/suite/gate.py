"""The gate as pytest sees it: one synthetic test case for each task and model, after the trials.

It shows among the failures, in the short summary and in JUnit XML, and it alone decides the exit status: a
missed trial is data, a pass rate out of the band is a failure.
"""

from __future__ import annotations

import pytest

from pytest_rltask.report.summary import Row, Summary
from pytest_rltask.report.table import gate_line
from pytest_rltask.run.planned import split_trial_id

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
            # The progress of the trials has reached 100 %: the gate shows further down, in the summaries.
            vars(report)["rltask_quiet"] = True
            session.config.hook.pytest_runtest_logreport(report=report)
            vars(report)["rltask_quiet"] = False
            _forget_failure(session.config, report)
    if not summary.holds:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reports(row: Row) -> list[pytest.TestReport]:
    base, others = split_trial_id(row.test)
    inside = "-".join(part for part in (others, row.model, "gate") if part)
    nodeid = f"{base}[{inside}]"
    properties: list[tuple[str, object]] = [
        ("trials", row.judged),
        ("passed", row.passed),
        ("pass_rate", "" if row.verdict.rate is None else round(row.verdict.rate, 4)),
        ("band", f"{row.band.low:g}-{row.band.high:g}"),
        ("verdict", row.verdict.word),
        ("proven", row.verdict.proven),
    ]
    outcome = "passed" if row.verdict.holds else "failed"
    call = _report(nodeid, outcome, "call", None if row.verdict.holds else gate_line(row), properties)
    vars(call)["rltask_gate"] = row.verdict.word  # a report may carry attributes of a plugin's own
    # JUnit XML closes a test case, and reads its properties, at its teardown.
    return [call, _report(nodeid, "passed", "teardown", None, properties)]


def _report(
    nodeid: str, outcome: str, when: str, text: str | None, properties: list[tuple[str, object]]
) -> pytest.TestReport:
    path, _, name = nodeid.partition("::")
    return pytest.TestReport(
        nodeid=nodeid,
        location=(path, None, name.replace("::", ".")),
        keywords={nodeid: 1},
        outcome=outcome,  # type: ignore[arg-type]
        longrepr=text,
        when=when,  # type: ignore[arg-type]
        user_properties=properties,
    )


def _forget_failure(config: pytest.Config, report: pytest.TestReport) -> None:
    """Keep the gate out of `--lf`, which could not collect it."""
    plugin = config.pluginmanager.get_plugin("lfplugin")
    failed = getattr(plugin, "lastfailed", {})
    for key in (report.nodeid, getattr(report, "id", None)):
        failed.pop(key, None)
