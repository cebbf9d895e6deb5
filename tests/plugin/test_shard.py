"""`--shard I/N` and `rltask merge`: parts of a run on several machines, and one run and verdict of them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.cli import main
from pytest_rltask.run.load import Run, load_run
from tests.conftest import Suite, slow

MORE = """
from tasks import *

@pytest.mark.rltask(task=Sum(), name="other", runs=3)
def test_other(trial):
    assert trial.score >= 1.0

def test_plain_one(): pass
def test_plain_two(): pass
"""
MODELS = ("--model", "policy:solver")


def shards(suite: Suite, of: int, *arguments: str) -> list[Path]:
    """Play all shards, and return their run directories."""
    before = set(suite.run_dirs)
    for index in range(of):
        played = suite.run("--shard", f"{index}/{of}", *arguments)
        assert played.ret == 0, "a shard's rates are not judged"
    return [path for path in suite.run_dirs if path not in before]


def merged(suite: Suite, *runs: Path, **options: str) -> int:
    return main(["merge", *map(str, runs), "--out", str(suite.pytester.path / "whole"), *options.values()])


def essence(run: Run) -> list[dict[str, Any]]:
    """Return what is equal in two runs of the same trials, in the order of their plan."""
    timed = ("started", "seconds", "requests", "grader")
    found = [dataclasses.asdict(run.records[trial.trial_id]) for trial in run.plan]
    return [{key: value for key, value in record.items() if key not in timed} for record in found]


@pytest.mark.parametrize(
    ("of", "how"), [(2, ()), slow(5, ()), slow(3, ("--sequential",)), slow(2, ("-n", "2")), slow(20, ())]
)
def test_shards_merged_equal_one_run_of_all(suite: Suite, of: int, how: tuple[str, ...]) -> None:
    suite.write(test_more=MORE)
    whole = suite.run("--runs", "4", *MODELS, *how)
    one, rows = suite.last_run(), suite.report()["rows"]
    parts = shards(suite, of, "--runs", "4", *MODELS, *how)

    status = merged(suite, *reversed(parts))

    run = load_run(suite.pytester.path / "whole")
    report = json.loads((run.path / "report.json").read_text())
    assert (status, whole.ret) == (1, 1), "the solver is too easy in both"
    assert essence(run) == essence(one)
    assert [{**row, "seconds": 0} for row in report["rows"]] == [{**row, "seconds": 0} for row in rows]
    assert run.plan == one.plan
    assert len(parts) == min(of, 4 if "--sequential" in how else 16), "a shard without a trial leaves no run"
    assert len(list((run.path / "transcripts").iterdir())) == 16
    assert "--shard" not in run.header["command"]
    again = suite.run("--runs", "4", *MODELS, *how, f"--resume={run.path}")
    again.stdout.fnmatch_lines(["rltask: resuming *: 16 trials reused, none to be played"])


@pytest.mark.slow
def test_ordinary_tests_are_dealt_as_well(suite: Suite) -> None:
    suite.write(test_more=MORE)
    first = suite.run("--runs", "1", "--shard", "0/2", "-v", model="policy:baseline").stdout.str()
    second = suite.run("--runs", "1", "--shard", "1/2", "-v", model="policy:baseline").stdout.str()
    assert ("test_plain_one PASSED" in first, "test_plain_one PASSED" in second) == (True, False)
    assert ("test_plain_two PASSED" in first, "test_plain_two PASSED" in second) == (False, True)
    assert "2 deselected" in first, "a trial and a test"
    assert "rltask: shard 0/2: its pass rates are not judged; `rltask merge RUN...` makes one run of all" in first


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--shard", "2/2"), "--shard 2/2 is not a shard I/N, with I from 0 to N - 1; write --shard 0/4"),
        slow(("--shard", "a/2"), "--shard a/2 is not a shard I/N"),
        slow(("--shard", "1"), "--shard 1 is not a shard I/N"),
        (("--shard", "0/2", "--stop-early"), "--shard 0/2 sees a part of each pass rate, so it proves none"),
    ],
)
def test_what_is_no_shard_is_refused(suite: Suite, options: tuple[str, ...], said: str) -> None:
    result = suite.run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()


@pytest.mark.slow
def test_a_run_is_gone_on_with_as_what_it_was_started_as(suite: Suite) -> None:
    suite.run("--runs", "4", "--shard", "1/2")
    for wrong in (("--shard", "0/2"), ()):
        result = suite.run("--runs", "4", "--resume=last", *wrong)
        assert "--resume last: it is shard 1/2 of a run; write --shard 1/2" in result.stderr.str()
    result = suite.run("--runs", "4", "--resume=last", "--shard", "1/2")
    result.stdout.fnmatch_lines(["rltask: resuming *: 2 trials reused, none to be played"])
    suite.run("--runs", "1")
    result = suite.run("--runs", "1", "--resume=last", "--shard", "0/2")
    assert "it is a whole run; leave out --shard" in result.stderr.str()


def refused(suite: Suite, capsys: pytest.CaptureFixture[str], *runs: Path) -> str:
    capsys.readouterr()
    assert merged(suite, *runs) == 4
    assert not (suite.pytester.path / "whole").exists(), "nothing is left behind"
    return capsys.readouterr().err


@pytest.mark.slow
def test_what_does_not_make_one_run_is_refused(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    parts = shards(suite, 3, "--runs", "6")
    assert "1 of 3 shards missing: 1/3; name their runs as well, or play them with --shard 1/3" in refused(
        suite, capsys, parts[0], parts[2]
    )
    assert f"{parts[0]} and {parts[0]} are both shard 0/3" in refused(suite, capsys, *parts, parts[0])
    suite.run("--runs", "6")
    assert "is no shard: it was started without --shard I/N" in refused(suite, capsys, *parts, suite.run_dirs[-1])
    suite.run("--runs", "6", "--shard", "1/2")
    assert "these are shards of several runs: " in refused(suite, capsys, *parts, suite.run_dirs[-1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        slow({"arguments": ("--seed", "7")}, "1/2 were started with different options or tasks"),
        slow({"arguments": ("--gate", "proven")}, "gate is point in 0/2 and proven in 1/2"),
        slow({"arguments": ("--band", "20,50")}, "test_sum by policy:baseline: band is (0.1, 0.4) in 0/2 and"),
        slow({"model": "policy:solver"}, "planned different trials (only one has test_sum.py::test_sum by policy:"),
        ({"old": "submitted {self.answer}", "new": "sent {self.answer}"}, "grader is "),
    ],
)
def test_shards_of_different_runs_are_refused(
    suite: Suite, change: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suite.run("--runs", "4", "--shard", "0/2")
    if old := change.get("old"):
        tasks = suite.pytester.path / "tasks.py"
        tasks.write_text(tasks.read_text().replace(old, change["new"]))
    suite.run(
        "--runs", "4", "--shard", "1/2", *change.get("arguments", ()), model=change.get("model", "policy:baseline")
    )
    assert said in refused(suite, capsys, *suite.run_dirs[-2:])


def test_trials_that_were_not_played_are_named_with_the_way_to_play_them(
    suite: Suite, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = shards(suite, 2, "--runs", "4")
    (file,) = other.glob("trials.*.jsonl")
    lines = [line for line in file.read_text().splitlines(keepends=True) if "baseline-run-03]" not in line]
    file.write_text("".join(lines))
    told = refused(suite, capsys, one, other)
    assert "1 of 2 planned trials of shard 1/2 were not played (test_sum.py::test_sum[policy:baseline-run-03])" in told
    assert "play them with: pytest --model policy:baseline --shard 1/2 --runs 4" in told
    assert told.endswith(f" --resume={other}\n")


@pytest.mark.slow
def test_nothing_is_written_over(suite: Suite, capsys: pytest.CaptureFixture[str]) -> None:
    runs = shards(suite, 2, "--runs", "4")
    (suite.pytester.path / "whole").mkdir()
    assert merged(suite, *runs) == 4
    assert "whole exists, and nothing is written over" in capsys.readouterr().err
    shutil.rmtree(suite.pytester.path / "whole")
    assert merged(suite, *runs, gate="--gate=strict") == 1, "another gate may be asked"
