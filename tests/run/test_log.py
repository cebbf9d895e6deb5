"""The run directory: what was appended is there whatever happened since, and what cannot be read says why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_rltask.run.files import RunLogError, choose_run_dir, find_run_dir
from pytest_rltask.run.live import LiveRun
from pytest_rltask.run.load import load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.planned import PlannedTrial, transcript_path
from pytest_rltask.run.record import SCHEMA_VERSION, Fault, Record, RequestLog, Usage

ROOT = Path(__file__).parents[2]
HEADER = {"schema": SCHEMA_VERSION, "id": "a", "command": "pytest"}
NOW = datetime(2026, 11, 21, 22, 30, 5)


def record_of(trial_id: str = "test_sum[run-00]", **fields: Any) -> Record:
    return Record(trial_id, "sum", "d" * 16, "policy:null", run=0, seed=42, **{"outcome": "failed", **fields})


def planned(trial_id: str = "test_sum[run-00]") -> PlannedTrial:
    return PlannedTrial(trial_id, "test_sum", "sum", "d" * 16, "policy:null", 0, 42, (0.1, 0.4))


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    """Writes to a new run directory that already has its plan."""
    writer = RunWriter(tmp_path / "run", "main", HEADER)
    writer.plan([planned()])
    return writer


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


# ---- damage ----


@pytest.mark.parametrize("kept", [1, 20, -2])
def test_a_torn_last_line_is_skipped_and_counted(writer: RunWriter, kept: int):
    writer.append(record_of("a"))
    file = writer.path / "trials.main.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:kept])

    run = load_run(writer.path)

    assert run.records.keys() == {"a"}
    assert run.damaged_lines == 1


def test_what_is_appended_after_a_torn_line_is_not_lost(writer: RunWriter):
    writer.append(record_of("a"))
    file = writer.path / "trials.main.jsonl"
    file.write_bytes(file.read_bytes() + b'{"type": "tri')

    RunWriter(writer.path, "main", HEADER).append(record_of("b"))

    run = load_run(writer.path)
    assert run.records.keys() == {"a", "b"}
    assert run.damaged_lines == 1


# ---- what was tried, while the run goes on ----


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


WRITE_FOR_EVER = """
import sys
from pathlib import Path
from tests.run.test_log import HEADER, record_of
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


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start another Python process with the tests importable."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment, cwd=ROOT)


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


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("run.json", None, "is not a run directory of pytest-rltask: it has no run.json"),
        ("plan.json", None, "is not a run directory of pytest-rltask: it has no plan.json"),
        ("run.json", "{", "run.json cannot be read"),
        ("run.json", "[]", "is not a run directory of pytest-rltask"),
        ("run.json", "{}", "is not a run directory of pytest-rltask"),
        ("run.json", json.dumps({**HEADER, "schema": SCHEMA_VERSION + 1}), "was written by a later version"),
        ("run.json", json.dumps({**HEADER, "schema": "2"}), "is not a run directory of pytest-rltask"),
        ("plan.json", "{}", "is not a run directory of pytest-rltask"),
        ("plan.json", '[{"trial_id": "a"}]', "plan.json is damaged"),
        ("plan.json", "[5]", "plan.json is damaged"),
        ("plan.json", '[{"band": 5}]', "plan.json is damaged"),
        ("trials.main.jsonl", '{"type": "trial"}\n', "not a trial's record"),
        ("trials.main.jsonl", json.dumps({"type": "trial", **asdict(record_of(outcome="won"))}), "outcome 'won'"),
        ("trials.main.jsonl", '{"type": "assertion"}\n', "trials.main.jsonl"),
    ],
)
def test_a_directory_that_cannot_be_read_says_why(writer: RunWriter, name: str, content: str | None, told: str):
    path = writer.path / name
    path.unlink(missing_ok=True)
    if content is not None:
        path.write_text(content)

    with pytest.raises(RunLogError, match=told) as caught:
        load_run(writer.path)

    assert str(writer.path) in str(caught.value)


@pytest.mark.parametrize("name", ["run.json", "plan.json", "trials.main.jsonl"])
def test_a_file_that_cannot_be_opened_says_why(writer: RunWriter, name: str):
    (writer.path / name).unlink(missing_ok=True)
    (writer.path / name).mkdir()  # nobody can read it, not even root

    with pytest.raises(RunLogError, match=f"{name} cannot be read: .*[Dd]irectory"):
        load_run(writer.path)


def test_what_is_no_directory_says_so(tmp_path: Path):
    with pytest.raises(RunLogError, match="nowhere is not a directory"):
        load_run(tmp_path / "nowhere")


# ---- later versions ----


def test_fields_of_a_later_minor_version_are_ignored(writer: RunWriter):
    record = record_of(requests=[RequestLog("req", "m", "end_turn", Usage(1, 2), 0.5, 0.1)], fault=Fault("api", "?"))
    data: dict[str, Any] = {"type": "trial", "schema": SCHEMA_VERSION, **record.to_json(), "mood": "good"}
    (writer.path / "trials.main.jsonl").write_text(json.dumps(data) + "\n" + '{"type": "mood", "is": "good"}\n')

    assert load_run(writer.path).records == {record.trial_id: record}


@pytest.mark.parametrize("inside", ["request", "usage", "fault"])
def test_fields_of_a_later_minor_version_are_ignored_inside_too(writer: RunWriter, inside: str):
    record = record_of(requests=[RequestLog("req", "m", "end_turn", Usage(1, 2), 0.5, 0.1)], fault=Fault("api", "?"))
    data = {"type": "trial", "schema": SCHEMA_VERSION, **record.to_json()}
    place: dict[str, Any] = {
        "request": data["requests"][0],
        "usage": data["requests"][0]["usage"],
        "fault": data["fault"],
    }[inside]
    place["mood"] = "good"
    (writer.path / "trials.main.jsonl").write_text(json.dumps(data) + "\n")

    assert load_run(writer.path).records == {record.trial_id: record}


def test_fields_of_a_later_minor_version_are_ignored_in_the_plan(writer: RunWriter):
    (writer.path / "plan.json").write_text(json.dumps([{**asdict(planned()), "mood": "good"}]))

    assert load_run(writer.path).plan == [planned()]


# ---- names of directories ----


def test_a_run_directory_is_named_by_its_time_and_numbered_if_taken(tmp_path: Path):
    first = choose_run_dir(tmp_path, NOW)
    first.mkdir()

    assert first.name == "run_20261121_223005"
    assert choose_run_dir(tmp_path, NOW).name == "run_20261121_223005_2"


CREATE = """
import json, sys
from pathlib import Path
from pytest_rltask.run.log import RunWriter
header = json.loads(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
print(RunWriter(Path(sys.argv[1]), sys.argv[3], header).path, flush=True)
"""


def created(path: Path, headers: list[Mapping[str, Any]]) -> list[Path]:
    """Return where processes that create the same run directory at the same time find themselves."""
    processes = [python(CREATE, path, json.dumps(header), f"gw{n}") for n, header in enumerate(headers)]
    for process in processes:
        assert process.stdout
        process.stdout.readline()
    paths = []
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate(timeout=30)
        paths.append(Path(out.strip()))
    return paths


def test_processes_of_one_run_agree_on_its_directory(tmp_path: Path):
    paths = created(tmp_path / "logs" / "run", [HEADER] * 3)

    assert paths == [tmp_path / "logs" / "run"] * 3
    assert [path.name for path in paths[0].parent.iterdir()] == ["run"]


def test_runs_that_chose_the_same_directory_get_one_each(tmp_path: Path):
    headers = [{**HEADER, "id": name} for name in "abc"]

    paths = created(tmp_path / "run", headers)

    assert {path.name for path in paths} == {"run", "run_2", "run_3"}
    for path, header in zip(paths, headers, strict=True):
        assert json.loads((path / "run.json").read_text()) == header
        assert find_run_dir(tmp_path / "run", header["id"]) == path
    assert find_run_dir(tmp_path / "run", "another") is None


@pytest.mark.parametrize("trial_id", ["test_sum[run-00]", "test_sum[a/../../b-run-00]", "test_sum[ü $(rm)-run-00]"])
def test_a_transcript_stays_in_its_folder_under_a_name_no_shell_asks_to_quote(tmp_path: Path, trial_id: str):
    path = transcript_path(tmp_path, "sum", trial_id)

    assert path.parent == tmp_path / "transcripts"
    assert path.name.startswith("sum-")
    assert not set(path.name) & set(" $()/'\"")


def test_a_transcript_with_lone_surrogates_is_written(writer: RunWriter):
    path = writer.write_transcript(record_of(), "a\ud800b")

    assert path.read_text() == "a?b"
