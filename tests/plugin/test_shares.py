"""Trials under `-n`: each worker plays a share of them, many at once, up to an early end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import slow
from tests.plugin.meeting import MEET, NOBODY, TEST, Meeting, once

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
    "workers", [(), slow(("-n", "1")), slow(("-n", "4")), slow(("-n", "2", "--dist", "loadfile"))], ids=str
)
def test_scores_do_not_depend_on_the_workers(pytester: pytest.Pytester, workers: tuple[str, ...]):
    suite = Meeting(pytester, *workers)

    result = suite.play(NOBODY, "--runs", "7", "--concurrency", "2", "--band", "10,60")

    names = [f"test_meet.py::test_meet[policy:meets-run-{n:02d}]" for n in range(7)]
    assert suite.scores == {name: float(n in (0, 3, 6)) for n, name in enumerate(names)}
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


@pytest.mark.parametrize("workers", [2, slow(3)])
def test_trials_of_several_models_and_tests_are_dealt_alike(pytester: pytest.Pytester, workers: int):
    suite = Meeting(pytester, "-n", str(workers))
    more = (
        TEST.replace("MEETING", NOBODY).replace("meeting)", 'meeting), name="other"').replace("test_meet", "test_other")
    )

    suite.write(meet=MEET.replace('"meets":', '"stays": lambda view: (yield "no"), "meets":'))
    suite.play(NOBODY, "--runs", "4", "--model", "policy:stays", test_other=more)

    records = suite.last_run().records
    assert len(records) == 16
    dealt: dict[str, set[int]] = {}
    for number, trial in enumerate(suite.last_run().plan):
        dealt.setdefault(records[trial.trial_id].info["worker"], set()).add(number % workers)
    assert sorted(dealt.values(), key=min) == [{number} for number in range(workers)]


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


# ---- an early end ----


# The controller tells when it has heard of a failure; cleaning up may take its time.
TELLS = """
import pathlib
from pytest_rltask.engines.local import LocalPlayer

class Tells:
    def pytest_runtest_logreport(self, report):
        if report.failed:
            pathlib.Path("told").touch()

def pytest_configure(config):
    if hasattr(config, "workerinput"):
        LocalPlayer.cleanup_s = 60.0
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
