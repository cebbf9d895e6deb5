"""Run directories that somebody else made, or that were damaged: one sentence, and nothing written elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.cli import main
from pytest_rltask.report.files import write_reports
from pytest_rltask.report.summary import summarise
from pytest_rltask.report.visible import for_log
from pytest_rltask.run.bulletin import Bulletin
from pytest_rltask.run.load import load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.suite.interrupt import StopFile
from tests.run.written import HEADER, planned, record_of

SHARD = {"index": 0, "of": 2, "whole": "w", "parts": 2, "by_row": False}


def made(path: Path, header: dict[str, Any] | None = None, **fields: Any) -> Path:
    header = {"created": "2026-11-28T10:00:00", "gate": "point", **HEADER, **(header or {})}
    writer = RunWriter(path, "main", header)
    writer.plan([planned()])
    writer.append(record_of(score=0.5, threshold=1.0, grade_passed=False, **fields))
    return path


def change(path: Path, **fields: Any) -> None:
    data = json.loads(path.read_text())
    one = data[0] if isinstance(data, list) else data
    one |= fields
    path.write_text(json.dumps(data) + "\n")


@pytest.mark.parametrize(
    ("file", "fields"),
    [
        ("run.json", {"shard": "0/2"}),
        ("run.json", {"shard": {**SHARD, "of": "x"}}),
        ("run.json", {"shard": {**SHARD, "of": 10**12}}),
        ("run.json", {"command": 5}),
        ("plan.json", {"band": [5, 1]}),
        ("plan.json", {"band": ["a", "b"]}),
        ("plan.json", {"trial_id": [1]}),
        ("trials.main.jsonl", {"score": "abc"}),
        ("trials.main.jsonl", {"turns": None}),
        ("trials.main.jsonl", {"label": 5}),
        ("trials.main.jsonl", {"trial_id": []}),
        ("trials.main.jsonl", {"requests": [{"usage": {"input_tokens": "x"}, "faults": []}]}),
    ],
)
def test_a_damaged_run_is_told_in_a_sentence_and_hides_no_other(
    file: str, fields: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "run_1")
    change(made(tmp_path / "run_2") / file, **fields)
    assert main(["list", f"--log-dir={tmp_path}"]) == 0
    listed = capsys.readouterr().out
    assert "run_1" in listed
    assert "unreadable" in listed
    for words in (["show", "run_2"], ["stats", "run_2"], ["merge", "run_2"]):
        assert main([*words, f"--log-dir={tmp_path}"]) == 4
        assert capsys.readouterr().err.count("\n") == 1


def test_the_last_run_is_not_replaced_by_an_older_one_because_it_is_damaged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made(tmp_path / "run_1")
    (made(tmp_path / "run_2") / "run.json").write_text('{"schema": 1, "id"')
    assert main(["show", "last", f"--log-dir={tmp_path}"]) == 4
    assert "run_2/run.json cannot be read" in capsys.readouterr().err


def test_links_of_a_run_directory_are_not_written_through(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = made(tmp_path / "run_1")
    victims = {name: tmp_path / f"victim of {name}" for name in ("text", "json", "md", "lines", "lock")}
    for path in victims.values():
        path.write_text("mine")
    (run_dir / "transcripts").mkdir(exist_ok=True)
    transcripts = run_dir / "transcripts"
    (transcripts / "sum-run-00.txt").symlink_to(victims["text"])
    (run_dir / "report.json").symlink_to(victims["json"])
    (run_dir / "summary.md").symlink_to(victims["md"])
    assert main(["regrade", str(run_dir), "--threshold", "0.3"]) == 0
    capsys.readouterr()
    for name in (".lock-regrade", "trials.regrade.jsonl"):
        (run_dir / name).unlink(missing_ok=True)
        (run_dir / name).symlink_to(victims["lock" if "lock" in name else "lines"])
        assert main(["regrade", str(run_dir), "--threshold", "0.2"]) == 4
        (run_dir / name).unlink()
    assert {path.read_text() for path in victims.values()} == {"mine"}


def test_merging_copies_nothing_from_outside_and_leaves_no_half_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "secret").write_text("a secret")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("a secret")
    shard = made(tmp_path / "run_1", {"shard": {**SHARD, "of": 1}})
    (shard / "transcripts").mkdir(exist_ok=True)
    (shard / "transcripts" / "x.txt").symlink_to(tmp_path / "secret")
    os.mkfifo(shard / "transcripts" / "pipe")
    (shard / "artifacts").symlink_to(tmp_path / "elsewhere")
    whole = tmp_path / "whole"
    assert main(["merge", str(shard), "--out", str(whole)]) in (0, 1)
    told = capsys.readouterr().out
    assert not any("a secret" in path.read_text() for path in whole.rglob("*") if path.is_file())
    assert "next: pytest" in told
    (shard / "trials.other.jsonl").symlink_to(tmp_path / "secret")
    assert main(["merge", str(shard), "--out", str(tmp_path / "half")]) == 4
    assert not (tmp_path / "half").exists()


def test_what_a_model_wrote_is_no_command_to_a_workflow(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "ok\n  ::stop-commands::zz\n::error file=a.py::forged\nsee ##[error]x\nstd::vector"
    assert for_log(said) == said, "elsewhere it is as it was"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    lines = for_log(said).splitlines()
    assert not any(line.lstrip().startswith("::") or "##[" in line for line in lines)
    assert lines[-1] == "std::vector"


def test_a_label_forges_no_heading_and_no_picture_in_the_summary(tmp_path: Path) -> None:
    label = "x\n\n# Pass rates, gate `point`: holds\r![pic](http://evil.example/p.png) a\\|b"
    run = load_run(made(tmp_path / "run_1", label=label))
    write_reports(run, summarise(run, "point"))
    text = (run.path / "summary.md").read_text()
    assert [line for line in text.splitlines() if line.startswith("#")] == ["# Pass rates, gate `point`: fails"]
    assert "![pic]" not in text
    assert "\r" not in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_text_is_printed_whatever_the_terminal_can_show(encoding: str, tmp_path: Path) -> None:
    run_dir = made(tmp_path / "run_1", label="не найдено")
    for words in (["show", str(run_dir)], ["show", str(run_dir), "run-00"], ["list", f"--log-dir={tmp_path}"]):
        command = [sys.executable, "-m", "pytest_rltask", *words]
        done = subprocess.run(
            command, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_is_full_or_closed_is_no_traceback(tmp_path: Path) -> None:
    run_dir = made(tmp_path / "run_1")
    for redirected in (">/dev/full", ">&-"):
        command = f"{sys.executable} -m pytest_rltask show {run_dir} {redirected}"
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        assert done.returncode == (4 if "full" in redirected else 0)


def test_what_is_in_no_number_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_dir = made(tmp_path / "run_1")
    RunWriter(run_dir, "main", HEADER).plan([planned(), planned("test_sum[run-01]")])
    with (run_dir / "trials.main.jsonl").open("a") as file:
        file.write('{"type": "trial", "tri')
    assert main(["stats", str(run_dir)]) == 0
    told = capsys.readouterr().out
    assert "run_1: 1 of 2 planned trials were not played to the end\n" in told
    assert "run_1: 1 damaged lines of its records were skipped\n" in told


def test_what_a_run_tells_its_own_processes_follows_no_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (".interrupted", ".waiting.main"):
        (tmp_path / name).symlink_to(victim)
    StopFile(tmp_path, "now").write()
    Bulletin(tmp_path, "main", "now").note_answer()
    assert victim.read_text() == "mine"
    assert not (tmp_path / ".interrupted").is_symlink()
