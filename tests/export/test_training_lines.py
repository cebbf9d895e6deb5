"""Training lines: what stands in them, what is left out, and that any reader of JSON takes them."""

from __future__ import annotations

import io
import json
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.export.conversation import exchanges, plain
from pytest_rltask.export.jsonl import select_lines, write_lines
from pytest_rltask.run.load import Run
from pytest_rltask.run.record import Record
from tests.export.exported import HOSTILE, hostile_run, request, text, user, written


def lines(run: Run, *, strings: bool = False, **how: Any) -> list[dict[str, Any]]:
    file = io.StringIO()
    write_lines(select_lines(run, **how), file, strings=strings)
    return [json.loads(line, parse_constant=lambda name: 1 / 0) for line in file.getvalue().splitlines()]


def test_a_line_is_a_prompt_what_the_model_made_of_it_and_the_reward():
    first, *_ = lines(written("claude"))

    assert first["prompt"] == [
        {"role": "system", "content": "You play games of numbers."},
        {"role": "user", "content": "Game 42: find my number from 1 to 1000. You have 4 guesses."},
    ]
    assert [message["role"] for message in first["completion"]] == ["assistant", "tool", "user"] * 2
    (call,) = first["completion"][0]["tool_calls"]
    assert call["function"] == {"name": "guess", "arguments": {"number": 500}}
    assert first["completion"][1] == {
        "role": "tool",
        "tool_call_id": call["id"],
        "name": "guess",
        "content": "lower",
    }
    assert [tool["function"]["name"] for tool in first["tools"]] == ["guess", "peek"]
    told = {name: first[name] for name in ("reward", "label", "task", "seed", "model", "outcome")}
    assert told == {
        "reward": 1.0,
        "label": True,
        "task": "guess",
        "seed": 42,
        "model": "claude-haiku-4-5-20251001",
        "outcome": "passed",
    }


def test_nobody_trains_on_what_errored_cheated_or_said_nothing_unless_he_says_so():
    run = written("policies")
    assert {line["outcome"] for line in lines(run)} == {"passed", "failed"}
    assert select_lines(run).left_out == Counter(
        {"errored (--include errored)": 5, "cheated (--include cheated)": 2, "not played": 9}
    )

    every = lines(run, include=("errored", "cheated"))

    assert Counter(line["outcome"] for line in every) == {"passed": 7, "failed": 11, "cheated": 2, "errored": 4}
    assert {(line["reward"], line["score"], line["label"]) for line in every if line["outcome"] == "cheated"} == {
        (0.0, 1.0, False)
    }
    assert select_lines(run, include=("errored", "cheated")).left_out["without a reply"] == 1
    assert {line["label"] for line in lines(run, only_passed=True)} == {True}


def test_each_planned_trial_is_a_line_or_counted():
    for name in ("policies", "claude"):
        run = written(name)
        selection = select_lines(run)
        assert len(selection.trials) + selection.left_out.total() == len(run.plan)


def test_trials_of_another_grader_than_the_plans_are_no_lines():
    run = hostile_run()
    (record,) = run.records.values()
    record.grader, plan = "old", run.plan[0]
    run.plan = [plan.__class__(**{**vars(plan), "grader": "new"})]
    assert select_lines(run).told() == "0 of 1 trials; left out: 1 graded by another grader than the plan's"


def test_what_a_model_wrote_breaks_no_reader():
    (line,) = lines(hostile_run())
    json.dumps(line, ensure_ascii=False).encode()  # no half surrogate
    first, second = line["completion"][0]["tool_calls"]
    arguments = first["function"]["arguments"]
    safe = HOSTILE.replace("\ud800", "?")
    assert arguments == {"path": safe, safe: [None, str(2**80), None, {"deep": None}]}
    assert second["function"]["arguments"] == {"input": [1, safe]}
    assert line["completion"][0]["reasoning_content"] == safe
    assert line["info"]["metrics"] == {"said": safe, "odd": None, "big": str(2**80)}


def test_for_old_readers_what_differs_in_shape_is_a_string():
    (line,) = lines(hostile_run(), strings=True)
    (whole,) = lines(hostile_run())
    assert json.loads(line["tools"]) == whole["tools"]
    assert json.loads(line["info"]) == whole["info"]
    calls, wanted = (one["completion"][0]["tool_calls"] for one in (line, whole))
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [
        call["function"]["arguments"] for call in wanted
    ]


@given(st.recursive(st.none() | st.floats() | st.integers() | st.text(st.characters()), st.lists, max_leaves=9))
def test_plain_data_are_json_to_anybody(value: object):
    json.loads(json.dumps(plain({"x": value}), allow_nan=False, ensure_ascii=False).encode())


@given(st.lists(st.booleans(), max_size=6), st.booleans())
def test_each_request_comes_once_and_in_order_beside_its_reply(said: list[bool], answered: bool):
    """A reply without content is in no message; the harness answers each of both sorts but maybe the last."""
    record = Record("t", "t", "d", "m", run=0, seed=0, messages=[user("prompt")])
    for number, has_content in enumerate(said):
        record.requests.append(request(request_id=str(number), empty=not has_content))
        record.messages += [text("assistant", str(number))] * has_content
        record.messages += [user("go on")] * (answered or number < len(said) - 1)

    replies = [one for one in exchanges(record) if one.role == "assistant"]

    assert [one.request.request_id for one in replies if one.request] == [str(n) for n in range(len(said))]
    assert [bool(one.blocks) for one in replies] == said
    roles = [one.role for one in exchanges(record)]
    assert roles == ["user", *["assistant", "user"] * len(said)][: len(roles)]
