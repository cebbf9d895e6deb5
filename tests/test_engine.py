"""The engine of one process, asked directly."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from dataclasses import replace

import pytest

from pytest_rltask.engines.local import LocalEngine
from pytest_rltask.models import Reply, Request
from tests.workbench import Bench, FakeModel, spec_of


def test_an_interrupt_lets_no_trial_take_the_place_of_another(monkeypatch: pytest.MonkeyPatch):
    started: list[str] = []
    asked = threading.Event()

    class Hanging(FakeModel):
        async def reply(self, request: Request) -> Reply:
            asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    engine = LocalEngine(
        lambda name: Hanging([]),
        concurrency=lambda name: 1,
        cores=1,
        finished=lambda record: None,
        admit=started.append,
    )
    specs = [replace(spec_of(Bench()), trial_id=f"bench[run-{run:02d}]") for run in range(3)]
    engine.submit(specs)
    assert asked.wait(60)
    cancel = concurrent.futures.Future.cancel

    def cancelled_slowly(trial: concurrent.futures.Future[object]) -> bool:
        done = cancel(trial)
        if threading.current_thread() is threading.main_thread():  # which is slow, on a busy machine
            asyncio.run_coroutine_threadsafe(asyncio.sleep(0.1), engine._loop).result()
        return done

    monkeypatch.setattr(concurrent.futures.Future, "cancel", cancelled_slowly)
    engine.close()

    assert started == [specs[0].trial_id]
