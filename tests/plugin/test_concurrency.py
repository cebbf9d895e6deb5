"""`--concurrency`: trials in flight at once in one process, while their items report in order."""

from __future__ import annotations

import importlib

import pytest

from tests.conftest import Suite

# Episodes that meet: each counts how many of them are at the same place at once, and may wait for others there.
MEET = '''
import asyncio, threading, time
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Limits, Task, call, tool

@dataclass
class Place:
    """How many are here now, and were at most."""
    here: int = 0
    most: int = 0
    lock = threading.Lock()
    def enter(self):
        with self.lock:
            self.here += 1
            self.most = max(self.most, self.here)
    def leave(self):
        with self.lock:
            self.here -= 1

talking, computing = Place(), Place()
opened, closed = [], []

class MeetEpisode(Episode):
    def __init__(self, task, seed):
        self.task, self.seed = task, seed
        opened.append(seed)
    @property
    def prompt(self):
        return "Meet."
    @tool
    async def talk(self, others: int) -> str:
        """Wait, without computing, until so many are here."""
        talking.enter()
        end = time.monotonic() + 30
        while talking.most < others and time.monotonic() < end:
            await asyncio.sleep(0.001)
        talking.leave()
        return "talked"
    @tool
    def compute(self) -> str:
        """Compute for as long as another thread takes to be seen here."""
        computing.enter()
        time.sleep(0.02)
        computing.leave()
        return "computed"
    def grade(self):
        return Grade(1.0, threshold=1.0, metrics={"talking": talking.most, "computing": computing.most})
    def close(self):
        closed.append(self.seed)

def talks(number):
    def policy(view):
        yield call("talk", others=number)
    return policy

def computes(view):
    for _ in range(3):
        yield call("compute")

def blocks(view):
    threading.Event().wait(0.05)
    yield call("talk", others=3)

@dataclass(frozen=True)
class Meet(Task):
    policies = {"three": talks(3), "one": talks(1), "computes": computes, "blocks": blocks}
    def open(self, seed):
        return MeetEpisode(self, seed)
'''

TEST = """
from meet import *
@pytest.mark.rltask(task=Meet(), band=(0.5, 1.0))
def test_meet(trial):
    assert trial.passed
"""


@pytest.fixture
def meet(pytester: pytest.Pytester) -> Suite:
    """A suite of episodes that meet, in one process."""
    suite = Suite(pytester)
    (pytester.path / "test_sum.py").unlink()
    return suite.write(meet=MEET, test_meet=TEST)


def most(suite: Suite, place: str) -> int:
    """Return how many episodes were at a place at once."""
    return max(record.metrics[place] for record in suite.last_run().records.values())


def test_as_many_trials_are_in_flight_as_the_option_says(meet: Suite):
    result = meet.run("--runs", "7", "--concurrency", "3", model="policy:three")

    assert result.ret == pytest.ExitCode.OK
    assert most(meet, "talking") == 3


def test_one_at_a_time_is_one_at_a_time(meet: Suite):
    meet.run("--runs", "4", "--concurrency", "1", model="policy:one")

    assert most(meet, "talking") == 1


def test_sequential_runs_are_one_at_a_time_whatever_the_concurrency(meet: Suite):
    meet.run("--runs", "4", "--concurrency", "3", "--sequential", model="policy:one")

    assert most(meet, "talking") == 1


def test_trials_compute_on_as_many_cores_as_there_are(meet: Suite, monkeypatch: pytest.MonkeyPatch):
    # Not by its dotted name: inner runs replace the module, but not the package's attribute.
    monkeypatch.setattr(importlib.import_module("pytest_rltask.suite.playing"), "usable_cores", lambda: 1)

    meet.run("--runs", "6", "--concurrency", "6", model="policy:computes")

    assert most(meet, "computing") == 1


def test_a_policy_that_thinks_for_long_holds_up_no_other_trial(meet: Suite):
    result = meet.run("--runs", "3", "--concurrency", "3", model="policy:blocks")

    assert result.ret == pytest.ExitCode.OK
    assert most(meet, "talking") == 3


def test_items_report_in_order_whichever_trial_ends_first(meet: Suite):
    result = meet.run("--runs", "5", "--concurrency", "3", "-v", model="policy:three")

    result.stdout.fnmatch_lines([f"*test_meet*run-{run:02d}*PASSED*" for run in range(5)])
    assert len(meet.last_run().records) == 5


def test_a_trial_waits_for_the_fixtures_that_are_set_up_for_its_item_alone(meet: Suite):
    meet.write(
        test_meet="""
        from meet import *
        @pytest.fixture
        def server():
            before = len(opened)
            yield
            assert len(opened) == before + 1, "opened between this set-up and its tear-down"
        @pytest.mark.rltask(task=Meet(), band=(0.5, 1.0))
        def test_meet(server, trial):
            assert trial.passed
        """
    )

    result = meet.run("--runs", "4", "--concurrency", "4", model="policy:one")

    result.assert_outcomes(passed=4)
    assert result.ret == pytest.ExitCode.OK


def test_a_fixture_of_the_session_keeps_no_trial_waiting(meet: Suite):
    meet.write(
        test_meet="import pytest\n@pytest.fixture(scope='session', autouse=True)\ndef server():\n    yield\n" + TEST
    )

    meet.run("--runs", "3", "--concurrency", "3", model="policy:three")

    assert most(meet, "talking") == 3


def test_a_run_that_ends_early_closes_what_it_started(meet: Suite):
    meet.write(
        test_meet=TEST,
        conftest="""
        import pytest
        def pytest_runtest_logreport(report):
            if report.when == "call":
                raise KeyboardInterrupt
        def pytest_unconfigure():
            import meet
            print("still open:", sorted(set(meet.opened) - set(meet.closed)))
        """,
    )

    result = meet.pytester.runpytest_subprocess("--runs=9", "--concurrency=3", "-s", "--model=policy:three")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*still open: []*"])
    assert 1 <= len(meet.last_run().records) <= 9
