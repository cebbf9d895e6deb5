"""A suite under the plugins that pytest's users install most: its table is that of a run without them."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any
from xml.etree import ElementTree

import pytest

from pytest_rltask.run.load import Run
from tests.conftest import Suite

for plugin in ("asyncio", "cov", "html", "playwright", "randomly", "rerunfailures", "timeout"):
    pytest.importorskip(f"pytest_{plugin}")
pytest.importorskip("freezegun")

OURS_ALONE = ("-p", "xdist", "-p", "pytest_rltask.plugin")

# Four tasks of ten trials each: by seed they pass, miss, cheat and break; each opening of an episode leaves a line.
TRIALS = """
import asyncio, os, pathlib, random
from dataclasses import dataclass
from pytest_rltask import SandboxError
from tasks import *

@dataclass(frozen=True)
class Noted(Sum):
    name: str = ""
    def open(self, seed):
        with open(pathlib.Path(__file__).with_name("opened"), "a") as opened:
            opened.write(f"{self.name}-{seed}\\n")
        if seed == 47:
            raise SandboxError("not today")  # before any code ran, so that a rate may miss it
        episode = NotedEpisode(self, seed)
        episode.fact = random.Random(seed).random()
        return episode

class NotedEpisode(SumEpisode):
    @property
    def prompt(self):
        return f"{super().prompt} {self.fact}"
    @tool
    async def rest(self) -> str:
        '''Rest.'''
        await asyncio.sleep(0.01)
        return "rested"

def mixed(view):
    yield call("rest")
    match view.seed % 5:
        case 0:
            yield call("submit", number=view.seed + 1)
        case 1:
            yield call("submit", number=-1)
        case _:
            yield call("submit", number=0)

Noted.policies = {"mixed": mixed}

def rltask(name):
    return pytest.mark.rltask(task=Noted(name=name), name=name, band=(0.1, 0.6))

@pytest.fixture
def env(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
@rltask("plain")
def test_plain(trial):
    assert trial.passed
@rltask("tmp")
def test_tmp(trial, tmp_path, env):
    assert trial.passed
@pytest.mark.skipif(os.sep == "?", reason="never")
@rltask("alone")
def test_alone(env, trial):
    assert trial.passed
@rltask("retold")
def test_retold(trial, request):
    if trial.record.seed == 45 and "RETOLD" in os.environ and not hasattr(request.session, "is_told"):
        request.session.is_told = True
        raise RuntimeError("once")
    assert trial.passed
"""

# Tests of others beside them: an assertion that holds the second time, and loops in pytest's thread.
OTHERS = """
import pytest

count = []
@pytest.mark.flaky(reruns=1)
def test_flaky():
    count.append(1)
    assert len(count) == 2
@pytest.mark.timeout(50)
def test_timed():
    pass
"""
ASYNC = """
import asyncio
import pytest

@pytest.fixture
async def resource():
    yield await asyncio.sleep(0, 1)
@pytest.mark.asyncio
async def test_an_async_fixture(resource):
    assert resource == 1
def test_names(browser_name, browser_channel, browser_type_launch_args):
    assert browser_name == "chromium"
"""
# Its loop runs until the session ends, so that pytest-asyncio's cannot: that is between these two.
DRIVER = """
def test_a_driver(playwright):
    assert playwright.chromium.name == "chromium"
def test_a_driver_again(playwright):
    pass
"""


@pytest.fixture
def noted(pytester: pytest.Pytester) -> Suite:
    """A suite of 40 trials in one process."""
    suite = Suite(pytester)
    (pytester.path / "test_sum.py").unlink()
    return suite.write(test_trials=TRIALS)


def play(suite: Suite, *arguments: str) -> pytest.RunResult:
    """Play it in a process of its own, with what plugins are installed; return what it said."""
    (suite.pytester.path / "opened").write_text("")
    return suite.pytester.runpytest_subprocess("--model=policy:mixed", "--gate=proven", *arguments)


def table(run: Run, report: dict[str, Any]) -> dict[str, Any]:
    """Return all that two runs of the suite must have in common, in no order."""
    numbers = ("planned", "passed", "failed", "cheated", "errored", "lost", "mean_score", "turns", "reasons", "faults")
    rows = {row["task"]: {number: row[number] for number in (*numbers, "verdict")} for row in report["rows"]}
    trials = {
        trial_id: (record.outcome, record.score, record.label, record.seed, json.dumps(record.messages, sort_keys=True))
        for trial_id, record in run.records.items()
    }
    return {"rows": rows, "trials": trials, "starts": {trial_id: len(at) for trial_id, at in run.starts.items()}}


def opened(suite: Suite) -> Counter[str]:
    """Return how often each episode was opened."""
    return Counter((suite.pytester.path / "opened").read_text().split())


@pytest.mark.parametrize(
    ("workers", "others"), [((), DRIVER), ((), ASYNC), (("-n", "2"), ASYNC)], ids=["driver", "async", "async-xdist"]
)
def test_the_table_is_that_of_a_run_without_them(
    noted: Suite, workers: tuple[str, ...], others: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    without = play(noted, *OURS_ALONE, *workers)
    alone, played_alone = table(noted.last_run(), noted.report()), opened(noted)
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    monkeypatch.setenv("RETOLD", "1")
    noted.write(test_a_others=OTHERS, test_loops=others)
    noted.pytester.makeini("[pytest]\ntimeout = 100\nasyncio_mode = auto")
    files = ("--html=page.html", "--self-contained-html", "--junitxml=junit.xml", "--cov=tasks", "--cov-report=term")

    result = play(noted, *workers, "--reruns", "2", *files)

    said = result.stdout.str()
    assert without.ret == result.ret == pytest.ExitCode.OK, "errored trials within the tolerated share fail no run"
    assert table(noted.last_run(), noted.report()) == alone
    assert opened(noted) == played_alone
    assert set(opened(noted).values()) == {1}, "nothing is played, or paid, twice"
    outcomes = Counter(record.outcome for record in noted.last_run().records.values())
    assert outcomes == {"passed": 8, "cheated": 8, "errored": 4, "failed": 20}
    ends = dict.fromkeys(("passed", "missed", "cheated", "errors", "rerun"), 0)
    ends |= {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", said.splitlines()[-1])}
    # Rerun: each of four errored trials twice, and two tests that hold the second time.
    assert ends.items() >= {"passed": 12, "missed": 20, "cheated": 8, "errors": 4, "rerun": 10}.items()
    assert re.search(r"Using --randomly-seed=\d+", said)
    assert "pytest_rltask" not in said.partition("warnings summary")[2].partition("Docs:")[0]
    measured = re.search(r"tasks\.py +\d+ +\d+ +(\d+)%", said)
    assert measured
    assert int(measured[1]) > 60, "what runs in the engine's threads is measured"
    page = (noted.pytester.path / "page.html").read_text()
    assert all(f"run-{run:02d}" in page for run in range(10))
    cases = ElementTree.parse(noted.pytester.path / "junit.xml").iter("testcase")
    assert {len(case.findall(".//property[@name='outcome']")) for case in cases} == {0, 1}, "that of the last try"
