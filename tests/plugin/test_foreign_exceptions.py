"""What other plugins raise while pytest waits for a trial: it ends the item, and no trial."""

from __future__ import annotations

import pytest

from tests.conftest import WAYS, WAYS_IDS, Suite

# As the signal method of pytest-timeout does it: a handler raises in pytest's thread, wherever that is. Here it does so
# while that thread waits for the trial whose tool sends the signal.
TASK = '''
import asyncio, signal, sys, threading, time
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Limits, Task, call, tool

due = [threading.Event() for _ in range(4)]
reported = [threading.Event() for _ in range(4)]
ended = threading.Event()

def waits():
    """Say whether pytest's thread waits for a trial."""
    frame = sys._current_frames()[threading.main_thread().ident]
    while frame is not None:
        if frame.f_code.co_filename.endswith("engines/engine.py"):
            return True
        frame = frame.f_back
    return False

class SlowEpisode(Episode):
    prompt = "Wait."
    def __init__(self, run):
        self.run, self.calls = run, 0
    @tool
    async def wait(self) -> str:
        """Wait without computing until the item is reported, which it is before the trial ends."""
        await asyncio.to_thread(self.timed_out)
        return "waited"
    def timed_out(self):
        assert due[self.run].wait(60)
        end = time.monotonic() + 60
        while not waits():
            assert time.monotonic() < end
            time.sleep(0.001)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)
        assert reported[self.run].wait(60)
        if self.run == 3:
            assert ended.wait(60)
    @tool
    def work(self) -> str:
        """Work."""
        self.calls += 1
        return "worked"
    def grade(self):
        return Grade(float(self.calls), threshold=1.0)

def moves(view):
    yield call("wait")
    yield call("work")

@dataclass(frozen=True)
class Slow(Task):
    policies = {"moves": moves}
    def open(self, seed):
        return SlowEpisode(seed - 42)
'''

CONFTEST = """
import signal
import pytest
import slow

def raises(number, frame):
    pytest.fail("Timeout (>5.0s) from somebody else.")

signal.signal(signal.SIGALRM, raises)

@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef, request):
    if fixturedef.argname == "trial":
        slow.due[int(request.node.name.rpartition("run-")[2][:2])].set()

def pytest_runtest_logfinish(nodeid):
    for run in range(4):
        if f"run-{run:02d}" in nodeid:
            slow.reported[run].set()

@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish():
    slow.ended.set()
    return (yield)
"""

TEST = """
import pytest
from slow import Slow

@pytest.mark.rltask(task=Slow(), band=(0.5, 1.0))
def test_slow(trial):
    assert trial.passed
"""


@pytest.fixture
def slow(pytester: pytest.Pytester) -> Suite:
    """A suite in which a signal's handler raises while an item waits for its trial."""
    suite = Suite(pytester)
    (pytester.path / "test_sum.py").unlink()
    return suite.write(slow=TASK, test_slow=TEST, conftest=CONFTEST)


@pytest.mark.parametrize("workers", WAYS, ids=WAYS_IDS)
def test_a_time_limit_of_another_plugin_ends_the_item_and_no_trial(slow: Suite, workers: tuple[str, ...]):
    result = slow.pytester.runpytest_subprocess("--model=policy:moves", "--runs=4", "--concurrency=4", *workers)

    result.assert_outcomes(errors=4)
    result.stdout.fnmatch_lines(
        ["*Timeout (>5.0s) from somebody else.*", "slow by policy:moves: *", "  4 of 4 passed *"]
    )
    result.stdout.no_fnmatch_line("*CancelledError*")
    assert result.ret == pytest.ExitCode.TESTS_FAILED, "an item is errored"
    records = slow.last_run().records
    assert [record.outcome for record in records.values()] == ["passed"] * 4
    assert {record.tool_calls for record in records.values()} == {2}

    resumed = slow.pytester.runpytest_subprocess("--model=policy:moves", "--runs=4", "--resume=last")

    resumed.assert_outcomes(passed=4)
    resumed.stdout.fnmatch_lines(["*4 trials reused, none to be played*"])
