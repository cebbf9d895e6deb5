"""``rltask regrade --threshold``: recorded scores against another threshold, where grades are nothing else."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.cli import main
from pytest_rltask.graders.fingerprint import Grader
from pytest_rltask.report.summary import Row, summarise
from pytest_rltask.run.load import load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import Record
from tests.run.of_97dd2a8 import WRITTEN
from tests.run.written import HEADER, python

SCORES = (1.0, 0.4, 0.2, 0.4)
GRADER = Grader("tasks.Sum", {"threshold": "1.0"}, {"tasks.py": {"Sum": "abc"}})


def trial_of(run: int, test: str = "sum") -> PlannedTrial:
    trial_id = f"test_a.py::test_{test}[run-{run:02d}]"
    return PlannedTrial(
        trial_id, f"test_a.py::test_{test}", test, "d", "policy:p", run, run, (0.1, 0.4), grader=GRADER.digest
    )


def record_of(run: int, **fields: Any) -> Record:
    score = SCORES[run]
    told = {"score": score, "threshold": 1.0, "grade_passed": score >= 1.0, "grader": GRADER.digest}
    told |= {"outcome": "passed" if score >= 1.0 else "failed", "label": "" if score >= 1.0 else "low"}
    told |= {"reason": "" if score >= 1.0 else "a reason", "started": "2026-01-01T00:00:00.000+00:00"}
    return Record(trial_of(run).trial_id, "sum", "d", "policy:p", run=run, seed=run, **(told | fields))


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return made(tmp_path / "logs" / "run_1", [record_of(run) for run in range(4)])


def made(path: Path, records: list[Record], *tests: str) -> Path:
    writer = RunWriter(path, "main", HEADER | {"created": "2026", "gate": "point"})
    writer.plan([trial_of(run, test) for test in ("sum", *tests) for run in range(4)])
    writer.note_grader(GRADER.digest, GRADER.to_json())
    for record in records:
        writer.append(record)
    return path


def row_of(path: Path) -> Row:
    (row,) = summarise(load_run(path), "point").rows
    return row


def files(path: Path) -> dict[Path, bytes]:
    return {file: file.read_bytes() for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")}


def regrade(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    assert main(["regrade", *words]) == status
    told = capsys.readouterr()
    return told.err if status else told.out


def test_a_threshold_needs_no_code(run_dir: Path, capsys: pytest.CaptureFixture[str]):
    before = files(run_dir)
    dry = regrade(capsys, "last", "--threshold", "0.3", "--dry-run")
    assert files(run_dir) == before

    told = regrade(capsys, "last", "--threshold", "0.3")

    *shown, next_line = dry.splitlines()
    assert told.splitlines() == shown
    assert next_line == "nothing was written; next: rltask regrade last --threshold=0.3"
    assert "since: the threshold was 1, is 0.3, given by hand" in told
    assert "4 trials graded anew, 2 of them otherwise, 2 as before" in told
    assert "sum by policy:p: 1 of 4 passed, now 3 of 4" in told
    row = row_of(run_dir)
    assert (row.passed, row.failed, row.left_out, row.regraded) == (3, 1, 0, 4)
    records = load_run(run_dir).records
    assert {step.how for record in records.values() for step in record.history} == {"threshold"}
    low = records[trial_of(2).trial_id]
    assert (low.label, low.reason) == ("low", "a reason (told at a threshold of 1)")
    assert "graded before" in next(run_dir.glob("transcripts/*run-02.txt")).read_text()
    assert '"passed": 3' in (run_dir / "report.json").read_text()


def test_a_threshold_twice_is_the_last_one(run_dir: Path, capsys: pytest.CaptureFixture[str]):
    for threshold in ("0.3", "0.1", "0.3"):
        regrade(capsys, "last", "--threshold", threshold)
    row = row_of(run_dir)
    assert (row.left_out, row.passed) == (0, 3)
    assert {len(record.history) for record in load_run(run_dir).records.values()} == {3}


def test_a_cheat_stays_one_and_what_errored_stays_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    errored = {"outcome": "errored", "score": None, "threshold": None, "grade_passed": None}
    cheated = {"outcome": "cheated", "score": 1.0, "grade_passed": False}
    path = made(tmp_path / "run_1", [record_of(0, **cheated), record_of(1), record_of(2, **errored)])
    regrade(capsys, str(path), "--threshold", "0.3")
    row = row_of(path)
    assert (row.passed, row.cheated, row.errored) == (1, 1, 1)


def test_of_several_tasks_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = made(tmp_path / "run_1", [record_of(0), record_of(1)], "product")
    said = regrade(capsys, str(path), "--threshold", "0.3", status=4)
    assert "the run has several tasks; write --task NAME, one of sum, product" in said
    regrade(capsys, str(path), "--threshold", "0.3", "--task", "sum")
    plan = {trial.trial_id: trial.grader for trial in load_run(path).plan}
    assert plan[trial_of(0, "product").trial_id] == GRADER.digest != plan[trial_of(0).trial_id]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"threshold": None, "grade_passed": None}, "names no threshold: the test's assertion decides"),
        ({"score": 2.0, "grade_passed": False}, "missed with 2 of 1: its grader sees to more than that"),
        ({"outcome": "passed"}, "the test's assertion overruled the grader in test_sum[run-01]"),
    ],
)
def test_it_is_refused_where_grades_are_more_than_a_threshold(
    fields: dict[str, Any], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = made(tmp_path / "run_1", [record_of(0), record_of(1, **fields)])
    before = files(path)
    told = regrade(capsys, str(path), "--threshold", "0.3", status=4)
    assert said in told
    assert "change the task and write `rltask regrade run_1`" in told
    assert files(path) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--threshold", "nan"), "is no number"),
        (("--threshold", "0.3", "--task", "other"), "write --task NAME, one of sum"),
        (("--threshold", "0.3", "--pytest", "tests"), "--threshold needs no suite"),
        (("--task", "sum"), "--task goes with --threshold"),
    ],
)
def test_wrong_words_are_refused(words: tuple[str, ...], said: str, run_dir: Path, capsys: pytest.CaptureFixture[str]):
    assert said in regrade(capsys, str(run_dir), *words, status=4)


HOLDS = """
import sys
from pathlib import Path
from pytest_rltask.run.lock import RunLock
lock = RunLock(Path(sys.argv[1]), "main")
print("held", flush=True)
sys.stdin.read()
"""


def test_a_run_that_goes_on_is_left_alone(run_dir: Path, capsys: pytest.CaptureFixture[str]):
    with python(HOLDS, run_dir) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        said = regrade(capsys, str(run_dir), "--threshold", "0.3", status=4)
        other.communicate("")
    assert len(said.splitlines()) == 1
    assert row_of(run_dir).regraded == 0


def test_a_run_of_an_earlier_version_takes_a_threshold(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "claude"
    shutil.copytree(WRITTEN / "claude", path)
    told = regrade(capsys, str(path), "--threshold", "0", "--task", "guess")
    assert "guess by claude-haiku-4-5-20251001: 2 of 5 passed, now 4 of 5" in told
    assert row_of(path).cheated == 1
