"""From a grade and what the test then does to the outcome, the report and what is put on disk, asked directly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_rltask.models.named import parse_model
from pytest_rltask.run.load import load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import NotStarted, PlannedTrial
from pytest_rltask.run.record import Fault, Outcome, Record
from pytest_rltask.suite.judging import Judge, lose

TRIAL = "test_sum.py::test_sum[run-00]"


def graded(outcome: Outcome, **fields: Any) -> Record:
    """Make the record of a trial that was graded so."""
    known: dict[str, Any] = {"score": 0.5, "grade_passed": outcome == "passed", "started": "2026-11-28T10:00:00+00:00"}
    return Record(TRIAL, "sum", "digest", "policy:null", 0, 42, outcome, **{**known, **fields})


def holds() -> None:
    """What a test does that accepts the trial."""


def misses() -> None:
    raise AssertionError("too low\nby far")


def breaks() -> None:
    raise KeyError("no such thing")


class Court:
    """A judge, and an item whose trial it judges."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.item = pytester.getitem("def test_sum(): pass", "test_sum")
        self.path = pytester.path / "run"
        self.writer = RunWriter(self.path, "main", {"id": "a", "schema": 1})
        self.writer.plan([])
        self.judge = Judge(lambda: self.writer)

    def settle(self, does: Callable[[], None], when: Any = "call") -> pytest.TestReport:
        """Have the test do something in one of its phases."""
        call = pytest.CallInfo.from_call(does, when)
        report = pytest.TestReport.from_item_and_call(self.item, call)
        self.judge.settle(self.item, call, report)
        return report

    def judged(self, record: Record, does: Callable[[], None]) -> pytest.TestReport:
        """Have the test judge a trial."""
        self.writer.append(record)
        self.note(record)
        return self.settle(does)

    def note(self, record: Record, waited_s: float = 0.0) -> None:
        """Take in the record of the item's trial, which a policy played."""
        param: Any = SimpleNamespace(model=parse_model("policy:null"), task_name="sum")
        self.judge.note_record(self.item, param, record, lambda param: record, waited_s=waited_s)

    def on_disk(self) -> tuple[str, str]:
        """Return outcome and reason as a later reading of the run has them."""
        record = load_run(self.path).records[TRIAL]
        return record.outcome, record.reason


@pytest.fixture
def court(pytester: pytest.Pytester) -> Court:
    return Court(pytester)


OVERRULED = "the test's assertion overruled the grader, which said "


@pytest.mark.parametrize(
    ("record", "does", "reported", "outcome", "reason"),
    [
        (graded("passed"), holds, "passed", "passed", ""),
        (graded("failed", reason="short"), misses, "passed", "failed", "short"),
        (graded("failed", reason="short"), holds, "passed", "passed", f"{OVERRULED}missed"),
        (graded("passed"), misses, "passed", "failed", f"{OVERRULED}passed: too low"),
        (graded("cheated", reason="copied"), holds, "passed", "cheated", "copied"),
        (graded("cheated", reason="copied"), misses, "passed", "cheated", "copied"),
        (graded("cheated", reason="copied"), breaks, "failed", "cheated", "copied"),
        (graded("passed"), breaks, "failed", "errored", "the test did not judge the trial: KeyError: 'no such thing'"),
        (graded("errored", grade_passed=None), holds, "passed", "passed", ""),
        (graded("errored", grade_passed=None), misses, "passed", "failed", "too low"),
    ],
)
def test_the_test_decides(
    court: Court, record: Record, does: Callable[[], None], reported: str, outcome: str, reason: str
):
    report = court.judged(record, does)

    assert report.outcome == reported
    assert (record.outcome, record.reason) == (outcome, reason)
    assert court.on_disk() == (outcome, reason)
    assert not hasattr(report, "wasxfail")
    assert reported == "failed" or report.longrepr is None
    assert vars(report).get("rltask_outcome") == (outcome if reported != "failed" else None)


@pytest.mark.parametrize(("reason", "said"), [("short", "short"), ("", "too low")])
def test_a_miss_is_skipped_to_junit_where_the_ini_file_says_so(pytester: pytest.Pytester, reason: str, said: str):
    pytester.makeini("[pytest]\nrltask_junit_missed = skipped")
    court = Court(pytester)

    report = court.judged(graded("failed", reason=reason), misses)

    assert (report.outcome, report.wasxfail) == ("skipped", said)
    assert report.longrepr == (str(court.item.path), 0, said)


def test_a_report_lasts_as_long_as_the_trial_and_not_as_the_wait_for_it(court: Court):
    record = graded("failed", seconds={"total": 100.0})
    court.note(record, waited_s=50.0)

    assert court.settle(holds, "setup").duration < 10
    assert 100.0 <= court.settle(misses).duration < 110
    assert court.settle(holds, "teardown").duration < 10


def test_an_errored_trial_has_its_time_and_its_properties_too(court: Court):
    record = graded("errored", score=None, seconds={"total": 100.0}, fault=Fault("task", "a bug"))
    court.note(record, waited_s=50.0)

    report = court.settle(breaks, "setup")

    assert 100.0 <= report.duration < 110
    assert dict(report.user_properties)["outcome"] == "errored"


@pytest.mark.parametrize(("arguments", "is_told"), [((), False), (("-v",), True)])
def test_a_verbose_run_is_handed_what_was_said(pytester: pytest.Pytester, arguments: tuple[str, ...], is_told: bool):
    config = pytester.parseconfigure(*arguments)
    court = Court(pytester)
    court.item.config.option.verbose = config.option.verbose

    report = court.judged(graded("failed", reason="short"), misses)

    assert ("short" in vars(report).get("rltask_transcript", "")) is is_told


@pytest.mark.parametrize(("fails", "reported", "outcome"), [(misses, "passed", "failed"), (breaks, "passed", "passed")])
def test_a_subtest_that_fails_by_an_assertion_makes_the_trial_missed(
    court: Court, fails: Callable[[], None], reported: str, outcome: str
):
    record = graded("passed")
    court.writer.append(record)
    court.note(record)
    court.judge.enter_test(court.item)
    subtests = [court.settle(does).outcome for does in (holds, fails, holds)]
    court.judge.leave_test(court.item)

    assert subtests == ["passed", "failed", "passed"]
    assert record.outcome == "passed"
    assert court.settle(holds).outcome == reported
    assert record.outcome == outcome


def test_subtests_that_hold_leave_the_trial_to_the_test(court: Court):
    record = graded("failed")
    court.writer.append(record)
    court.note(record)
    court.judge.enter_test(court.item)
    court.settle(holds)
    court.judge.leave_test(court.item)

    assert court.settle(holds).outcome == "passed"
    assert record.outcome == "passed"


def test_neither_setup_nor_teardown_judges_a_trial(court: Court):
    record = graded("failed")
    court.note(record)

    for when in ("setup", "teardown"):
        assert court.settle(holds, when).outcome == "passed"

    assert record.outcome == "failed"


def test_properties_of_others_stay_and_ours_are_there_once(court: Court):
    court.item.user_properties[:] = [("mine", 1), ("outcome", "of an earlier try")]

    court.judged(graded("passed"), holds)

    names = [name for name, _ in court.item.user_properties]
    assert names == ["mine", "task", "model", "run", "seed", "outcome", "score", "turns", "cost_usd", "transcript"]
    assert dict(court.item.user_properties)["outcome"] == "passed"


def test_a_trial_that_missed_is_called_so(court: Court):
    told = dict(court.judged(graded("failed", label="below", threshold=0.9), misses).user_properties)

    assert (told["outcome"], told["label"], told["score"], told["threshold"]) == ("missed", "below", 0.5, 0.9)
    assert Path(str(told["transcript"])).resolve().read_text(encoding="utf-8").startswith(TRIAL)


@pytest.mark.parametrize(
    ("when", "does", "is_errored"), [("setup", breaks, True), ("call", breaks, False), ("setup", holds, False)]
)
def test_a_fault_makes_its_trial_errored_where_its_fixture_fails(
    court: Court, when: Any, does: Callable[[], None], is_errored: bool
):
    record = graded("errored", score=None, fault=Fault("task", "the grader: ValueError"))
    court.note(record)

    report = court.settle(does, when)

    assert vars(report).get("rltask_errored", False) is is_errored
    assert ("rltask_fault" in vars(report)) is is_errored
    assert record.outcome == "errored"


def test_where_the_trial_can_be_read_is_shown(court: Court):
    court.note(graded("passed", score=0.5))

    (section,) = [text for when, key, text in court.item._report_sections if (when, key) == ("setup", "trial")]
    shown, transcript = section.splitlines()
    assert shown == "passed: score 0.5"
    assert Path(transcript.removeprefix("transcript: ")).read_text(encoding="utf-8").startswith(TRIAL)


def test_a_transcript_that_cannot_be_written_loses_nothing(court: Court):
    (court.path / "transcripts").write_text("a file in its place")

    report = court.judged(graded("failed"), holds)

    assert report.outcome == "passed"
    assert court.on_disk()[0] == "passed"
    (section,) = [text for *_, text in court.item._report_sections]
    assert section.endswith("transcript: (not written: File exists)")


def test_the_transcript_tells_what_the_test_decided(court: Court):
    court.judged(graded("failed"), holds)

    (transcript,) = (court.path / "transcripts").iterdir()
    assert "--- passed -" in transcript.read_text(encoding="utf-8")


def skips() -> None:
    pytest.skip("not now")


@pytest.fixture
def trials(pytester: pytest.Pytester) -> Court:
    """A court whose item plays a trial."""
    from tests.conftest import SUITE, TEST

    pytester.makepyfile(tasks=SUITE)
    court = Court(pytester)
    path = pytester.makepyfile(test_trials=TEST)
    items, _ = pytester.inline_genitems(path, "--model", "policy:null", "--runs", "1")
    court.item = items[0]
    return court


def test_a_trial_that_is_not_started_is_skipped_with_its_reason_where_it_stands(trials: Court):
    because = NotStarted("cost", "--max-cost 1: $1.00 is spent")
    trials.judge.note_not_started(trials.item, because)

    report = trials.settle(skips, "setup")

    line = (trials.item.location[1] or 0) + 1
    assert line > 1
    assert report.longrepr == (str(trials.item.path), line, "Skipped: --max-cost 1: $1.00 is spent")
    assert '"why": "cost"' in (trials.path / "trials.main.jsonl").read_text()


def test_the_first_line_of_a_file_is_its_line_one(pytester: pytest.Pytester, trials: Court):
    mark = "__import__('pytest').mark.rltask(task=__import__('tasks').Sum())"
    path = pytester.makepyfile(test_first=f"@{mark}\ndef test_first(trial): pass")
    (trials.item,), _ = pytester.inline_genitems(path, "--model", "policy:null", "--runs", "1")
    trials.judge.note_not_started(trials.item, NotStarted("cost", "no money"))

    assert trials.settle(skips, "setup").longrepr == (str(path), 1, "Skipped: no money")


def test_a_trial_that_a_mark_skips_is_told_on_disk_and_shown_as_pytest_shows_it(trials: Court):
    report = trials.settle(skips, "setup")

    assert "Skipped: not now" in str(report.longrepr)
    assert '"type": "skipped"' in (trials.path / "trials.main.jsonl").read_text()


def test_before_anything_is_planned_a_skip_is_pytests_alone(trials: Court):
    judge, report = Judge(lambda: None), None
    call = pytest.CallInfo.from_call(skips, "setup")
    report = pytest.TestReport.from_item_and_call(trials.item, call)

    judge.settle(trials.item, call, report)

    assert report.skipped


def test_what_plays_no_trial_is_none_of_the_judges_business(court: Court):
    for does, when in [(skips, "setup"), (holds, "call"), (misses, "call")]:
        report = court.settle(does, when)
        assert "rltask_outcome" not in vars(report)
    assert not (court.path / "trials.main.jsonl").exists() or not (court.path / "trials.main.jsonl").read_text()
    assert report.outcome == "failed"


# ---- a process that died ----


def lost(tmp_path: Path, *records: Record) -> tuple[bool, Record | None]:
    """Lose the trial of a run, and return what was said and what became of it."""
    writer = RunWriter(tmp_path / "run", "main", {"id": "a", "schema": 1})
    planned = PlannedTrial(TRIAL, "test_sum.py::test_sum", "sum", "digest", "policy:null", 0, 42, (0.1, 0.4))
    writer.plan([planned])
    for record in records:
        writer.append(record)
    said = lose(TRIAL, load_run(tmp_path / "run"), writer)
    return said, load_run(tmp_path / "run").records.get(TRIAL)


def test_a_trial_whose_process_died_before_its_grade_is_lost(tmp_path: Path):
    said, record = lost(tmp_path)

    assert said is True
    assert record is not None
    assert (record.outcome, record.fault and record.fault.kind) == ("errored", "process")


def test_a_trial_whose_process_died_after_its_grade_is_judged_by_nobody(tmp_path: Path):
    said, record = lost(tmp_path, graded("passed"))

    assert said is True
    assert record is not None
    assert (record.outcome, record.fault, record.score) == ("errored", None, 0.5)
    assert record.reason == "the test did not judge the trial: its process died"


def test_a_trial_whose_process_died_once_more_after_a_fault_is_lost(tmp_path: Path):
    said, record = lost(tmp_path, graded("errored", score=None, fault=Fault("api", "down")))

    assert said is True
    assert record is not None
    assert record.fault is not None
    assert record.fault.kind == "process"


def test_what_is_no_trial_of_the_run_is_not_lost(tmp_path: Path):
    writer = RunWriter(tmp_path / "run", "main", {"id": "a", "schema": 1})
    writer.plan([])

    assert lose(TRIAL, load_run(tmp_path / "run"), writer) is False
