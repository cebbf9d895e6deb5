"""A damaged run directory, and one of a later version: what is read all the same, and what says why it is not."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.load import load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.record import SCHEMA_VERSION, Fault, RequestLog, Usage
from tests.run.written import HEADER, planned, record_of

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
