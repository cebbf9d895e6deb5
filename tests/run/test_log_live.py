"""The run directory while its run goes on: what was tried, began and ended."""

from __future__ import annotations

import pytest

from pytest_rltask.run.live import LiveRun
from pytest_rltask.run.load import load_run
from pytest_rltask.run.log import RunWriter
from tests.run.written import HEADER, record_of


def test_what_trials_tried_is_read_from_all_writers_as_they_append(writer: RunWriter):
    reader = LiveRun(writer.path)
    assert reader.read().tried == {}

    writer.append(record_of("a", tried="depth 3"))
    RunWriter(writer.path, "gw1", HEADER).append(record_of("b", outcome="errored", tried="depth 5"))
    assert reader.read().tried == {"a": "depth 3", "b": "depth 5"}

    writer.amend("a", "passed", "")
    writer.append(record_of("c"))
    assert reader.read().tried == {"a": "depth 3", "b": "depth 5", "c": ""}


def test_each_reading_of_what_was_tried_goes_on_where_the_last_one_ended(writer: RunWriter):
    reader, lines = LiveRun(writer.path), []
    reader._note = lambda line, file: lines.append(line)  # type: ignore[method-assign]

    for trial_id in "abc":
        writer.append(record_of(trial_id))
        reader.read()

    assert len(lines) == 3


def test_half_a_line_of_what_was_tried_waits_for_its_other_half(writer: RunWriter):
    writer.append(record_of("a", tried="depth 3"))
    file = writer.path / "trials.main.jsonl"
    whole, reader = file.read_bytes(), LiveRun(writer.path)

    file.write_bytes(whole + whole[:30])
    assert reader.read().tried == {"a": "depth 3"}

    file.write_bytes(whole + whole.replace(b'"a"', b'"b"'))
    assert reader.read().tried == {"a": "depth 3", "b": "depth 3"}


@pytest.mark.parametrize("damage", [b"{\n", b"[]\n", b"\xff\n", b'{"type": "trial"}\n', b"[" * 100_000 + b"\n"])
def test_a_damaged_line_hides_nothing_that_was_tried_after_it(writer: RunWriter, damage: bytes):
    (writer.path / "trials.main.jsonl").write_bytes(damage)
    writer.append(record_of("a", tried="depth 3"))

    assert LiveRun(writer.path).read().tried == {"a": "depth 3"}


def test_a_live_run_tells_what_began_ended_and_was_dealt(writer: RunWriter):
    live = LiveRun(writer.path)
    writer.deal(3)
    writer.start("a")
    writer.start("b")
    writer.append(record_of("b", score=0.5))
    other = RunWriter(writer.path, "gw1", HEADER)
    other.start("a")
    live.read()

    assert live.shares == 3
    assert live.starts == {"a": 2, "b": 1}
    assert [live.is_suspect(trial) for trial in "abc"] == [True, False, False]
    assert (live.record("a"), live.record("b")) == (None, load_run(writer.path).records["b"])

    other.append(record_of("a", score=0.25))
    assert live.read().record("a") == load_run(writer.path).records["a"]
    assert not live.is_suspect("a")


def test_an_assertion_is_loaded_whoever_wrote_it(writer: RunWriter):
    RunWriter(writer.path, "gw9", HEADER).append(record_of("a", outcome="failed"))
    RunWriter(writer.path, "gw10", HEADER).amend("a", "passed", "it held")  # sorts before

    assert load_run(writer.path).records["a"].outcome == "passed"
