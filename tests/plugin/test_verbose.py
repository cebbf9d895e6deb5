"""``-v``: each trial as it ends, all of it, harmless to the terminal; and what interrupted runs end with."""

from __future__ import annotations

import pytest

from tests.conftest import Suite

SHOUTING = """
from tasks import *

def shouts(view):
    yield call("shout", text="\\x1b[2J\\x1b[31mx", times=300)
    yield "\\x1b]0;title\\x07 done"

class Shouting(Sum):
    policies = {"shouts": shouts, "crash": crash}

@pytest.mark.rltask(task=Shouting())
def test_shouts(trial):
    assert trial.passed
"""


def test_verbose_shows_what_was_said_uncut_and_what_would_move_the_cursor_as_signs(any_suite: Suite):
    any_suite.write(test_sum=SHOUTING)

    result = any_suite.run("-v", "--runs", "2", model="policy:shouts")

    text = result.stdout.str()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert text.count("␛[2J␛[31mx" * 300) == 2
    assert text.count("␛]0;title␇ done") == 2
    assert text.count("--- missed ---") == 2
    at = [number for number, line in enumerate(result.outlines) if "MISSED" in line]
    assert len(at) == 2
    assert all("task shouting" in "".join(result.outlines[number : number + 4]) for number in at)


def test_an_errored_trial_is_shown_too(suite: Suite):
    suite.write(test_sum=SHOUTING)

    result = suite.run("-v", "--runs", "1", model="policy:crash")

    result.stdout.fnmatch_lines(["*-run-00] ERROR*", "--- turn 1 · calls crash *", "--- errored *", "*= ERRORS =*"])


def test_nothing_of_it_is_shown_unless_asked_for(suite: Suite):
    assert "calls submit" not in suite.run("--runs", "1").stdout.str()


def test_the_gate_has_a_line_without_progress(any_suite: Suite):
    result = any_suite.run("-v", "--runs", "3")

    assert "test_sum.py::test_sum[policy:baseline-gate] IN BAND" in result.outlines
    assert "133%" not in result.stdout.str()


def test_a_trial_without_its_pass_is_missed_in_every_word(suite: Suite):
    suite.run("-rA", "--runs", "1", "--gate", "proven", model="policy:null")
    result = suite.run("-rA", "-vv", "--runs", "1", "--gate", "proven", model="policy:null")

    told = result.stdout.str()
    assert "MISSED" in told
    assert [word for word in ("xfail", "skipped", "failed") if word in told.lower()] == []
    (transcript,) = (suite.run_dirs[0] / "transcripts").iterdir()
    assert "failed" not in transcript.read_text()


INTERRUPTED = """
import pathlib, time
from tasks import *

def ended():
    return sum(file.read_text().count('"type": "trial"') for file in pathlib.Path("logs").glob("run_*/trials.*.jsonl"))

@pytest.mark.rltask(task=Sum())
def test_sum(trial):
    if trial.record.run == 1:
        while ended() < 4:  # those behind are played ahead
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert trial.passed
"""


def test_the_last_line_of_an_interrupted_run_counts_what_its_table_counts(suite: Suite):
    suite.write(test_sum=INTERRUPTED)

    result = suite.pytester.runpytest_subprocess("--model=policy:baseline", "--runs=4", "--concurrency=2")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert "  1 of 4 passed · score 0.250 · 1.0 turns" in result.stdout.str()
    assert result.outlines[-1].strip("= ").startswith("1 passed, 3 missed in ")
