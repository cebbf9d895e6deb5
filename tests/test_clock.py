"""The clock of our own: what it reads, whatever a test does to those of the process."""

from __future__ import annotations

import asyncio
import datetime
import re
import time

import pytest

from pytest_rltask import clock
from pytest_rltask.trial.event_loop import SteadyLoop, run
from tests.support.foreign import frozen_clock


def test_it_reads_the_time_of_the_machine():
    assert clock.monotonic_s() == pytest.approx(time.monotonic(), abs=60)
    assert clock.wall_s() == pytest.approx(time.time(), abs=60)
    assert clock.utc().tzinfo is datetime.UTC
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", clock.utc_now())


def test_a_clock_that_a_test_freezes_goes_on_here():
    before, day = clock.monotonic_s(), clock.utc()

    with frozen_clock():
        while clock.monotonic_s() == before or clock.utc() == day:
            pass
        in_between, then = clock.monotonic_s(), clock.utc()

    assert before < in_between < before + 60
    assert day < then < day + datetime.timedelta(seconds=60)
    assert type(then) is datetime.datetime


def test_a_clock_of_the_c_library_that_is_shifted_is_not_the_one_that_is_read():
    time_machine = pytest.importorskip("time_machine")
    before = clock.wall_s(), clock.monotonic_s(), clock.utc().year

    with time_machine.travel("2001-02-03", tick=False):
        then = clock.wall_s(), clock.monotonic_s(), clock.utc().year

    assert then == pytest.approx(before, abs=60)


def test_the_loop_of_trials_keeps_its_time_and_its_timers():
    async def slept() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SteadyLoop)
        begin = loop.time()
        with frozen_clock():
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await asyncio.Event().wait()
            return loop.time() - begin

    assert 0 < run(slept()) < 60
