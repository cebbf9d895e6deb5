"""Plugins and libraries of others, the real ones, beside trials in flight: `make compat` installs them."""

from __future__ import annotations

import pytest

from tests.conftest import Suite
from tests.plugin.test_foreign_tests import meanwhile, played

__all__ = ["meanwhile"]  # a fixture

LONG = """
import threading
from tasks import *

def long(view):
    threading.Event().wait(1.2)  # longer than the time limit for tests
    yield call("submit", number=view.seed + 1)

@dataclass(frozen=True)
class Long(Sum):
    policies = {"long": long}
    def open(self, seed):
        return SumEpisode(self, seed)
"""
TEST = """
from long import *

@pytest.mark.rltask(task=Long(), band=(0.5, 1.0))
def test_sum(trial):
    assert trial.score >= 1.0
"""


@pytest.fixture
def long(suite: Suite) -> Suite:
    """A suite whose trials take longer than pytest-timeout lets tests take."""
    pytest.importorskip("pytest_timeout")
    suite.pytester.makeini("[pytest]\ntimeout = 1\n")
    return suite.write(long=LONG, test_sum=TEST)


def assert_untouched(suite: Suite, result: pytest.RunResult) -> None:
    result.assert_outcomes(passed=3)
    for record in suite.last_run().records.values():
        assert (record.outcome, record.limit) == ("passed", None)
        assert 0 <= record.seconds["total"] < 600
        assert record.started > "2026"


@pytest.mark.parametrize("tick", [False, True])
def test_freezegun_freezes_no_trial(meanwhile: Suite, tick: bool):
    pytest.importorskip("freezegun")

    result = played(meanwhile, f"__import__('freezegun').freeze_time('2024-05-04', tick={tick})")

    assert_untouched(meanwhile, result)


def test_time_machine_takes_no_trial_along(meanwhile: Suite):
    pytest.importorskip("time_machine")

    result = played(meanwhile, "__import__('time_machine').travel('2001-02-03', tick=False)")

    assert_untouched(meanwhile, result)


def test_pyfakefs_hides_no_record(meanwhile: Suite):
    pytest.importorskip("pyfakefs")

    result = played(meanwhile, fixtures="fs")

    assert_untouched(meanwhile, result)


def test_pytest_socket_blocks_no_trial_that_needs_no_network(meanwhile: Suite):
    pytest.importorskip("pytest_socket")
    meanwhile.pytester.makeini("[pytest]\naddopts = --disable-socket\n")

    assert_untouched(meanwhile, played(meanwhile))


def test_a_time_limit_for_all_tests_does_not_count_the_wait_for_a_trial(long: Suite):
    result = long.run("--runs=20", "--concurrency=20", model="policy:long")

    result.assert_outcomes(passed=20)
    assert len(long.last_run().records) == 20


def test_a_time_limit_of_a_test_ends_its_items_and_no_trial(long: Suite):
    long.write(test_sum=TEST.replace("@pytest.mark.rltask", "@pytest.mark.timeout(1)\n@pytest.mark.rltask"))

    result = long.pytester.runpytest_subprocess("--runs=3", "--concurrency=1", "--model=policy:long")

    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["*Timeout (>1.0s) from pytest-timeout.*"])
    records = long.last_run().records.values()
    assert [record.outcome for record in records] == ["passed"] * len(records)
    assert records

    resumed = long.pytester.runpytest_subprocess("--runs=3", "--resume=last", "--model=policy:long", "-p", "no:timeout")

    assert f"{len(records)} trial" in resumed.stdout.str()
    assert len(long.last_run().records) == 3


BLOCKS = """
import os
from long import *

@pytest.mark.rltask(task=Long(), band=(0.5, 1.0))
def test_sum(trial, request):
    assert trial.score >= 1.0
    if "run-01" in request.node.name and "BLOCKS" in os.environ:
        threading.Event().wait(60)
"""


def test_what_a_time_limit_that_ends_the_process_cost_is_not_paid_again(long: Suite, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BLOCKS", "1")
    played = long.pytester.path / "played"
    noted = f"with open({str(played)!r}, 'a') as file: file.write(f'{{view.seed}}\\n')\n    yield"
    long.write(long=LONG.replace("yield", noted), test_sum=BLOCKS)
    ends = ("--timeout-method=thread", "--runs=4", "--concurrency=4", "--model=policy:long")

    ended = long.pytester.runpytest_subprocess(*ends)

    assert ended.ret == 1  # os._exit of pytest-timeout
    assert "pass rates" not in ended.stdout.str()
    before = set(long.last_run().records)
    assert before  # its test blocked, so its trial was graded
    monkeypatch.delenv("BLOCKS")

    resumed = long.run(*ends, "--resume=last", model="policy:long")

    resumed.assert_outcomes(passed=4)
    records = long.last_run().records
    assert before <= set(records)
    seeds = played.read_text().split()
    again = {trial_id for trial_id, record in records.items() if seeds.count(str(record.seed)) > 1}
    assert again.isdisjoint(before)
