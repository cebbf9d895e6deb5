"""``rltask export`` as typed: where it writes, what it refuses, and the counts on stderr."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.cli import main
from tests.run.of_97dd2a8 import WRITTEN

RUN = str(WRITTEN / "claude")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["export", RUN, *words]) == 4
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    return told.err


def test_it_names_the_file_after_the_run_and_counts_what_is_left_out(capsys: pytest.CaptureFixture[str]):
    assert main(["export", RUN, "--to", "jsonl"]) == 0
    assert capsys.readouterr().err == (
        "exported 3 of 8 trials; left out: 1 without a reply, 1 cheated (--include cheated), "
        "1 errored (--include errored), 2 not played -> claude.jsonl\n"
    )
    assert [json.loads(line)["seed"] for line in Path("claude.jsonl").read_text().splitlines()] == [42, 46, 48]


@pytest.mark.parametrize("to", ["jsonl", "csv", "atif"])
def test_nothing_is_overwritten(to: str, capsys: pytest.CaptureFixture[str]):
    assert main(["export", RUN, "--to", to, "--out", "x"]) == 0
    before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    capsys.readouterr()

    assert "write --out with another name" in refused(capsys, "--to", to, "--out", "x")

    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before


def test_a_file_can_go_to_standard_output(capsys: pytest.CaptureFixture[str]):
    assert main(["export", RUN, "--to", "csv", "--out", "-"]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 7
    assert told.err == "exported 6 of 8 trials; left out: 2 not played\n"
    assert list(Path().iterdir()) == []


def test_outcomes_are_named(capsys: pytest.CaptureFixture[str]):
    assert main(["export", RUN, "--to", "jsonl", "--include", "errored,cheated", "--out", "more"]) == 0
    assert main(["export", RUN, "--to", "jsonl", "--only", "passed", "--out", "fewer"]) == 0
    kinds = {
        name: {json.loads(line)["outcome"] for line in Path(name).read_text().splitlines()}
        for name in ("more", "fewer")
    }
    assert kinds == {"more": {"passed", "failed", "cheated", "errored"}, "fewer": {"passed"}}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--to", "jsonl", "--include", "failed"), "'failed' is none; write --include errored,cheated"),
        (("--to", "jsonl", "--include", "errored", "--only", "passed"), "leave out one of them"),
        (("--to", "csv", "--include", "errored"), "--include is for --to jsonl: --to csv has all trials; leave it out"),
        (("--to", "csv", "--strings"), "--strings is for --to jsonl"),
        (("--to", "parquet"), "invalid choice: 'parquet'"),
        (("--to", "csv", "--out", "no/such/folder/x.csv"), "cannot be written"),
    ],
)
def test_wrong_words_are_told_with_right_ones(words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]):
    assert said in refused(capsys, *words)


def test_a_library_that_is_missing_is_told_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    real = builtins.__import__

    def without_inspect(name: str, *arguments: Any, **named: Any) -> Any:
        if name.partition(".")[0] == "inspect_ai":
            raise ModuleNotFoundError("No module named 'inspect_ai'")
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without_inspect)
    assert 'write pip install "pytest-rltask[inspect]"' in refused(capsys, "--to", "inspect")
    assert list(Path().iterdir()) == []
