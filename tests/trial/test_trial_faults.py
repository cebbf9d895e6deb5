"""What goes wrong in a trial and is not the model's doing: it is errored, says whose fault it is, and is closed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from pytest_rltask import Grade, PolicyView, SandboxError, ToolError, call, tool
from pytest_rltask.models import ModelFault, Reply
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.trial.play import play
from tests.support.workbench import Bench, BenchEpisode, FakeModel, play_bench, plays, raises, spec_of

# ---- faults of the task's code ----

PLACES = ["open", "info", "prompt", "observe", "work", "remind", "done", "nudge", "tried", "finish", "grade", "close"]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (KeyError("a bug of the task"), "task", "KeyError: 'a bug of the task'"),
        (SandboxError("no namespaces"), "sandbox", "SandboxError: no namespaces"),
        (SystemExit(3), "task", "SystemExit: 3"),
        (pytest.skip.Exception("not today"), "task", "Skipped: not today"),
        (StopIteration("nothing left"), "task", "StopIteration: nothing left"),
        (TimeoutError("of its own"), "task", "TimeoutError: of its own"),
    ],
    ids=["exception", "sandbox", "exit", "skip", "stop", "timeout"],
)
def test_what_the_task_raises_makes_the_trial_errored(place: str, error: BaseException, kind: str, said: str):
    task = Bench({place: raises(error)})

    record = play_bench(task, wall_s=20)

    assert record.outcome == "errored"
    assert record.fault
    assert (record.fault.kind, record.label) == (kind, f"{kind} fault")
    assert said in record.fault.message
    assert "in hook" in record.fault.details  # the traceback, down to the line that raised
    assert [episode.events.count("close") for episode in task.opened] == [1] * (place != "open")


def test_a_tool_that_refuses_is_no_fault():
    record = play_bench(Bench({"work": raises(ToolError("closed on Sundays"))}))

    assert (record.outcome, record.tool_calls) == ("passed", 0)
    assert record.messages[2]["content"][0] == {
        "type": "tool_result",
        "tool_use_id": "toolu_moves_00",
        "content": "closed on Sundays",
        "is_error": True,
    }


@pytest.mark.parametrize("first", ["work", "grade", "info"])
def test_the_first_fault_is_told_not_that_of_the_clean_up(first: str):
    task = Bench({first: raises(ValueError("the first")), "close": raises(OSError("the second"))})

    record = play_bench(task)

    assert record.fault
    assert "the first" in record.fault.message
    assert task.opened[0].events.count("close") == 1


def test_what_a_faulty_trial_tried_is_noted_all_the_same():
    record = play_bench(Bench({"tried": lambda: "depth 3", "work": raises(ValueError("a bug"))}))

    assert (record.outcome, record.tried) == ("errored", "depth 3")


def test_the_first_fault_is_told_not_that_of_asking_what_was_tried():
    record = play_bench(Bench({"work": raises(ValueError("the first")), "tried": raises(OSError("the second"))}))

    assert "the first" in record.reason


@pytest.mark.parametrize("tried", [None, 5, ["depth 3"]])
def test_what_was_tried_is_told_in_a_string(tried: Any):
    record = play_bench(Bench({"tried": lambda: tried}))

    assert record.reason == f"what the episode tried: TypeError: tried is {tried!r}; it must be a string"


def test_open_that_returns_no_episode_is_told_so():
    record = play_bench(Bench({"open": lambda: None}))

    assert "Bench.open() returned None; it must return an Episode" in record.reason


@pytest.mark.parametrize("prompt", [None, 5, " \n"])
def test_a_prompt_that_is_no_text_is_a_fault_of_the_task(prompt: Any):
    record = play_bench(Bench({"prompt": lambda: prompt}))

    assert record.fault
    assert record.fault.kind == "task"
    assert "reading the episode's prompt and tools" in record.fault.message


@pytest.mark.parametrize("name", ["work", "rest"])
def test_a_tool_that_does_not_return_is_a_fault_of_the_task(name: str):
    released = threading.Event()

    async def for_ever() -> None:
        await asyncio.Event().wait()

    class Stuck(BenchEpisode):
        @tool
        def work(self) -> None:
            """Block."""
            released.wait(20)

        @tool
        async def rest(self) -> None:
            """Wait."""
            await for_ever()

    episode = Stuck({})
    record = play_bench(Bench({"open": lambda: episode}, moves=plays(name)), tool_s=0.05)
    released.set()

    assert record.fault
    assert record.fault.kind == "task"
    assert record.reason == (
        f"tool {name} did not return within 0.05 s; a task must bound its own time (Limits.tool_s)"
    )
    assert episode.events.count("close") == 1


# ---- faults of the model ----


def test_a_fault_of_the_model_makes_the_trial_errored_and_keeps_what_was_said():
    said = Reply([{"type": "text", "text": "Hm."}], "max_tokens", cost_usd=0.5)
    fault = ModelFault("no credit", request_id="req_1", fatal=True)

    record = play_bench(Bench(), FakeModel([said, fault]))

    assert record.fault
    assert (record.fault.kind, record.fault.message, record.fault.request_id) == ("api", "no credit", "req_1")
    assert record.fault.fatal
    assert (record.outcome, record.turns, record.cost_usd) == ("errored", 1, 0.5)


def test_a_bug_of_a_model_is_a_fault_of_the_harness():
    task = Bench()

    record = play_bench(task, FakeModel([RuntimeError("a bug of ours")]))

    assert record.fault
    assert (record.fault.kind, record.fault.message) == ("harness", "RuntimeError: a bug of ours")
    assert "Traceback" in record.fault.details
    assert task.opened[0].events.count("close") == 1


def test_one_unknown_price_makes_the_whole_price_unknown():
    replies = [Reply([{"type": "text", "text": "."}], "max_tokens", cost_usd=cost) for cost in (0.5, None, 0.25)]

    assert play_bench(Bench(), FakeModel(replies)).cost_usd is None


# ---- interrupts ----


@pytest.mark.parametrize("place", ["open", "work", "grade", "close"])
def test_an_interrupt_closes_the_episode_exactly_once(place: str):
    entered, released = threading.Event(), threading.Event()

    def block() -> Any:
        entered.set()
        released.wait(20)
        return task.opened[0] if place == "open" else Grade(1.0)

    task = Bench({place: block})
    if place == "open":
        task.opened.append(BenchEpisode({}))

    async def interrupt() -> bool:
        trial = asyncio.ensure_future(play(spec_of(task), PolicyModel("moves")))
        await asyncio.to_thread(entered.wait, 20)
        trial.cancel()
        await asyncio.sleep(0)  # the trial sees it
        released.set()
        await asyncio.wait([trial])
        return trial.cancelled()

    assert asyncio.run(interrupt())
    assert task.opened[0].events.count("close") == 1


# ---- what neither returns nor raises as it should ----


@pytest.mark.parametrize("place", ["open", "tried", "grade", "finish", "close"])
def test_what_does_not_return_is_a_fault_of_the_task(place: str):
    released = threading.Event()

    record = play_bench(Bench({place: lambda: released.wait(20)}), tool_s=0.05)
    released.set()

    assert record.fault
    assert record.fault.kind == "task"
    assert "did not return within 0.05 s; a task must bound its own time" in record.reason


@pytest.mark.parametrize("error", [SystemExit(3), pytest.skip.Exception("not today"), RuntimeError("a bug")])
@pytest.mark.parametrize("begun", [False, True])
def test_a_policy_that_raises_is_a_fault_of_the_task(error: BaseException, begun: bool):
    def policy(view: PolicyView) -> Any:
        if begun:
            yield call("work")
        raise error

    record = play_bench(Bench(moves=policy))

    assert record.fault
    assert record.fault.kind == "task"
    assert "policy 'moves' raised" in record.reason
    assert "in policy" in record.fault.details


@pytest.mark.parametrize("move", [None, 5, [], ["work"]])
def test_a_policy_that_yields_what_is_no_move_is_told_what_is(move: Any):
    def policy(view: PolicyView) -> Any:
        yield move

    record = play_bench(Bench(moves=policy))

    assert record.fault
    assert record.fault.kind == "task"
    assert "yield call(...), a list of such calls, or a string" in record.reason


@pytest.mark.parametrize("moves", [plays("nap"), plays("work", "nap")])
def test_a_policy_that_calls_no_tool_is_a_fault_of_the_task(moves: Any):
    task = Bench(moves=moves)

    record = play_bench(task)

    assert record.fault
    assert (record.outcome, record.fault.kind) == ("errored", "task")
    told = "policy 'moves' calls 'nap', which is no tool of the episode; its tools are: work, rest"
    assert record.fault.message == told
    assert task.opened[0].events.count("close") == 1


def test_a_policy_that_cheats_may_try_what_is_no_tool():
    task = Bench(policy="cheat_nap", moves=plays("nap", "work"))

    record = play_bench(task, PolicyModel("cheat_nap"))

    assert record.outcome == "passed"
    assert record.messages[2]["content"][0]["content"] == "There is no tool 'nap'. The tools are: work, rest."


def test_a_policy_that_is_no_generator_is_told_to_be_one():
    record = play_bench(Bench(moves=lambda view: [call("work")]))

    assert "is no generator function; use `yield call(...)` in it" in record.reason


class Unspeakable(Exception):
    """An error that cannot be shown."""

    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize("place", ["open", "work", "grade"])
def test_an_error_that_cannot_be_shown_is_a_fault_all_the_same(place: str):
    record = play_bench(Bench({place: raises(Unspeakable())}))

    assert "Unspeakable: (its message cannot be shown)" in record.reason


def test_the_traceback_shows_the_author_only_the_authors_code():
    record = play_bench(Bench({"work": raises(KeyError("a bug of the task"))}))

    assert record.fault
    assert "workbench.py" in record.fault.details
    assert "conversation.py" not in record.fault.details


def test_a_tool_that_raises_what_cancels_is_a_fault_of_the_task_and_no_interrupt():
    record = play_bench(Bench({"rest": raises(asyncio.CancelledError("of its own"))}, moves=plays("rest")))

    assert record.fault is not None
    assert record.fault.kind == "task"
    assert "CancelledError: of its own" in record.fault.message
