"""The run directory: what was appended is there whatever happened since, and counts as often as it was played."""

from __future__ import annotations

import json
import os
import signal
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_rltask.run.load import load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.record import Fault, Record, RequestLog, Usage
from tests.run.written import HEADER, planned, python, record_of

# ---- round trip ----


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=8,
)
texts = st.text(st.characters())  # lone surrogates too
counts = st.integers(0, 10**12)
usages = st.builds(Usage, counts, counts, counts, counts)
requests = st.builds(
    RequestLog,
    request_id=st.none() | texts,
    model=texts,
    stop_reason=texts,
    usage=usages,
    cost_usd=st.none() | st.floats(0, 1e6),
    latency_s=st.floats(0, 1e6),
    faults=st.lists(texts, max_size=2).map(tuple),
    empty=st.booleans(),
)
messages = st.lists(st.fixed_dictionaries({"role": texts, "content": anything}), max_size=3)
records = st.builds(
    Record,
    trial_id=texts,
    task=texts,
    task_digest=texts,
    model=texts,
    run=st.integers(0, 10**6),
    seed=st.integers(),
    outcome=st.sampled_from(["passed", "failed", "cheated", "errored"]),
    label=texts,
    reason=texts,
    score=st.none() | st.floats(allow_nan=False),
    metrics=st.dictionaries(texts, anything, max_size=2),
    fault=st.none() | st.builds(Fault, st.sampled_from(["api", "task"]), texts, st.none() | texts, st.booleans()),
    messages=messages,
    requests=st.lists(requests, max_size=2),
    seconds=st.dictionaries(texts, st.floats(0, 1e6), max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(records, max_size=3, unique_by=lambda record: record.trial_id))
def test_what_is_appended_is_loaded_again(written: list[Record]):
    with tempfile.TemporaryDirectory() as folder:
        writer = RunWriter(Path(folder) / "run", "main", HEADER)
        writer.plan([planned()])
        for record in written:
            writer.append(record)

        run = load_run(writer.path)

    assert list(run.records.values()) == written
    assert run.damaged_lines == 0


def test_header_and_plan_are_loaded_again(writer: RunWriter):
    run = load_run(writer.path)

    assert run.header == HEADER
    assert run.plan == [planned()]
    assert run.records == {}


def test_several_writers_make_one_run(writer: RunWriter):
    other = RunWriter(writer.path, "gw1", HEADER)
    writer.append(record_of("a"))
    other.append(record_of("b"))

    assert other.path == writer.path
    assert load_run(writer.path).records.keys() == {"a", "b"}


def test_an_assertion_amends_the_outcome(writer: RunWriter):
    writer.append(record_of("a", outcome="passed"))
    writer.append(record_of("b", outcome="failed", label="turn limit", reason="ran out of turns"))
    writer.amend("a", "failed", "too slow")
    writer.amend("b", "failed", "")
    writer.amend("never played", "passed", "")

    run = load_run(writer.path)

    amended = [(record.outcome, record.label, record.reason) for record in run.records.values()]
    assert amended == [("failed", "assertion", "too slow"), ("failed", "turn limit", "ran out of turns")]


# ---- trials that were played more than once ----


ERRORED = {"outcome": "errored", "fault": Fault("api", "overloaded")}


@pytest.mark.parametrize("order", [("main", "gw0", "a"), ("a", "gw0", "main")])
@pytest.mark.parametrize(
    ("played", "counts"),
    [
        ([("1", ERRORED), ("2", {"score": 0.0})], "2"),
        ([("1", {"score": 0.0}), ("2", ERRORED)], "1"),
        ([("1", ERRORED), ("2", {"score": 0.0}), ("3", {"score": 1.0, "outcome": "passed"})], "2"),
        ([("1", ERRORED), ("2", ERRORED)], "2"),
        ([("1", ERRORED), ("2", {"score": 0.0, "outcome": "errored"}), ("3", {"score": 0.0})], "2"),  # not judged yet
    ],
)
def test_the_first_grade_counts_whoever_wrote_it(
    writer: RunWriter, played: list[tuple[str, dict[str, Any]]], counts: str, order: tuple[str, ...]
):
    for name, (started, fields) in zip(order, played, strict=False):
        RunWriter(writer.path, name, HEADER).append(record_of("a", started=started, **fields))

    assert [record.started for record in load_run(writer.path).records.values()] == [counts]


def test_the_last_assertion_counts_whoever_wrote_it(writer: RunWriter):
    writer.append(record_of("a", score=0.0))
    writer.amend("a", "errored", "broken")
    RunWriter(writer.path, "gw0", HEADER).amend("a", "passed", "mended")  # in a file that is read earlier

    (record,) = load_run(writer.path).records.values()

    assert (record.outcome, record.reason) == ("passed", "mended")


def test_a_trial_that_was_skipped_once_and_played_later_is_part_of_the_plan(writer: RunWriter):
    writer.skip("test_sum[run-00]")
    assert load_run(writer.path).plan == []

    writer.append(record_of())

    assert load_run(writer.path).plan == [planned()]


def test_the_file_is_readable_by_others_and_leaves_no_draft(writer: RunWriter):
    writer.append(record_of())

    assert sorted(path.name for path in writer.path.iterdir()) == ["plan.json", "run.json", "trials.main.jsonl"]
    assert writer.path.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in writer.path.parent.iterdir()] == ["run"]


def test_a_trial_is_on_the_disk_itself_before_append_returns(writer: RunWriter, monkeypatch: pytest.MonkeyPatch):
    synced: list[int] = []

    def note(handle: int) -> None:
        synced.append(os.fstat(handle).st_size)

    monkeypatch.setattr(os, "fsync", note)
    RunWriter(writer.path, "main", HEADER).append(record_of("a"))

    assert (writer.path / "trials.main.jsonl").stat().st_size in synced


def test_what_was_paid_is_written_at_once_unless_another_thread_has_the_disk_busy(
    writer: RunWriter, monkeypatch: pytest.MonkeyPatch
):
    request = RequestLog("req", "m", "end_turn", Usage(1, 2), 0.25, 0.1)
    busy, free, done = threading.Event(), threading.Event(), list[bool]()

    def sync(handle: int) -> None:
        busy.set()
        assert free.wait(30)

    monkeypatch.setattr(writer._trials, "_sync", sync)
    appending = threading.Thread(target=writer.append, args=(record_of("a"),))
    appending.start()
    assert busy.wait(30)
    done.append(writer.pay_at_once(record_of("b"), request))
    free.set()
    appending.join(30)
    done.append(writer.pay_at_once(record_of("b"), request))

    assert done == [False, True]
    lines = map(json.loads, (writer.path / "trials.main.jsonl").read_text().splitlines())
    assert [(line["type"], line["trial_id"]) for line in lines] == [("trial", "a"), ("paid", "b")]


# ---- what was tried, while the run goes on ----


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from tests.run.written import HEADER, record_of
from pytest_rltask.run.log import RunWriter
writer = RunWriter(Path(sys.argv[1]), "main", HEADER)
writer.plan([])
number = 0
while True:
    writer.append(record_of(str(number), reason="x" * 5000))
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
    number += 1
"""


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_killed_process_loses_nothing_it_had_appended(tmp_path: Path):
    with python(WRITE_FOR_EVER, tmp_path / "run") as process:
        assert process.stdout
        for _ in range(40):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        told = 40 + len(process.stdout.read().splitlines())

    run = load_run(tmp_path / "run")

    assert [*map(str, range(told))] == list(run.records)[:told]
    assert len(run.records) <= told + 1
    assert run.damaged_lines <= 1
