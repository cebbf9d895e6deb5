"""`kill -9` of a run, its controller or a worker: three rounds of `make bench-kills`, with few trials."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pytest_rltask.run.load import load_run
from tests.bench.kills import TURNS, Kill, Suite, Victim, play_round, script, undisturbed
from tests.conftest import slow
from tests.support.messages_api import Gate, MessagesAPI
from tests.support.messages_api import slow as slowly

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc"), reason="finds processes through /proc")

TRIALS = 20


@pytest.fixture(scope="module")
def expected() -> list[object]:
    """What the report of a run says that nobody kills."""
    return undisturbed(trials=TRIALS)


@pytest.mark.slow
@pytest.mark.parametrize(("victim", "workers"), [("run", 0), ("worker", 2), ("controller", 2)])
def test_a_killed_run_ends_as_if_nobody_had_killed_it(victim: Victim, workers: int, expected: list[object]):
    told = play_round(Kill(victim, workers, after=31), trials=TRIALS, expected=expected)

    assert told.wrong == []
    assert told.in_flight > 0


@pytest.mark.parametrize("workers", [0, slow(2)])
def test_a_run_that_is_being_played_is_not_resumed(tmp_path: Path, workers: int):
    gate = Gate()
    with (
        MessagesAPI(lambda body, turn: slowly(script(body, turn), until=gate)) as api,
        Suite(tmp_path, trials=4, workers=workers, api=api) as suite,
    ):
        running = suite.start()
        gate.wait_until_reached(timeout_s=60)

        refused, said = finished(suite.start("--resume", "last"))
        gate.open()
        ended, says = finished(running)

    assert refused == pytest.ExitCode.USAGE_ERROR, said
    assert f"{suite.run_dir} is still being played by process {running.pid}; " in said
    assert ended == pytest.ExitCode.OK, says
    assert len(api.requests) == 4 * TURNS
    assert len(load_run(suite.run_dir).records) == 4


def finished(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end of pytest, and return its exit status and what it said."""
    said, _ = process.communicate(timeout=120)
    return process.returncode, said
