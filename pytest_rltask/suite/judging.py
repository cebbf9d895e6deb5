"""From what became of an item to the outcome of its trial: the test decides, and what it says is put on disk."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.run.amendments import amend
from pytest_rltask.run.load import Run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import NotStarted
from pytest_rltask.run.record import Outcome, Record
from pytest_rltask.suite.items import TrialParam, is_trial, replay_differs, warn_if_toolless
from pytest_rltask.suite.wording import (
    assertion_text,
    explained_amendment,
    is_skipped_in_junit,
    oneline,
    properties,
)
from pytest_rltask.task import TaskWarning

__all__ = ["Judge", "lose"]

RECORD_KEY = pytest.StashKey[Record]()
IN_TEST_KEY = pytest.StashKey[bool]()
NOT_STARTED_KEY = pytest.StashKey[NotStarted]()
MISSED_KEY = pytest.StashKey[bool]()
WAITED_KEY = pytest.StashKey[float]()
TRANSCRIPT_KEY = pytest.StashKey[Path]()


class Judge:
    """Judges the trials of a process, item by item.

    Args:
        writer: returns where this process writes; None as long as it has planned no trial.
    """

    def __init__(self, writer: Callable[[], RunWriter | None]) -> None:
        self._the_writer = writer
        self._toolless: set[str] = set()  # tasks that a warning was given of
        self._retold: set[str] = set()  # the same, of replays

    @property
    def _writer(self) -> RunWriter:
        writer = self._the_writer()
        assert writer is not None, "what is judged was planned"
        return writer

    def note_record(
        self,
        item: pytest.Item,
        param: TrialParam,
        record: Record,
        recorded: Callable[[TrialParam], Record],
        *,
        waited_s: float = 0.0,
    ) -> None:
        """Take in the record of an item's trial, and show where it can be read.

        Args:
            item: whose trial it is.
            param: of the trial.
            record: what came of it.
            recorded: returns the trial that a replay replays.
            waited_s: seconds that the item waited for its trial, which may have begun long before.
        """
        item.stash[RECORD_KEY], item.stash[WAITED_KEY] = record, waited_s
        if record.task not in self._toolless and warn_if_toolless(item, record):
            self._toolless.add(record.task)
        is_replay = param.model.kind == "replay" and param.task_name not in self._retold
        if is_replay and (said := replay_differs(param, recorded(param), record)):
            self._retold.add(param.task_name)
            item.warn(TaskWarning(said))
        path = item.stash[TRANSCRIPT_KEY] = self._write_transcript(record)
        item.add_report_section("setup", "trial", f"{oneline(record)}\ntranscript: {path}")

    def note_not_started(self, item: pytest.Item, because: NotStarted) -> None:
        """Take in why an item's trial was not started."""
        item.stash[NOT_STARTED_KEY] = because

    def enter_test(self, item: pytest.Item) -> None:
        """Note that the item's test function runs."""
        item.stash[IN_TEST_KEY] = True

    def leave_test(self, item: pytest.Item) -> None:
        """Note that it has ended."""
        item.stash[IN_TEST_KEY] = False

    def settle(self, item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport) -> None:
        """Turn what became of an item into the outcome of its trial, and a miss into a report of its own."""
        record = item.stash.get(RECORD_KEY, None)
        if record is not None and call.when == "setup":
            report.duration = max(0.0, report.duration - item.stash[WAITED_KEY])
        if record is None:
            if report.skipped and is_trial(item) and self._the_writer() is not None:
                because = item.stash.get(NOT_STARTED_KEY, None)
                self._writer.skip(item.nodeid, because)
                if because:
                    report.longrepr = (str(item.path), (item.location[1] or 0) + 1, f"Skipped: {because.reason}")
        elif record.fault is not None:
            from pytest_rltask.report.faults import fold_key

            if report.failed and call.when == "setup":
                vars(report)["rltask_errored"] = True
                vars(report)["rltask_fault"] = fold_key(record)
                self._tell(item, report, record)
        elif item.stash.get(IN_TEST_KEY, False):
            # A subtest: its failure stays pytest's own, and its trial has missed.
            item.stash[MISSED_KEY] = item.stash.get(MISSED_KEY, False) or _missed(call)
        elif call.when == "setup" and call.excinfo is not None:  # a fixture that was set up behind the trial
            if record.outcome != "cheated":
                self._amend_unjudged(record, call.excinfo.typename, assertion_text(call))
            self._tell(item, report, record)
        elif call.when == "call":
            self._judge(item, call, report, record)
        if record is not None and call.when == "teardown" and not item.stash.get(IN_TEST_KEY, False):
            kept: tuple[pytest.StashKey[Any], ...] = (RECORD_KEY, WAITED_KEY, TRANSCRIPT_KEY)
            for key in kept:  # pytest keeps its items, and a conversation is long
                if key in item.stash:  # a warning that was made an error comes before the last one
                    del item.stash[key]

    def _judge(self, item: pytest.Item, call: pytest.CallInfo[Any], report: pytest.TestReport, record: Record) -> None:
        """Let the test decide: it held, an assertion failed, or it ended otherwise and nobody has judged the trial."""
        held = call.excinfo is None and not item.stash.get(MISSED_KEY, False)
        missed = _missed(call) or (call.excinfo is None and not held)
        if record.outcome == "cheated":
            missed = missed or held  # no assertion can turn cheating into a pass
        elif held or missed:
            self._amend(record, "passed" if held else "failed", assertion_text(call))
        else:
            self._amend_unjudged(record, call.excinfo.typename if call.excinfo else "", assertion_text(call))
        self._tell(item, report, record)
        if missed:
            report.outcome, report.longrepr = "passed", None
            if is_skipped_in_junit(item.config):
                report.outcome, report.wasxfail = "skipped", record.reason or assertion_text(call)
                report.longrepr = (str(item.path), item.location[1] or 0, report.wasxfail)
        if missed or report.passed:
            # One plain string: whatever else crosses to the controller may not be serialisable.
            vars(report)["rltask_outcome"] = str(record.outcome)

    def _tell(self, item: pytest.Item, report: pytest.TestReport, record: Record) -> None:
        """Have a report say what JUnit, and whoever watches, shall know of the trial."""
        ours = properties(record, item.stash.get(TRANSCRIPT_KEY, None))
        names = {name for name, _ in ours}
        item.user_properties[:] = [one for one in item.user_properties if one[0] not in names] + ours  # a rerun's again
        report.user_properties = list(item.user_properties)
        report.duration += record.seconds.get("total", 0.0)
        if item.config.get_verbosity() > 0 and record.model != "human":  # who has seen it
            from pytest_rltask.report.transcript import render

            vars(report)["rltask_transcript"] = render(record)

    def _amend_unjudged(self, record: Record, how: str, said: str) -> None:
        self._amend(record, "errored", f"the test did not judge the trial: {how}: {said}")

    def _amend(self, record: Record, outcome: Outcome, said: str) -> None:
        """Let the test's assertion overrule the grader, and say so on disk."""
        if record.outcome == outcome:
            return
        why = explained_amendment(record, outcome, said)
        amend(record, outcome, why)
        self._writer.amend(record.trial_id, outcome, why)
        self._write_transcript(record)

    def _write_transcript(self, record: Record) -> Path:
        from pytest_rltask.report.transcript import render

        try:
            return self._writer.write_transcript(record, render(record))
        except OSError as error:  # the record is on disk, and that is what counts
            return Path(f"(not written: {error.strerror})")


def _missed(call: pytest.CallInfo[Any]) -> bool:
    return call.excinfo is not None and call.excinfo.errisinstance(AssertionError)


def lose(trial_id: str, run: Run, writer: RunWriter) -> bool:
    """Put on disk that the process which played a trial died, for the last time; say whether it is a trial at all."""
    planned = next((trial for trial in run.plan if trial.trial_id == trial_id), None)
    if planned is None:
        return False
    record = run.records.get(trial_id)
    if record is not None and record.graded:
        writer.amend(trial_id, "errored", "the test did not judge the trial: its process died")
    else:
        writer.append(planned.lost())
    return True
