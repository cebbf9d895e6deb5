"""Trials under `-n`: each worker plays a share of them, many at once; others play what a dying worker leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tests.conftest import Suite, slow

# An episode whose trials wait for each other by files, and die where they are told to.
MEET = '''
import asyncio, os, pathlib, signal, time
from dataclasses import dataclass, field
import pytest
from pytest_rltask import Episode, Grade, Task, call, tool

async def until(true):
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "it never came"
        await asyncio.sleep(0.01)

def here(pattern="*"):
    return len(list(pathlib.Path("met").glob(pattern)))

class MeetEpisode(Episode):
    def __init__(self, task, seed):
        self.task, self.run, self.score = task, seed - 42, None
        self.worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    @property
    def prompt(self):
        return "Meet."
    @property
    def info(self):
        return {"worker": self.worker}
    def file(self, name):
        pathlib.Path("met").mkdir(exist_ok=True)
        return pathlib.Path("met") / f"{name}-{self.task.name}-{self.run}"
    @tool
    async def meet(self) -> str:
        """Meet others."""
        self.file("here").touch()
        await self.task.meeting(self)
        self.score = float(self.run % 3 == 0)
        return "met"
    def grade(self):
        return Grade(self.score or 0.0, threshold=1.0)
    def close(self):
        self.file("done").touch()

async def nobody(episode):
    pass

@dataclass(frozen=True)
class Meet(Task):
    meeting: object = field(default=nobody, metadata={"content": False})
    policies = {"meets": lambda view: (yield call("meet"))}
    def open(self, seed):
        return MeetEpisode(self, seed)
    def digest(self):
        return "d" * 16
'''

TEST = """
from meet import *
MEETING
@pytest.mark.rltask(task=Meet(meeting))
def test_meet(trial):
    assert trial.passed
"""

NOBODY = "meeting = nobody"


class Meeting(Suite):
    """A suite whose trials meet."""

    def __init__(self, pytester: pytest.Pytester, *workers: str) -> None:
        super().__init__(pytester, workers)
        (pytester.path / "test_sum.py").unlink()
        self.write(meet=MEET)

    def play(self, meeting: str, *arguments: str, **files: str) -> pytest.RunResult:
        """Run the inner pytest with a meeting: `async def meeting(episode)`."""
        self.write(test_meet=TEST.replace("MEETING", dedent(meeting)), **files)
        return self.run(*arguments, model="policy:meets")

    def lines(self, kind: str) -> list[dict[str, Any]]:
        """Return the lines of a kind of the newest run, of all its writers."""
        files = self.run_dirs[-1].glob("trials.*.jsonl")
        entries = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        return [entry for entry in entries if entry["type"] == kind]

    def count(self, kind: str) -> dict[int, int]:
        """Return how many lines of a kind there are of each run."""
        return dict(Counter(int(line["trial_id"].split("run-")[1][:2]) for line in self.lines(kind)))

    @property
    def workers_of(self) -> dict[int, str]:
        """The worker that finished each run."""
        return {record.run: record.info["worker"] for record in self.last_run().records.values()}

    @property
    def outcomes(self) -> dict[int, str]:
        """The outcome of each run."""
        return {record.run: record.outcome for record in self.last_run().records.values()}

    @property
    def scores(self) -> dict[str, float | None]:
        """The score of each trial."""
        return {trial_id: record.score for trial_id, record in sorted(self.last_run().records.items())}


def once(*runs: int) -> dict[int, int]:
    """Return that each of the runs was counted once."""
    return dict.fromkeys(runs, 1)


# ---- shares ----


@pytest.mark.parametrize("dist", ["load", *map(slow, ["worksteal", "loadgroup"])])
def test_two_workers_have_as_many_trials_in_flight_as_each_may(pytester: pytest.Pytester, dist: str):
    suite = Meeting(pytester, "-n", "2", "--dist", dist)

    suite.play(
        """
        async def meeting(episode):
            await until(lambda: here("here-*") == 6)
""",
        *("--runs", "6", "--concurrency", "3"),
    )

    assert {record.outcome for record in suite.last_run().records.values()} == {"passed", "failed"}
    assert suite.count("started") == once(*range(6))
    shares = {tuple(run for run in range(6) if suite.workers_of[run] == worker) for worker in ("gw0", "gw1")}
    assert shares == {(0, 2, 4), (1, 3, 5)}


def test_each_worker_keeps_its_own_concurrency(pytester: pytest.Pytester):
    suite = Meeting(pytester, "-n", "2")

    suite.play(
        """
async def meeting(episode):
    await until(lambda: here("here-*") >= min(6, 2 * (1 + here("done-*") // 2)))
    flying = here("here-*") - here("done-*")
    assert flying <= 4, flying
""",
        *("--runs", "12", "--concurrency", "2"),
    )

    assert len(suite.last_run().records) == 12
    assert not [record for record in suite.last_run().records.values() if record.fault]


@pytest.mark.parametrize(
    "workers", [(), ("-n", "1"), slow(("-n", "4")), slow(("-n", "2", "--dist", "loadfile"))], ids=str
)
def test_scores_do_not_depend_on_the_workers(pytester: pytest.Pytester, workers: tuple[str, ...]):
    suite = Meeting(pytester, *workers)

    result = suite.play(NOBODY, "--runs", "7", "--concurrency", "2", "--band", "10,60")

    assert suite.scores == {f"test_meet.py::test_meet[run-{n:02d}]": float(n in (0, 3, 6)) for n in range(7)}
    assert suite.count("started") == once(*range(7))
    result.assert_outcomes(passed=3)
    assert result.ret == 0


@pytest.mark.parametrize("before", [True, slow(False)])
def test_ordinary_tests_are_spread_one_by_one_beside_trials(pytester: pytest.Pytester, before: bool):
    suite = Meeting(pytester, "-n", "2")

    result = suite.play(
        NOBODY,
        *("--runs", "5", "--concurrency", "2", "--band", "10,60"),
        **{
            "test_a" if before else "test_z": """
            from meet import *
            @pytest.mark.parametrize("number", range(4))
            def test_plain(number):
                pathlib.Path(f"plain-{number}").touch()
                end = time.monotonic() + 60
                while MEET and number < 2 and len(list(pathlib.Path().glob("plain-[01]"))) < 2:
                    assert time.monotonic() < end
            """.replace("MEET", str(before))
        },
    )

    result.assert_outcomes(passed=2 + 4)
    assert suite.count("trial") == once(*range(5))


def test_trials_of_several_models_and_tests_are_dealt_alike(pytester: pytest.Pytester):
    suite = Meeting(pytester, "-n", "3")
    more = (
        TEST.replace("MEETING", NOBODY).replace("meeting)", 'meeting), name="other"').replace("test_meet", "test_other")
    )

    suite.write(meet=MEET.replace('"meets":', '"stays": lambda view: (yield "no"), "meets":'))
    suite.play(NOBODY, "--runs", "4", "--model", "policy:stays", test_other=more)

    records = suite.last_run().records
    assert len(records) == 16
    dealt: dict[str, set[int]] = {}
    for number, trial in enumerate(suite.last_run().plan):
        dealt.setdefault(records[trial.trial_id].info["worker"], set()).add(number % 3)
    assert sorted(dealt.values(), key=min) == [{0}, {1}, {2}]


def test_a_worker_does_not_start_ahead_what_it_cannot_know_to_be_its_own(pytester: pytest.Pytester):
    pytester.makeconftest(
        """
        from xdist.scheduler import LoadScheduling
        def pytest_xdist_make_scheduler(config, log):
            class Mine(LoadScheduling):
                pass
            return Mine(config, log)
        """
    )
    suite = Meeting(pytester, "-n", "2")

    result = suite.play(NOBODY, "--runs", "8", "--concurrency", "4", "-v")

    result.stdout.fnmatch_lines(["scheduling tests via Mine"])
    assert suite.count("started") == once(*range(8))
    assert suite.lines("dealt") == []


@pytest.mark.parametrize(
    ("dist", "name"),
    [
        ("load", "LoadScheduling"),
        slow("worksteal", "WorkStealingScheduling"),
        slow("loadgroup", "LoadGroupScheduling"),
    ],
)
def test_a_suite_without_trials_is_scheduled_by_xdist(pytester: pytest.Pytester, dist: str, name: str):
    pytester.makepyfile("import pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_n(n): pass\n")

    result = pytester.runpytest("-n", "2", "--dist", dist, "-v")

    result.assert_outcomes(passed=20)
    result.stdout.fnmatch_lines([f"scheduling tests via {name}"])


def test_a_crash_in_a_suite_without_trials_is_left_to_xdist(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import os, pytest
        @pytest.mark.parametrize("n", range(8))
        def test_n(n):
            if n == 3:
                os._exit(1)
        """
    )

    result = pytester.runpytest("-n", "2")

    result.assert_outcomes(passed=7, failed=1)


# ---- workers that die ----

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
    assert f"crashed while running 'test_meet.py::test_meet[run-{run:02d}]'" in text
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
    assert not [run for run in others if f"crashed while running 'test_meet.py::test_meet[run-{run:02d}]'" in text]


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
    suite = Meeting(pytester, "-n", "2")
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
    assert "crashed while running 'test_meet.py::test_meet[run-00]'" in text
    assert suite.count("started")[0] == plays
    assert set(suite.count("trial").values()) == {1}
    assert result.ret == pytest.ExitCode.TESTS_FAILED


# ---- an early end ----


# The controller tells when it has heard of a failure; cleaning up may take its time.
TELLS = """
import pathlib
from pytest_rltask.engines import local

class Tells:
    def pytest_runtest_logreport(self, report):
        if report.failed:
            pathlib.Path("told").touch()

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        local.CLEANUP_S = 60.0
    else:
        config.pluginmanager.register(Tells())
"""


def test_a_run_that_is_stopped_plays_no_whole_share(pytester: pytest.Pytester):
    suite = Meeting(pytester, "-n", "2")

    # While run 1 fails on one worker, the other is at its first item, and holds the second.
    suite.write(conftest=TELLS)
    suite.write(
        test_meet="""
        from meet import *
        async def meeting(episode):
            if episode.run == 1:
                await until(lambda: here("here-*-0"))
                raise ValueError("a bug of the task")
            await until(pathlib.Path("told").exists)
            if episode.run >= 8:
                await asyncio.sleep(60)  # it is cancelled before
        @pytest.mark.rltask(task=Meet(meeting))
        def test_meet(trial):
            pathlib.Path(f"met/item-{trial.record.run}").touch()
        """
    )
    result = suite.run("-x", "--runs", "40", "--concurrency", "4", model="policy:meets")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    item, here, done = (
        {path.name.split("-")[-1] for path in Path("met").glob(f"{it}-*")} for it in ("item", "here", "done")
    )
    assert item == {"0", "2"}, "it plays the two items that it holds"
    assert set(suite.count("started")) <= set(range(16)), "four in flight each, after four that ended"
    assert max(suite.count("started").values()) == 1
    assert 1 in suite.count("trial")
    assert set(suite.count("trial")) <= set(range(8))
    assert here <= done, "those in flight are cancelled, which closes their episodes"


@pytest.mark.parametrize(
    "whom", [slow("os.kill(os.getppid(), signal.SIGINT)"), "os.killpg(os.getpgrp(), signal.SIGINT)"]
)
def test_an_interrupt_ends_the_workers_quickly(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, whom: str):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    suite = Meeting(pytester, "-n", "2")
    meeting = f"""
async def meeting(episode):
    if episode.run == 2:
        await until(lambda: here("here-*") == 4)
        {whom}
    await until(lambda: False)
"""
    suite.write(test_meet=TEST.replace("MEETING", meeting))

    process = pytester.popen(
        [sys.executable, "-m", "pytest", "-n", "2", "--model", "policy:meets", "--concurrency", "2"],
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    out, _ = process.communicate(timeout=50)  # a meeting would last longer

    assert process.returncode == pytest.ExitCode.INTERRUPTED, out.decode()
    assert suite.count("started") == once(*range(4))
