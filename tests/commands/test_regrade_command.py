"""``rltask regrade``: recorded trials graded anew, without a model and without playing any; all grades are kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pytest_rltask.cli import main
from pytest_rltask.run.load import load_run
from tests.plugin.resumed import rows
from tests.plugin.test_changed import LOGIC, Graded


@pytest.fixture
def graded(pytester: pytest.Pytester) -> Graded:
    return Graded(pytester)


def regrade(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> str:
    capsys.readouterr()
    assert main(["regrade", "last", *words]) == status
    told = capsys.readouterr()
    return told.err if status else told.out


def forget(run_dir: Path, run: str) -> None:
    """Make a trial one that was never played to its end."""
    for file in run_dir.glob("trials.*.jsonl"):
        lines = file.read_text().splitlines()
        file.write_text("".join(f"{line}\n" for line in lines if f"{run}]" not in line))


def test_a_changed_grader_is_asked_and_nothing_is_played(graded: Graded, capsys: pytest.CaptureFixture[str]):
    graded.begin("--runs", "4", "--junitxml=results.xml", "-x")
    results = Path("results.xml").read_bytes()
    forget(graded.run_dirs[0], "run-00")
    graded.change(*LOGIC)
    graded.write(test_other="def test_other():\n    open('ran', 'w').close()\n")

    told = regrade(capsys)

    assert [" ".join(line.split()) for line in told.splitlines()] == [
        "since: scoring.py: rated",
        "trial was is by",
        "test_sum[policy:noted-run-03] missed, 0.4 of 1 (score below threshold) passed, 1 of 1 a replay",
        "3 trials graded anew, 1 of them otherwise, 2 as before",
        "sum by policy:noted: 1 of 3 passed, now 2 of 3",
    ]
    assert sum(graded.plays().values()) == 4
    assert not Path("ran").exists()
    assert Path("results.xml").read_bytes() == results
    run = graded.run_dirs[0]
    (row,) = rows(run)
    assert (row["passed"], row["regraded"], row["planned"]) == (2, 3, 4)
    record = load_run(run).records["test_sum.py::test_sum[policy:noted-run-03]"]
    assert record.history[0].before["outcome"] == "failed"
    assert "graded before: missed" in next(run.glob("transcripts/*run-03.txt")).read_text()


@pytest.mark.slow
def test_a_dry_run_shows_the_same_and_writes_nothing(graded: Graded, capsys: pytest.CaptureFixture[str]):
    graded.begin("--runs", "4")
    graded.change(*LOGIC)
    before = {path: path.read_bytes() for path in graded.run_dirs[0].rglob("*") if path.is_file()}

    *dry, next_line = regrade(capsys, "--dry-run").splitlines()

    assert {path: path.read_bytes() for path in graded.run_dirs[0].rglob("*") if path.is_file()} == before
    assert next_line == "nothing was written; next: rltask regrade last"
    assert dry == regrade(capsys).splitlines()


@pytest.mark.slow
def test_what_did_not_change_is_left_alone(graded: Graded, capsys: pytest.CaptureFixture[str]):
    graded.begin("--runs", "2")
    before = graded.lines()

    assert regrade(capsys).startswith("nothing to do: what grades the trials of run_")

    assert [len(record.history) for record in graded.last_run().records.values()] == [0, 0]
    assert graded.lines() == before


@pytest.mark.slow
def test_the_tests_assertion_judges_what_was_graded_anew(graded: Graded, capsys: pytest.CaptureFixture[str]):
    graded.change("threshold=self.task.threshold, ", "", "tasks")
    graded.change("trial.passed", "trial.score >= 0.4", "test_sum")
    graded.begin("--runs", "4")
    graded.change("0.4 if seed % 2", "0.1 if seed % 2")

    told = json.loads(regrade(capsys, "--json"))

    assert [(one["before"]["outcome"], one["after"]["outcome"]) for one in told["changed"]] == [("passed", "failed")]
    assert told["rates"] == [{"task": "sum", "model": "policy:noted", "before": [2, 4], "after": [1, 4]}]


@pytest.mark.slow
def test_a_model_needs_no_key_to_be_graded_anew(
    graded: Graded, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    graded.begin("--runs", "2")
    (run,) = graded.run_dirs
    for path in (run / "plan.json", run / "run.json", *run.glob("trials.*.jsonl")):
        path.write_text(path.read_text().replace("policy:noted", "claude-haiku-4-5-20251001"))
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    graded.change(*LOGIC)

    assert "2 trials graded anew" in regrade(capsys)


@pytest.mark.slow
def test_where_the_suite_is_not_that_is_told(
    graded: Graded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    graded.begin("--runs", "2")
    (run,) = graded.run_dirs
    away = tmp_path / "away"
    away.mkdir()
    monkeypatch.chdir(away)

    assert main(["regrade", str(run)]) == 4
    assert "start rltask from the folder that the run was started from" in capsys.readouterr().err


@pytest.mark.slow
def test_a_changed_prompt_is_refused_in_words(graded: Graded, capsys: pytest.CaptureFixture[str]):
    graded.begin("--runs", "2")
    graded.change("How much is", "What is", "tasks")

    said = regrade(capsys, status=4)

    assert "\nrltask: --resume logs/run_" in said, "after the command that it runs"
    assert "the prompt of task sum changed" in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_after_a_threshold_by_hand_resume_asks_before_it_mixes_two(graded: Graded, capsys: pytest.CaptureFixture[str]):
    graded.begin("--runs", "4")
    regrade(capsys, "--threshold", "0.3")

    refused = graded.resume("--runs", "6")
    assert refused.ret == pytest.ExitCode.USAGE_ERROR
    refused.stderr.fnmatch_lines(["*threshold given was 0.3, is not there*"])

    assert "now 1 of 4" in regrade(capsys)  # what the task itself says counts again
    assert graded.resume("--runs", "4").ret in (0, 1)
