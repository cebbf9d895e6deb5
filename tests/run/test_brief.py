"""Records read without their conversations: the same but for these, whatever stands in them."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_rltask.run.brief import with_conversation, without_conversation
from pytest_rltask.run.load import load_run
from tests.run.of_97dd2a8 import WRITTEN
from tests.run.written import record_of

KEYS = st.sampled_from(["a", "tools", "messages", "requests", "turns", "trial_id", ', "requests": [', '"messages": ['])
anything = st.recursive(
    st.integers() | st.text(st.characters()) | st.sampled_from([', "requests": [', ', "tools": [', '\\", "tools": [']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
NESTED: Any = {"x": {"a": 1, "tools": [1], "messages": [2], "requests": [3]}}


@given(info=anything, metrics=anything, said=anything, history=anything)
def test_all_but_the_conversation_is_as_it_was_written(info: Any, metrics: Any, said: Any, history: Any) -> None:
    record = record_of(info={"i": info}, metrics={"m": metrics}, messages=[{"role": "user", "content": said}])
    entry = {"type": "trial", "schema": 1, **record.to_json(), "history": [history]}
    line = json.dumps(entry).encode()
    assert without_conversation(line) == json.loads(line) | {"tools": [], "messages": []}


@pytest.mark.parametrize("where", ["info", "metrics", "messages", "tools", "history"])
def test_keys_of_the_record_within_it_deceive_nobody(where: str) -> None:
    value = NESTED if where in ("info", "metrics") else [NESTED]
    entry = {"type": "trial", **record_of().to_json(), where: value}
    line = json.dumps(entry).encode()
    assert without_conversation(line) == json.loads(line) | {"tools": [], "messages": []}


def test_brackets_that_match_by_design_deceive_nobody() -> None:
    record = record_of(info={"a": 1, "tools": [1]}, seconds={"a": 1.0, "requests": [2]})  # type: ignore[list-item]
    line = json.dumps({"type": "trial", **record.to_json()}).encode()
    assert without_conversation(line) == json.loads(line) | {"tools": [], "messages": []}


def test_a_conversation_is_not_parsed() -> None:
    line = json.dumps({"type": "trial", **record_of(messages=[{"role": "user"}]).to_json()}).encode()
    damaged = line.replace(b'{"role": "user"}', b"{no json")
    assert without_conversation(damaged)["messages"] == []


def test_other_lines_are_read_as_they_are() -> None:
    assert without_conversation(b'{"type": "paid", "tools": [1], "requests": [2]}')["tools"] == [1]
    with pytest.raises(ValueError, match="line 1"):
        without_conversation(b'{"type": "trial", "trial_id": ')


@pytest.mark.parametrize("name", ["claude", "policies"])
def test_a_run_is_the_same_without_its_conversations(name: str) -> None:
    whole, brief = load_run(WRITTEN / name), load_run(WRITTEN / name, conversations=False)
    emptied = {key: dataclasses.replace(one, messages=[], tools=[]) for key, one in whole.records.items()}
    assert (brief.records, brief.starts, brief.not_started) == (emptied, whole.starts, whole.not_started)
    assert {key: with_conversation(brief.path, one) for key, one in brief.records.items()} == whole.records
