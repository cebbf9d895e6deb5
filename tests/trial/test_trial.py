"""The loop of a trial without any HTTP: what is said and run, how it is graded, and that anything goes."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_rltask import Grade, PolicyView, call
from pytest_rltask.models import Reply, Request
from pytest_rltask.trial.turns import shown_history
from tests.support.request_validator import RequestValidator
from tests.support.workbench import Bench, FakeModel, Hook, play_bench, plays

# ---- the conversation ----


def test_a_policy_hears_what_its_calls_returned():
    heard: list[Any] = []

    def moves(view: PolicyView) -> Any:
        heard.append((yield call("work")).text)
        heard.append([result.text for result in (yield [call("rest"), call("work"), call("work", hard=1)])])
        heard.append((yield "Shall I go on?"))

    record = play_bench(Bench({"nudge": lambda: "Yes."}, moves), turns=10)

    refused = "work was not run. hard: Extra inputs are not permitted. It takes no arguments."
    assert heard == ["worked", ["rested", "worked", refused], "Yes."]
    assert (record.outcome, record.turns, record.tool_calls, record.stop) == ("passed", 10, 3, "limit")


@pytest.mark.parametrize(("label", "told"), [({}, "tampering"), ({"label": "copied"}, "copied")])
def test_a_cheated_trial_is_never_labelled_as_a_low_score(label: dict[str, str], told: str):
    record = play_bench(Bench({"grade": lambda: Grade(1.0, threshold=1.0, cheated=True, **label)}))

    assert (record.outcome, record.label, record.reason) == ("cheated", told, "the grader proved tampering")


def test_a_coroutine_can_be_a_tool():
    record = play_bench(Bench(moves=plays("rest")))

    assert record.messages[2]["content"][0]["content"] == "rested"


def test_tools_run_off_the_event_loop():
    task = Bench({"work": lambda: threading.current_thread().name})

    assert play_bench(task).messages[2]["content"][0]["content"] == "rltask-trial"


def test_a_task_may_hold_what_is_bound_to_a_thread():
    threads: list[int] = []
    task = Bench(
        {
            "work": lambda: str(threads.append(threading.get_ident())),
            "finish": lambda: threads.append(threading.get_ident()),
            "close": lambda: threads.append(threading.get_ident()),
        }
    )

    play_bench(task)

    assert len(threads) >= 3
    assert len(set(threads)) == 1


def test_what_a_grader_measured_becomes_json_whatever_it_is():
    measured = {"loss": float("nan"), "steps": 10**5000, "path": Path("model.onnx"), ("a", 1): np.int64(3)}

    record = play_bench(Bench({"grade": lambda: Grade(1.0, threshold=1.0, metrics=measured)}))

    assert json.loads(json.dumps(record.metrics, allow_nan=False)) == {
        "loss": "nan",
        "steps": "(a number of 16610 bits)",
        "path": "model.onnx",
        "('a', 1)": 3,
    }


def test_the_episode_goes_through_its_life_once_in_order():
    task = Bench()

    play_bench(task)

    assert [event for event in task.opened[0].events if event not in ("done", "observe")] == [
        "info",
        "prompt",
        "work",
        "remind",
        "nudge",
        "tried",
        "finish",
        "grade",
        "close",
    ]


def test_the_record_tells_where_the_time_went():
    seconds = play_bench(Bench()).seconds

    assert seconds.keys() == {"open", "model", "tools", "grade", "total"}
    assert sum(seconds.values()) <= 2 * seconds["total"] + 0.001


# ---- the grade ----


@pytest.mark.parametrize(
    ("grade", "outcome", "label", "reason"),
    [
        (Grade(1.0, threshold=1.0), "passed", "", ""),
        (Grade(0.5, threshold=1.0), "failed", "score below threshold", "score 0.5 is below the threshold 1"),
        (Grade(0.5), "errored", "not judged", "the grader names no threshold"),
        (Grade(0.5, threshold=1.0, label="no file", reason="model.onnx is missing"), "failed", "no file", "model.onnx"),
        (Grade(1.0, threshold=1.0, cheated=True, label="read labels"), "cheated", "read labels", "the grader proved"),
    ],
)
def test_the_grade_decides_the_outcome(grade: Grade, outcome: str, label: str, reason: str):
    record = play_bench(Bench({"grade": lambda: grade}))

    assert (record.outcome, record.label) == (outcome, label)
    assert record.reason.startswith(reason)
    assert bool(record.reason) == bool(reason)


def test_numbers_of_numpy_become_plain_ones():
    grade = Grade(
        np.float32(0.5),
        threshold=np.float32(0.25),
        passed=np.True_,
        metrics={"loss": np.float64(2.5), "n": np.int64(3)},
    )

    data = json.loads(json.dumps(play_bench(Bench({"grade": lambda: grade})).to_json(), default=str))

    assert (data["score"], data["threshold"], data["grade_passed"]) == (0.5, 0.25, True)
    assert data["metrics"] == {"loss": 2.5, "n": 3}


@pytest.mark.parametrize(
    ("grade", "told"),
    [
        (lambda: Grade(float("nan")), "score is nan; it must be finite"),
        (lambda: Grade(float("inf"), threshold=1.0), "score is inf; it must be finite"),
        (lambda: Grade(None), "score is None; it must be a number"),  # type: ignore[arg-type]
        (lambda: None, "grade() returned None; it must return a Grade"),
        (lambda: 1.0, "grade() returned 1.0; it must return a Grade"),
    ],
)
def test_a_grade_that_cannot_be_used_is_a_fault_of_the_task(grade: Hook, told: str):
    record = play_bench(Bench({"grade": grade}))

    assert (record.outcome, record.score, record.fault and record.fault.kind) == ("errored", None, "task")
    assert told in record.reason


# ---- what earlier runs tried ----


def test_the_first_message_tells_what_earlier_runs_tried():
    alone, told = play_bench(Bench()), play_bench(Bench(), history=("depth 3", "depth 5"))

    assert alone.messages[0]["content"] == [{"type": "text", "text": "Work."}]
    assert told.messages[0]["content"] == [
        {"type": "text", "text": "Work."},
        {"type": "text", "text": "Earlier runs of this task tried:\n- depth 3\n- depth 5"},
    ]
    assert told.prompt_digest == alone.prompt_digest


def test_a_policy_sees_the_history_apart_from_the_prompt():
    views: list[PolicyView] = []

    def moves(view: PolicyView) -> Any:
        views.append(view)
        yield call("work")

    play_bench(Bench(moves=moves), history=("depth\n3", " "))

    assert (views[0].prompt, views[0].history) == ("Work.", ("depth 3",))


def test_what_was_tried_is_noted_before_anything_is_graded():
    task = Bench({"tried": lambda: "depth 3 \ud800"})

    record = play_bench(task)

    assert record.tried == "depth 3 ?"
    events = task.opened[0].events
    assert events.index("work") < events.index("tried") < events.index("finish")


@pytest.mark.parametrize(
    ("history", "shown"),
    [
        ([], ()),
        (["", " \n "], ()),
        (["weights 2,\n\tdepth 3 "], ("weights 2, depth 3",)),
        (["b", "a", "b", "a\n"], ("b", "a")),
        ([str(number) for number in range(12)], tuple(str(number) for number in range(2, 12))),
        ([*"abcdefghij", *"bcdefghij"], tuple("abcdefghij")),
        (["x" * 300], ("x" * 300,)),
        (["x" * 301], ("x" * 297 + "...",)),
        (["\ud800"], ("?",)),
    ],
)
def test_a_history_shows_the_latest_lines_that_differ(history: list[str], shown: tuple[str, ...]):
    assert shown_history(history) == shown


# ---- whatever a model does ----

ids = st.builds("toolu_{:06d}".format, st.integers(0, 10**6))
calls = st.builds(
    lambda identity, name, arguments: {"type": "tool_use", "id": identity, "name": name, "input": arguments},
    ids,
    st.sampled_from(["work", "rest", "nap", ""]),
    st.just({}) | st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=2),
)
texts = st.builds(lambda words: {"type": "text", "text": words}, st.text(min_size=1).filter(str.strip))
contents = st.lists(texts | calls, max_size=4, unique_by=lambda block: block.get("id") or id(block))
stops = st.sampled_from(["end_turn", "stop_sequence", "max_tokens", "pause_turn", "refusal", "a_new_reason"])
replies = st.lists(
    st.builds(
        lambda content, stop: Reply(content, "tool_use" if stop == "tool_use" else stop),
        contents,
        stops | st.just("tool_use"),
    ).filter(lambda reply: reply.stop_reason != "tool_use" or reply.tool_uses),
    max_size=6,
)


@settings(max_examples=25, deadline=None)
@given(replies, st.booleans(), st.integers(1, 3))
def test_any_conversation_is_judged_and_every_request_of_it_is_valid(said: list[Reply], nudges: bool, tool_calls: int):
    validator, violations = RequestValidator(), []
    answers = iter([*said, *[Reply([], "refusal")] * 20])

    class Checked(FakeModel):
        async def reply(self, request: Request) -> Reply:
            body = {"model": "m", "max_tokens": request.max_tokens, "messages": list(request.messages)}
            verdict = validator.place({**body, "tools": request.tools})
            violations.extend(verdict.violations)
            reply = next(answers)
            if verdict.conversation:
                message = {"role": "assistant", "content": reply.content, "stop_reason": reply.stop_reason}
                validator.answered(verdict.conversation, message)
            return reply

    task = Bench({"nudge": lambda: "Go on."} if nudges else {})
    record = play_bench(task, Checked([]), tool_calls=tool_calls)

    assert violations == []
    assert record.outcome == "passed"
    assert record.stop
    assert record.tool_calls <= tool_calls
    assert task.opened[0].events.count("close") == 1


def test_no_module_of_the_loop_imports_pytest():
    code = "import sys, pytest_rltask.trial.play, pytest_rltask.models.claude; sys.exit('pytest' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
