"""Trials under `-n`: others play what a dying worker leaves."""

from __future__ import annotations

import pytest

from tests.conftest import slow
from tests.plugin.meeting import NOBODY, Meeting, once

DIES = """
async def meeting(episode):
    if episode.run in RUNS:
        await until(lambda: WHEN)
        os._exit(1)
"""


def dies(*runs: int, when: str = "True") -> str:
    """Return a meeting that kills its worker in some runs, as soon as an expression holds."""
    return DIES.replace("RUNS", repr(runs)).replace("WHEN", when)


@pytest.mark.parametrize(("workers", "run"), [slow("1", 0), ("2", 3), slow("2", 7), slow("3", 3)])
def test_a_deadly_trial_is_errored_and_no_other_is_lost(pytester: pytest.Pytester, workers: str, run: int):
    suite = Meeting(pytester, "-n", workers)
    others = [other for other in range(8) if other != run]

    result = suite.play(dies(run), "--runs", "8", "--concurrency", "1")

    assert suite.count("trial") == once(*range(8)), "each has one record"
    assert suite.count("started") == once(*others) | {run: 2}
    text = result.stdout.str()
    assert f"crashed while running 'test_meet.py::test_meet[policy:meets-run-{run:02d}]'" in text
    assert text.count("replacing crashed worker") == 2
    (row,) = suite.report()["rows"]
    assert (row["errored"], row["lost"]) == (1, 0)
    (fault,) = row["faults"]
    assert fault.startswith("process fault: the process that played the trial died")
    assert (row["verdict"]["word"], result.ret) == ("incomplete", 1), "what kills its process may be what the model did"
    assert {row["failed"] for row in suite.report()["rows"]} == {sum(other % 3 != 0 for other in others)}
    assert "INTERNALERROR" not in text


def test_a_trial_that_dies_beside_others_is_told_from_them(pytester: pytest.Pytester):
    suite = Meeting(pytester, "-n", "2")

    # Run 4 is in flight with 0 and 2, and takes them with it; then it is by itself.
    result = suite.play(
        """
async def meeting(episode):
    if episode.run in (0, 2) and not pathlib.Path("met/second").exists():
        await until(lambda: False)
    if episode.run == 4:
        await until(lambda: here("here-*-0") and here("here-*-2"))
        pathlib.Path("met/second").touch()
        os._exit(1)
""",
        *("--runs", "10", "--concurrency", "3"),
    )

    others = [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert suite.count("trial") == once(*range(10))
    assert [run for run, outcome in suite.outcomes.items() if outcome == "errored"] == [4]
    assert suite.count("started") == once(*others) | {0: 2, 2: 2, 4: 2}
    text = result.stdout.str()
    assert "run-04]'" in text
    crashed = "crashed while running 'test_meet.py::test_meet[policy:meets-run-{:02d}]'"
    assert not [run for run in others if crashed.format(run) in text]


def test_what_was_finished_and_not_reported_is_not_played_again(pytester: pytest.Pytester):
    suite = Meeting(pytester, "-n", "2")

    # Run 0 waits, and so keeps the items of 2, 4 and 6 waiting, until these are on disk; then its worker dies, once.
    result = suite.play(
        """
def on_disk():
    lines = [line for file in pathlib.Path("logs").glob("*/trials.*.jsonl") for line in file.read_text().splitlines()]
    return sum('"type": "trial"' in line and any(f"run-0{run}" in line[:200] for run in (2, 4, 6)) for line in lines)
async def meeting(episode):
    if episode.run == 0 and not pathlib.Path("died").exists():
        await until(lambda: on_disk() == 3)
        pathlib.Path("died").touch()
        os._exit(1)
""",
        *("--runs", "8", "--concurrency", "4", "--band", "10,60"),
    )

    assert suite.count("started") == once(*range(1, 8)) | {0: 2}
    assert suite.count("trial") == once(*range(8))
    (dead,) = {suite.workers_of[run] for run in (2, 4, 6)}
    assert suite.workers_of[0] != dead
    result.assert_outcomes(passed=3)
    assert result.ret == 0, "nothing was lost, and nothing failed"


@pytest.mark.slow
def test_two_workers_that_die_at_once_lose_nothing(pytester: pytest.Pytester):
    suite = Meeting(pytester, "-n", "2")

    result = suite.play(
        """
async def meeting(episode):
    if episode.run < 2 and not here(f"died-{episode.run}"):
        await until(lambda: here("here-*-0") and here("here-*-1"))
        pathlib.Path(f"met/died-{episode.run}").touch()
        await until(lambda: here("died-*") == 2)
        os._exit(1)
""",
        *("--runs", "8", "--concurrency", "2", "--band", "10,60"),
    )

    assert suite.count("trial") == once(*range(8))
    assert max(suite.count("started").values()) == 2
    result.assert_outcomes(passed=3)
    assert result.ret == 0


def test_a_test_that_kills_its_worker_twice_leaves_its_trial_unjudged(pytester: pytest.Pytester):
    suite = Meeting(pytester, "-n", "1")
    suite.write(
        test_meet="""
        from meet import *
        @pytest.mark.rltask(task=Meet())
        def test_meet(trial):
            if trial.run == 2:
                os._exit(1)
            assert trial.passed
        """.replace("trial.run", "trial.record.run")
    )

    suite.run("--runs", "6", model="policy:meets")

    assert suite.count("started")[2] == 1, "its record was on disk"
    outcomes = {record.run: record.outcome for record in suite.last_run().records.values()}
    assert outcomes == {0: "passed", 1: "failed", 2: "errored", 3: "passed", 4: "failed", 5: "failed"}


def test_an_ordinary_test_that_kills_its_worker_is_reported_at_once(pytester: pytest.Pytester):
    suite = Meeting(pytester, "-n", "2")

    result = suite.play(
        NOBODY,
        *("--runs", "6", "--band", "10,60"),
        test_a="import os\ndef test_dies(): os._exit(1)\ndef test_fine(): pass\n",
    )

    result.assert_outcomes(passed=2 + 1, failed=1)
    assert suite.count("trial") == suite.count("started") == once(*range(6))


@pytest.mark.parametrize(("restarts", "plays"), [(0, 1), slow(1, 2)])
def test_where_no_worker_is_restarted_the_run_ends_and_is_not_green(
    pytester: pytest.Pytester, restarts: int, plays: int
):
    suite = Meeting(pytester, "-n", "2", "--max-worker-restart", str(restarts))

    result = suite.play(dies(0), "--runs", "20", "--concurrency", "1", "--band", "0,100")

    text = result.stdout.str()
    assert "INTERNALERROR" not in text
    assert "crashed while running 'test_meet.py::test_meet[policy:meets-run-00]'" in text
    assert suite.count("started")[0] == plays
    assert set(suite.count("trial").values()) == {1}
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    summary = (suite.run_dirs[-1] / "summary.md").read_text()
    assert "undecided, since a process that played died 1 time (" in summary, "and not since it was interrupted"
