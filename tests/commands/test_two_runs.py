"""``rltask compare`` and ``rltask calibrate`` as typed: what is printed, and the exit status."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from pytest_rltask.cli import main
from tests.analysis.judged_runs import ended, on_disk, run_of, trials_of

SCORES = [n / 20 for n in range(20)]


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Three runs: one, one that is worse, and one of other seeds."""
    mixed = ended("p" * 10 + "m" * 10)
    on_disk(run_of(trials_of(mixed), name="run_first", created="2026-01-01"), tmp_path)
    on_disk(run_of(trials_of(ended("m" * 20)), name="run_worse", created="2026-01-02"), tmp_path)
    scored = trials_of(ended("m" * 11 + "p" * 9), SCORES, threshold=0.55, seed=900)
    on_disk(run_of(scored, name="run_other", created="2026-01-03"), tmp_path)
    return tmp_path


def test_two_runs_are_compared(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "first", "worse", "--log-dir", str(logs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["A run_first", "B run_worse"]
    assert lines[3:11] == [
        "sum by claude-haiku-4-5-20251001: B is worse, at 5 %",
        "  A           10/20 = 50 % (27-73 %)",
        "  B           0/20 = 0 % (0-17 %)",
        "  B - A       -50 points (-70 to -24), McNemar p = 0.002",
        "  pairs       20 by seed      B passed  B missed",
        "                    A passed         0        10",
        "                    A missed         0        10",
        "  scores A    0 [█                  █] 1  0 to 1, quartiles 0, 0.5, 1",
    ]


@pytest.mark.parametrize(
    ("runs", "fail_on", "status"),
    [
        (("first", "worse"), "worse", 1),
        (("worse", "first"), "worse", 0),
        (("worse", "first"), "changed", 1),
        (("first", "first"), "changed", 0),
        (("first", "last"), "worse", 0),
    ],
)
def test_the_exit_status_is_what_ci_asks_for(
    runs: tuple[str, str], fail_on: str, status: int, logs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *runs, "--log-dir", str(logs), "--fail-on", fail_on]) == status
    assert bool(capsys.readouterr().err) == bool(status)


def test_nothing_in_common_cannot_hold(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_disk(run_of(trials_of(ended("pm"), task="words"), name="run_words"), logs)
    words = ["compare", "first", "words", "--log-dir", str(logs)]
    assert main([*words, "--fail-on", "worse"]) == 4
    assert "first and words have no task in common that both judged" in capsys.readouterr().err
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "only in A   sum by claude-haiku-4-5-20251001" in told
    assert "only in B   words by claude-haiku-4-5-20251001" in told


def test_what_one_run_did_not_judge_cannot_hold_either(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_disk(run_of(trials_of(ended("e" * 20)), name="run_down"), logs)
    assert main(["compare", "first", "down", "--log-dir", str(logs), "--fail-on", "changed"]) == 4
    assert "in common that both judged" in capsys.readouterr().err


def test_a_comparison_is_one_json_object_or_markdown(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["compare", "first", "last", "--log-dir", str(logs), "--json"])
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["pairs"], row["unpaired"]) == (None, "seeds differ (0 of 20 in both)")
    assert row["p"] == pytest.approx(1.0)

    main(["compare", "first", "worse", "--log-dir", str(logs), "--markdown"])
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "### run\\_first (A) and run\\_worse (B)"
    assert told[4].startswith(
        "| sum | claude-haiku-4-5-20251001 | 10/20 = 50 % (27-73 %) | 0/20 = 0 % (0-17 %) | -50 ("
    )
    assert told[4].endswith(" | 0 | 10 | 0 | 10 | 0.002 | worse |")


def test_a_threshold_is_proposed(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "last", "--log-dir", str(logs)]) == 0
    told = capsys.readouterr().out
    assert "proposed        0.75  5 of 20        0.91" in told
    assert "--runs 50 --seed 920" in told

    assert main(["calibrate", "last", "--log-dir", str(logs), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["cuts"][0]["threshold"], row["refusal"], row["keep"]) == (0.75, None, False)


def test_a_refusal_is_an_answer(logs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "first", "--log-dir", str(logs)]) == 0
    assert "no proposal the scores are 0 and 1 alone" in capsys.readouterr().out


def test_a_run_without_trials_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_disk(run_of(name="run_empty"), tmp_path)
    assert main(["calibrate", "empty", "--log-dir", str(tmp_path)]) == 4
    assert "this run planned no trial" in capsys.readouterr().err


SUITE = """
import random
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Task, call, tool

def go(view):
    yield call("look")

class E(Episode):
    prompt = property(lambda self: "Look.")
    def __init__(self, task, seed):
        self.task, self.seed = task, seed
    @tool
    def look(self) -> str:
        "Look."
        return "seen"
    def grade(self):
        return Grade(random.Random(self.seed).random(), threshold=self.task.tau)

@dataclass(frozen=True)
class Luck(Task):
    tau: float = TAU
    policies = {"baseline": go}
    def open(self, seed):
        return E(self, seed)

@pytest.mark.rltask(task=Luck())
def test_luck(trial):
    assert trial.score >= trial.task.tau
"""


def test_a_threshold_is_calibrated_set_and_compared(
    pytester: pytest.Pytester, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a run to its proposal, to a run of fresh seeds as commanded, to what differs between the two."""
    pytester.makepyfile(SUITE.replace("TAU", "0.1"))
    pytester.runpytest("--model", "policy:baseline", "--runs", "20")
    capsys.readouterr()
    assert main(["calibrate", "last", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["today"]["field"], row["today"]["passed"] > 12) == ("tau", True)

    pytester.makepyfile(SUITE.replace("TAU", str(row["cuts"][0]["threshold"])))
    pytester.runpytest(*shlex.split(row["fresh"])[1:], "--seed", "42", "--runs", "20")  # the seeds that it would avoid
    capsys.readouterr()
    first, last = sorted(path.name for path in Path("logs").glob("run_*"))
    assert main(["compare", first, last, "--fail-on", "worse"]) == 1
    told = capsys.readouterr().out
    assert "B is worse, at 5 %" in told
    assert "unpaired    task changed" in told
    assert f"grader      tau was 0.1, is {row['cuts'][0]['threshold']!r}" in told
    assert "B           5/20 = 25 % (9-49 %)" in told
