"""What is read of judges from disk: what was paid in trials that died, costs meanwhile, and records of others."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.run.brief import with_conversation, without_conversation
from pytest_rltask.run.ledger import Ledger
from pytest_rltask.run.live import LiveRun
from pytest_rltask.run.load import load_run
from pytest_rltask.run.log import RunWriter
from pytest_rltask.run.record import Record, RequestLog, Usage
from tests.run.written import HEADER, record_of

QUESTION: dict[str, Any] = {
    "judge": "grader",
    "model": "claude-sonnet-4-6",
    "digest": "0123456789abcdef",
    "after": 2,
    "messages": [{"role": "user", "content": [{"type": "text", "text": ', "requests": [{"a": 1}], "tools": ['}]}],
    "tools": [{"name": "verdict", "input_schema": {"x": 1, "requests": ["b"]}}],
    "reply": [{"type": "text", "text": "yes"}],
}


def paid(cost: float | None, judge: str = "") -> RequestLog:
    return RequestLog("req", "m", "end_turn", Usage(10, 5), cost, 0.1, judge=judge)


def judged(**fields: Any) -> Record:
    record = record_of()
    record.requests, record.judge_requests = [paid(1.0), paid(2.0)], [paid(10.0, "grader"), paid(20.0, "grader")]
    data = record.to_json() | {"asked": [QUESTION], "judges": {"grader": "claude-sonnet-4-6"}} | fields
    return Record.from_json(json.loads(json.dumps(data)))


@pytest.fixture
def writer(tmp_path: Path) -> RunWriter:
    return RunWriter(tmp_path / "run", "main", HEADER)


def test_what_a_killed_trial_paid_is_told_apart(writer: RunWriter):
    from pytest_rltask.run.planned import PlannedTrial

    record = judged()
    writer.plan([PlannedTrial(record.trial_id, "t", "task", "d", "m", 0, 42, (0.1, 0.4), judges={"grader": "x"})])
    writer.pay(record, paid(1.0))
    writer.pay(record, paid(10.0, "grader"))

    (lost,) = load_run(writer.path).unrecorded

    assert (lost.cost_usd, lost.player_cost_usd, lost.judge_cost_usd) == (11.0, 1.0, 10.0)
    assert (lost.usage.total, lost.judge_usage.total, lost.judges) == (15, 15, {"grader": "x"})


def test_a_cost_that_was_told_ahead_is_counted_once_whoever_it_was_of(writer: RunWriter):
    record, live = judged(), LiveRun(writer.path)
    for request in (paid(10.0, "grader"), paid(1.0)):
        writer.pay(record, request)
    assert live.read().known_cost_usd == 11.0

    writer.append(record)

    assert (live.read().known_cost_usd, live.payments) == (33.0, 4)


def test_a_judge_that_answers_under_another_name_is_priced_as_who_was_asked(writer: RunWriter):
    record = judged()
    record.requests, record.judge_requests = [paid(1.0)], [paid(None, "grader")]
    writer.append(record)
    prices = {"claude-sonnet-4-6": 5.0}

    ledger = Ledger(writer.path, since="", is_alive=lambda name: True, price=lambda model, usage: prices.get(model))

    assert ledger.read().payments == [(record.trial_id, 6.0)]


def test_a_record_is_read_without_its_questions_and_together_with_them(writer: RunWriter):
    record = judged()
    writer.append(record)
    line = next(writer.path.glob("trials.*.jsonl")).read_bytes()

    brief = Record.from_json(without_conversation(line))

    assert (brief.asked, brief.judge_requests) == ([], record.judge_requests)
    assert with_conversation(writer.path, brief).asked == record.asked


def test_a_record_of_an_earlier_version_has_no_judges():
    data = {name: value for name, value in judged().to_json().items() if name not in ("asked", "judges")}
    del data["judge_requests"]

    record = Record.from_json(data)

    assert (record.asked, record.judge_requests, record.judges, record.judge_cost_usd) == ([], [], {}, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"after": -1},
        {"after": "2"},
        {"repeats": 1.5},
        {"judge": None},
        {"reply": ["yes"]},
        {"messages": [{"role": "user"}]},
        {"messages": ["hello"]},
        {"tools": 1},
        {"reply": [{"type": "text"}]},
        {"reply": [{"type": "text", "text": 5}]},
        {"reply": [{"type": "tool_use", "id": "a", "name": "b"}]},
        {"reply": [{"text": "a"}]},
        {"messages": [{"role": 5, "content": []}]},
    ],
)
def test_a_question_that_is_none_is_no_record(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match="not a trial's record"):
        judged(asked=[QUESTION | wrong])


def test_a_request_says_whose_it_is():
    assert asdict(paid(1.0, "grader"))["judge"] == "grader"
