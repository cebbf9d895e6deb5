"""The engine of one process, asked directly."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace

import pytest

from pytest_rltask.engines.engine import Unwritable
from pytest_rltask.engines.local import LocalEngine
from pytest_rltask.models import Reply, Request
from pytest_rltask.run.record import Record, RequestLog
from tests.support.workbench import Bench, FakeModel, spec_of


def test_an_interrupt_lets_no_trial_take_the_place_of_another():
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
    engine.close()

    assert started == [specs[0].trial_id]


def test_a_submission_that_is_broken_off_is_made_up_for_when_the_trial_is_due(monkeypatch: pytest.MonkeyPatch):
    engine = LocalEngine(lambda name: FakeModel([]), concurrency=lambda name: 1, cores=1, finished=lambda record: None)
    spec = spec_of(Bench())

    def broken_off(callback: object) -> None:
        raise TimeoutError("of another plugin")

    with monkeypatch.context() as patch:
        patch.setattr(engine._loop, "call_soon_threadsafe", broken_off)
        with pytest.raises(TimeoutError):
            engine.submit([spec])

    engine.submit([spec])
    result = engine.result(spec.trial_id)
    engine.close()

    assert isinstance(result, Record)
    assert result.outcome == "passed"


@pytest.mark.parametrize("at_once", [True, False])
def test_what_a_request_cost_is_written_by_the_writer_unless_that_is_done_at_once(at_once: bool):
    written: list[str] = []

    def pay_at_once(record: Record, request: RequestLog) -> bool:
        written.append("at once")
        return at_once

    engine = LocalEngine(
        lambda name: FakeModel([Reply([{"type": "text", "text": "Done."}], "end_turn", cost_usd=0.5)]),
        concurrency=lambda name: 1,
        cores=1,
        finished=lambda record: written.append("trial"),
        paid=lambda record, request: written.append("by the writer"),
        paid_at_once=pay_at_once,
    )
    spec = spec_of(Bench())
    engine.submit([spec])
    engine.result(spec.trial_id)
    engine.close()

    assert written == ["at once", *["by the writer"] * (not at_once), "trial"]


def test_a_record_that_cannot_be_written_ends_its_item_and_begins_no_trial():
    def full(record: Record) -> None:
        raise OSError("no space left")

    begun: list[str] = []
    engine = LocalEngine(
        lambda name: FakeModel([]), concurrency=lambda name: 1, cores=1, finished=full, admit=begun.append
    )
    specs = [replace(spec_of(Bench()), trial_id=f"bench[run-{run:02d}]") for run in range(2)]
    engine.submit(specs)

    for spec in specs:
        with pytest.raises(Unwritable, match="no space left"):
            engine.result(spec.trial_id)
    engine.close()

    assert begun == [specs[0].trial_id]
