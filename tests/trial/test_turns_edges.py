"""The episode's side to the number: what fires when, what is cut where, and what each reply is answered with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pytest_rltask import Limits
from pytest_rltask.models import Reply
from pytest_rltask.run.record import Record, RequestLog, Usage
from pytest_rltask.trial.guard import Worker
from pytest_rltask.trial.turns import Turns
from tests.claude import virtual_time
from tests.support.workbench import Bench, BenchEpisode, FakeModel, Hook, play_bench


def new_record() -> Record:
    return Record("bench[run-00]", "bench", "digest", "fake", 0, 42)


async def at_once(function: Callable[[], Any], what: str, *, within_s: float) -> Any:
    return function()


def new_turns(hooks: Mapping[str, Hook] | None = None, *, worker: Any = None, **limits: Any) -> Turns:
    """Open the conversation of an episode; its tools need a worker."""
    waiting = SimpleNamespace(waited_s=0.0, awaited=at_once)
    return Turns(new_record(), BenchEpisode(hooks or {}), worker or waiting, limits=Limits(**limits))


def says(text: str = "Hm.", stop: str = "end_turn") -> Reply:
    return Reply([{"type": "text", "text": text}], stop)


def uses(*names: str, stop: str = "tool_use") -> Reply:
    """Call tools, all at once."""
    return Reply([{"type": "tool_use", "id": f"id-{n}", "name": one, "input": {}} for n, one in enumerate(names)], stop)


def in_virtual_time(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return virtual_time.run(work())


def said(record: Record) -> list[str]:
    """Return the texts, and results of tools, of the last message."""
    return [block.get("text", block.get("content")) for block in record.messages[-1]["content"]]


NUDGED: dict[str, Hook] = {"nudge": lambda: "Go on."}

# ---- time ----


def test_what_a_trial_waited_for_others_before_it_began_is_not_given_twice():
    async def deadlines() -> list[float]:
        worker = SimpleNamespace(waited_s=7.0, awaited=at_once)  # while its episode was opened
        turns = new_turns(worker=worker, wall_s=100.0)
        told = [turns.deadline]
        worker.waited_s = 10.0
        return [*told, turns.deadline]

    assert in_virtual_time(deadlines) == [100, 103]


def test_time_that_is_not_the_models_is_added():
    async def deadline() -> float:
        await asyncio.sleep(5)
        turns = new_turns(wall_s=100.0)
        turns.lost_s = 20.0
        return turns.deadline

    assert in_virtual_time(deadline) == 125


@pytest.mark.parametrize(("after_s", "stop"), [(9.5, None), (10, "limit"), (11, "limit")])
def test_time_is_up_at_the_deadline(after_s: float, stop: str | None):
    async def answered() -> tuple[str | None, str | None]:
        turns = new_turns(NUDGED, wall_s=10.0)
        await asyncio.sleep(after_s)
        return await turns.answer(says()), turns.record.limit

    assert in_virtual_time(answered) == (stop, "wall" if stop else None)


# ---- tokens, replies, calls ----


@pytest.mark.parametrize(("tokens", "stop"), [(99, None), (100, "limit"), (101, "limit")])
def test_tokens_are_spent_at_their_limit(tokens: int, stop: str | None):
    async def answered() -> tuple[str | None, str | None]:
        turns = new_turns(NUDGED, total_tokens=100)
        turns.record.requests.append(RequestLog(None, "m", "end_turn", Usage(tokens - 10, 10), 0.0, 0.1))
        return await turns.answer(says()), turns.record.limit

    assert in_virtual_time(answered) == (stop, "total_tokens" if stop else None)


def test_the_last_reply_is_the_one_of_the_limits_number():
    async def stops() -> list[str | None]:
        turns = new_turns(NUDGED, turns=3)
        given = [await turns.answer(says()) for _ in range(3)]
        return [*given, turns.record.limit, turns.record.stop]

    assert in_virtual_time(stops) == [None, None, "limit", "turns", "limit"]


@pytest.mark.parametrize(("turns", "is_told"), [(1, True), (5, True), (6, False)])
def test_who_has_few_replies_is_told_so_at_once_and_with_each_result(turns: int, is_told: bool):
    record = play_bench(Bench(), turns=turns)

    told = f"You have {turns} replies in all. One reply may call several tools."
    assert [block["text"] for block in record.messages[0]["content"]] == ["Work.", *[told] * is_told]
    left = f"{turns - 1} of {turns} replies remain. One reply may call several tools."
    assert said_with_results(record) == [left] * is_told


def said_with_results(record: Record) -> list[str]:
    """Return the texts beside the results of the first calls."""
    return [block["text"] for block in record.messages[2]["content"] if block["type"] == "text"]


def test_how_many_calls_are_left_is_told_and_those_beyond_are_refused():
    record = play_bench(Bench(), FakeModel([uses("work", "nap", "rest", "work")]), tool_calls=2)

    results = [block["content"] for block in record.messages[2]["content"] if block["type"] == "tool_result"]
    assert results == [
        "worked",
        "There is no tool 'nap'. The tools are: work, rest.",  # not counted
        "rested",
        "This call was not run: the tool-call limit is reached.",
    ]
    assert said_with_results(record) == ["0 of 2 tool calls remain."]
    assert (record.stop, record.limit, record.tool_calls) == ("limit", "tool_calls", 2)


def test_whose_calls_are_spent_may_still_speak():
    record = play_bench(Bench(NUDGED), FakeModel([uses("work"), says(), Reply([], "refusal")]), tool_calls=1)

    assert (record.stop, record.limit, record.turns, record.tool_calls) == ("refusal", None, 3, 1)
    assert said(record) == ["Go on."]


def test_calls_are_not_spoken_of_where_any_number_is_free():
    assert said_with_results(play_bench(Bench({"remind": lambda: "Hurry."}))) == ["Hurry."]


# ---- the end ----


def test_once_the_episode_is_done_later_calls_of_a_reply_are_refused():
    ended: list[str] = []
    hooks = {"work": lambda: ended.append("now") or "worked", "done": lambda: bool(ended)}

    record = play_bench(Bench(hooks), FakeModel([uses("rest", "work", "rest")]))

    results = [block["content"] for block in record.messages[2]["content"]]
    assert results == ["rested", "worked", "This call was not run: the episode has ended."]
    assert (record.stop, record.tool_calls, record.turns) == ("done", 2, 1)


def test_an_episode_that_a_replys_text_ended_sees_its_tools_run():
    record = play_bench(Bench({"done": lambda: True}), FakeModel([uses("work", "rest")]))

    assert [block["content"] for block in record.messages[2]["content"]] == ["worked", "rested"]
    assert (record.stop, record.tool_calls) == ("done", 2)


def test_who_says_a_last_word_to_a_done_episode_is_answered_nothing():
    record = play_bench(Bench({"done": lambda: True, **NUDGED}), FakeModel([says()]))

    assert [message["role"] for message in record.messages] == ["user", "assistant"]
    assert record.stop == "done"


@pytest.mark.parametrize("stop", ["end_turn", "stop_sequence"])
def test_a_nudge_is_answered_and_calls_in_it_are_refused(stop: str):
    record = play_bench(Bench(NUDGED), FakeModel([uses("work", stop=stop), Reply([], "refusal")]))

    assert said(record) == ["This call was not run: the turn had ended.", "Go on."]
    assert record.messages[-1]["content"][0]["is_error"] is True
    assert (record.stop, record.tool_calls, record.turns) == ("refusal", 0, 2)


@pytest.mark.parametrize("nudge", [None, "", " \n"])
def test_without_a_nudge_the_conversation_is_over(nudge: str | None):
    record = play_bench(Bench({"nudge": lambda: nudge}), FakeModel([says()]))

    assert (record.stop, record.turns, len(record.messages)) == ("end_turn", 1, 2)


@pytest.mark.parametrize(
    ("calls", "how"), [(1, ". Go on, more briefly."), (3, ", within 3 calls. Go on with one call.")]
)
def test_a_reply_that_was_cut_is_told_its_length_and_its_calls_are_refused(calls: int, how: str):
    replies = [uses(*["work"] * calls, stop="max_tokens"), Reply([], "refusal")]

    record = play_bench(Bench(), FakeModel(replies), reply_tokens=12_000)

    assert said(record) == [
        *["This call was not run: the reply that held it was cut."] * calls,
        f"Your reply was cut at 12,000 tokens{how}",
    ]
    assert record.messages[-1]["content"][0]["is_error"] is True


def test_a_pause_for_a_servers_tool_sends_the_history_again_as_it_is():
    record = play_bench(Bench(), FakeModel([says("Let me look.", "pause_turn"), says("Found it.", "refusal")]))

    assert [message["role"] for message in record.messages] == ["user", "assistant", "assistant"]
    assert record.stop == "refusal"


def test_a_pause_with_calls_that_nobody_ran_is_the_end():
    record = play_bench(Bench(), FakeModel([uses("work", stop="pause_turn")]))

    assert (record.stop, record.turns, record.tool_calls) == ("pause_turn", 1, 0)


def test_calls_that_come_when_time_is_up_are_not_run():
    async def answered() -> tuple[str | None, int]:
        turns = new_turns(wall_s=10.0)
        await asyncio.sleep(10)
        return await turns.answer(uses("work")), len(turns.record.messages)

    assert in_virtual_time(answered) == ("limit", 2)


def test_a_reply_without_content_is_no_message():
    record = play_bench(Bench(), FakeModel([Reply([], "refusal")]))

    assert [message["role"] for message in record.messages] == ["user"]


# ---- what a tool returned ----


def output(value: Any, **limits: Any) -> dict[str, Any]:
    """Return the result that a model is shown of what a tool returned."""
    block: dict[str, Any] = play_bench(Bench({"work": lambda: value}), **limits).messages[2]["content"][0]
    return block


@dataclass
class Point:
    x: int
    y: float


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("", "(no output)"),
        (None, "null"),
        ({"é": [1, 2.5, None]}, '{"é": [1, 2.5, null]}'),
        (Point(1, 2.5), '{"x": 1, "y": 2.5}'),
        ([Point(1, 2.0)], '[{"x": 1, "y": 2.0}]'),
        (np.array([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
        ({"a": np.float64(0.5)}, '{"a": 0.5}'),
    ],
)
def test_what_a_tool_returned_is_shown_as_text_or_json(value: Any, shown: str):
    block = output(value)

    assert block["content"] == shown
    assert "is_error" not in block


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (100, "a" * 100),
        (101, "a" * 25 + "\n[... 1 characters cut ...]\n" + "a" * 75),
        (10_100, "a" * 25 + "\n[... 10,000 characters cut ...]\n" + "a" * 75),
    ],
)
def test_of_a_long_output_a_quarter_of_the_head_and_the_tail_stay(length: int, shown: str):
    assert output("a" * length, tool_output_chars=100)["content"] == shown


def test_the_end_of_what_is_cut_is_its_end():
    text = "".join(chr(ord("a") + n % 26) for n in range(300))

    head, cut, tail = output(text, tool_output_chars=101)["content"].splitlines()

    assert (head, tail) == (text[:25], text[-76:])
    assert cut == "[... 199 characters cut ...]"


def test_without_any_tool_it_is_said_that_there_are_none(monkeypatch: pytest.MonkeyPatch):
    async def answered() -> str:
        worker = Worker()
        turns = new_turns(worker=worker)
        turns.tools.clear()
        await turns.answer(uses("work"))
        worker.end()
        return said(turns.record)[0]

    assert asyncio.run(answered()) == "There is no tool 'work'. The tools are: none."


# ---- the opening ----


@pytest.mark.parametrize("prompt", ["", " \n\t"])
def test_a_blank_prompt_is_a_fault_of_the_task(prompt: str):
    record = play_bench(Bench({"prompt": lambda: prompt}))

    assert (record.outcome, record.fault and record.fault.kind) == ("errored", "task")
    assert "the prompt is blank" in record.reason


def test_prompt_and_tools_are_told_by_sixteen_digits_each():
    one, same, other = play_bench(Bench()), play_bench(Bench()), play_bench(Bench({"prompt": lambda: "Rest."}))

    assert [len(digest) for digest in (one.prompt_digest, one.tools_digest)] == [16, 16]
    assert (one.prompt_digest, one.tools_digest) == (same.prompt_digest, same.tools_digest)
    assert (one.prompt_digest == other.prompt_digest, one.tools_digest == other.tools_digest) == (False, True)
    assert one.prompt_digest != one.tools_digest


def test_what_the_sandbox_lacks_is_told_between_the_prompt_and_what_was_tried():
    async def opening() -> list[str]:
        worker: Any = SimpleNamespace(waited_s=0.0, awaited=at_once)
        limits, history = Limits(turns=3), ["depth 3"]
        record = new_record()
        Turns(record, BenchEpisode({}), worker, limits=limits, history=history, surroundings="No network.")
        assert record.surroundings == "No network."
        return said(record)

    assert in_virtual_time(opening) == [
        "Work.",
        "No network.",
        "Earlier runs of this task tried:\n- depth 3",
        "You have 3 replies in all. One reply may call several tools.",
    ]


def test_of_a_text_that_is_blank_no_block_is_made():
    assert said_with_results(play_bench(Bench({"remind": lambda: "  "}))) == []
