"""What a run directory says once it is read: which trials are left out, which were not started, and what is no run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.load import Run, load_grader, load_header, load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import NotStarted, PlannedTrial
from pytest_rltask.run.record import SCHEMA_VERSION, Record

TRIAL = "test_sum.py::test_sum[run-00]"
OTHER = "test_sum.py::test_sum[run-01]"


def planned(trial_id: str) -> PlannedTrial:
    return PlannedTrial(trial_id, "test_sum.py::test_sum", "sum", "d", "fake", 0, 42, (0.1, 0.4))


def at(second: int) -> str:
    return f"2026-11-28T10:00:{second:02d}+00:00"


def started(second: int, trial_id: str = TRIAL) -> dict[str, Any]:
    return {"type": "started", "trial_id": trial_id, "at": at(second)}


def skipped(second: int, trial_id: str = TRIAL, **why: Any) -> dict[str, Any]:
    return {"type": "skipped", "trial_id": trial_id, "at": at(second), **why}


def graded(second: int, trial_id: str = TRIAL) -> dict[str, Any]:
    record = Record(trial_id, "sum", "d", "fake", 0, 42, "failed", score=0.0, started=at(second))
    return {"type": "trial", "schema": 1, **record.to_json()}


PROVEN = {"why": "proven", "reason": "stopped early", "rule": 2}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A run directory whose plan has two trials."""
    writer = RunWriter(tmp_path / "run", "main", {"id": "a", "schema": SCHEMA_VERSION, "command": "pytest"})
    writer.plan([planned(TRIAL), planned(OTHER)])
    return writer.path


def read(path: Path, *entries: dict[str, Any], **others: list[dict[str, Any]]) -> Run:
    """Write what processes of the run appended, and read it."""
    for writer, lines in {"main": list(entries), **others}.items():
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (path / f"trials.{writer}.jsonl").write_text(text, encoding="utf-8")
    return load_run(path)


def plan_of(run: Run) -> list[str]:
    return [trial.trial_id for trial in run.plan]


@pytest.mark.parametrize(
    ("entries", "is_left_out"),
    [
        ([], False),
        ([skipped(1)], True),
        ([started(1), skipped(2)], True),
        ([started(2), skipped(2)], True),
        ([skipped(1), started(2)], False),  # it began, and its process died
        ([skipped(1), started(2), skipped(3)], True),
        ([skipped(3), started(2), skipped(1)], True),
        ([started(3), started(1), skipped(2)], False),
        ([skipped(2), graded(1)], False),
        ([graded(1), skipped(2)], False),
    ],
)
def test_a_trial_that_a_mark_skips_is_no_part_of_the_plan_unless_it_was_played(
    path: Path, entries: list[dict[str, Any]], is_left_out: bool
):
    run = read(path, *entries)

    assert plan_of(run) == [OTHER] if is_left_out else [TRIAL, OTHER]
    assert run.not_started == {}


def test_a_trial_that_the_run_did_not_start_stays_in_the_plan_and_says_why(path: Path):
    run = read(path, skipped(1, **PROVEN), skipped(1, OTHER))

    assert plan_of(run) == [TRIAL]
    assert run.not_started == {TRIAL: NotStarted("proven", "stopped early", 2)}


@pytest.mark.parametrize("order", [("main", "gw0"), ("gw0", "main")])
def test_the_last_reason_counts_whoever_wrote_it(path: Path, order: tuple[str, str]):
    early, late = skipped(1, **PROVEN), skipped(2, why="cost", reason="--max-cost")

    run = read(path, **{order[0]: [early], order[1]: [late]})

    assert run.not_started == {TRIAL: NotStarted("cost", "--max-cost", 1)}


def test_a_mark_that_skips_it_later_takes_it_out_of_the_plan(path: Path):
    assert plan_of(read(path, skipped(1, **PROVEN), skipped(2))) == [OTHER]
    assert plan_of(read(path, skipped(2), skipped(1, **PROVEN))) == [OTHER]


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ({"why": "proven", "reason": "r", "rule": 7}, NotStarted("proven", "r", 7)),
        ({"why": "cost", "reason": "r"}, NotStarted("cost", "r", 1)),
        ({"why": "faulty", "reason": "r", "rule": "x"}, NotStarted("faulty", "r", 1)),
    ],
)
def test_why_a_trial_was_not_started(path: Path, why: dict[str, Any], reason: NotStarted):
    assert read(path, skipped(1, **why)).not_started == {TRIAL: reason}


def test_a_reason_of_a_later_version_takes_it_out_of_the_plan(path: Path):
    run = read(path, skipped(1, why="of a later version", reason="r"))

    assert (plan_of(run), run.not_started) == ([OTHER], {})


def test_when_trials_began_is_told_by_all_processes(path: Path):
    run = read(path, started(1), started(3), gw0=[started(2, OTHER)])

    assert run.starts == {TRIAL: [at(1), at(3)], OTHER: [at(2)]}


def test_all_that_was_paid_is_told_whether_it_counts_or_not(path: Path):
    run = read(path, graded(1), gw0=[graded(2)], gw1=[graded(3, OTHER)])

    assert [record.started for record in run.superseded] == [at(2)]
    assert [record.started for record in run.paid] == [at(1), at(3), at(2)]


def test_damaged_lines_are_counted_in_all_files_and_hide_no_others(path: Path):
    read(path, graded(1), gw0=[graded(2, OTHER)])
    for name in ("main", "gw0"):
        file = path / f"trials.{name}.jsonl"
        file.write_bytes(b"{half\n[1]\n" + file.read_bytes() + b"{")

    run = load_run(path)

    assert run.damaged_lines == 4
    assert set(run.records) == {TRIAL, OTHER}


def test_an_unknown_line_of_a_later_version_says_nothing(path: Path):
    assert plan_of(read(path, {"type": "praised", "trial_id": TRIAL})) == [TRIAL, OTHER]


# ---- what is no run directory ----


@pytest.mark.parametrize("header", [[], {}, {"schema": "1"}, {"schema": None}])
def test_a_header_without_a_version_is_none(path: Path, header: Any):
    (path / "run.json").write_text(json.dumps(header))

    with pytest.raises(RunLogError, match="is not a run directory of pytest-rltask"):
        load_header(path)


def test_a_header_of_a_later_version_is_refused_and_one_of_this_is_not(path: Path):
    assert load_header(path)["schema"] == SCHEMA_VERSION
    (path / "run.json").write_text(json.dumps({"schema": SCHEMA_VERSION + 1}))

    with pytest.raises(RunLogError, match=f"later version \\(schema {SCHEMA_VERSION + 1}\\)"):
        load_header(path)


def test_what_is_no_directory_is_none(path: Path):
    with pytest.raises(RunLogError, match="is not a directory"):
        load_header(path / "run.json")


# ---- graders ----


def test_what_a_run_says_of_a_grader(path: Path):
    writer = RunWriter(path, "main", {"id": "a", "schema": 1})
    writer.note_grader("abc1", {"code": "one"})
    writer.note_grader("abc1", {"code": "two"})
    writer.note_grader("abd1", {"code": "another"})
    (path / "graders" / "abc2.json").write_text("[]")
    (path / "graders" / "abc3.json").write_text("{")

    assert load_grader(path, "abc1") == {"code": "one"}  # whichever process came first
    assert load_grader(path, "abd1") == {"code": "another"}
    assert [load_grader(path, digest) for digest in ("abc2", "abc3", "abc4", "", "../run")] == [None] * 5


def test_what_a_process_writes_of_a_run_is_told_by_its_lines(path: Path):
    writer = RunWriter(path, "gw3", {"id": "a", "schema": 1})

    writer.deal(3)
    writer.start(TRIAL)
    writer.skip(OTHER, NotStarted("proven", "stopped early", 2))
    writer.skip(OTHER)
    writer.supersede(TRIAL, "f changed")

    lines = [json.loads(line) for line in (path / "trials.gw3.jsonl").read_text().splitlines()]
    assert all(line.pop("at").startswith("20") for line in lines)
    assert lines == [
        {"type": "dealt", "shares": 3},
        {"type": "started", "trial_id": TRIAL},
        {"type": "skipped", "trial_id": OTHER, "why": "proven", "reason": "stopped early", "rule": 2},
        {"type": "skipped", "trial_id": OTHER},
        {"type": "superseded", "trial_id": TRIAL, "changes": "f changed"},
    ]


def test_a_transcript_is_written_where_it_is_said_to_be(path: Path):
    writer = RunWriter(path, "main", {"id": "a", "schema": 1})
    record = Record(TRIAL, "sum", "d", "fake", 0, 42)

    for text in ("one", "two \ud800"):
        written = writer.write_transcript(record, text)

    assert written == path / "transcripts" / "sum-run-00.txt"
    assert written.read_text(encoding="utf-8") == "two ?"


def test_only_what_must_survive_a_power_cut_waits_for_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[int] = []
    monkeypatch.setattr("os.fsync", synced.append)
    writer = RunWriter(path, "main", {"id": "a", "schema": 1})
    writer.start(TRIAL)  # the file's name, once
    before = len(synced)

    writer.start(OTHER)
    assert len(synced) == before
    writer.append(Record(TRIAL, "sum", "d", "fake", 0, 42))
    assert len(synced) == before + 1
