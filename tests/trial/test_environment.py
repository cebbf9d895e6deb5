"""An episode without a model: what Environment answers, how it ends and fails, and that it is any trial's."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_rltask import (
    Environment,
    Episode,
    Grade,
    Limits,
    PolicyView,
    ResetNeeded,
    SandboxError,
    Task,
    ToolResult,
    TrialFault,
    call,
    play_policy,
    tool,
)
from pytest_rltask.models import seeded_rng
from tests.support.workbench import BenchEpisode


@dataclass(frozen=True)
class FindNumber(Task):
    calls: int | None = None
    turns: int = 10

    @property
    def limits(self) -> Limits:
        return Limits(turns=self.turns, tool_calls=self.calls, tool_output_chars=200)

    def open(self, seed: int) -> Find:
        return Find(seed)


class Find(Episode):
    closed = 0

    def __init__(self, seed: int) -> None:
        self.seed, self.number, self.won, self.heard = seed, seed % 100, False, []

    @property
    def prompt(self) -> str:
        return "Find the number below 100; then say DONE."

    @property
    def system(self) -> str:
        return "Be brief."

    @property
    def done(self) -> bool:
        return "DONE" in self.heard

    def observe(self, reply: str) -> None:
        self.heard.append(reply)

    def remind(self) -> str:
        return "Guess on."

    def nudge(self) -> str | None:
        return None if "stop" in self.heard else "Say DONE."

    @tool
    def guess(self, number: int) -> str:
        """Guess."""
        self.won = number == self.number
        return "right" if self.won else "higher" if number < self.number else "lower"

    @tool
    def talk(self) -> str:
        """Talk at length."""
        return "a" * 1000

    def grade(self) -> Grade:
        return Grade(float(self.won), threshold=1.0)

    def close(self) -> None:
        type(self).closed += 1


@dataclass(frozen=True)
class Bench(Task):
    """A task whose episode misbehaves where it is told to."""

    where: str = ""
    error: type[Exception] = RuntimeError

    def open(self, seed: int) -> BenchEpisode:
        def fail() -> None:
            raise self.error("on purpose")

        return BenchEpisode({self.where: fail})


def test_an_episode_is_played_in_gymnasiums_words() -> None:
    with Environment(FindNumber()) as env:
        opening = env.reset(seed=42)
        assert (opening.seed, opening.prompt, opening.system) == (
            42,
            "Find the number below 100; then say DONE.",
            "Be brief.",
        )
        assert [one["name"] for one in opening.tools] == ["guess", "talk"]
        assert opening.tools[0]["input_schema"]["properties"] == {"number": {"type": "integer"}}
        step = env.step([call("guess", number=50)])
        assert step.results == (ToolResult("lower"),)
        assert (step.reminder, step.done, step.stop, step.limit) == ("Guess on.", False, None, None)
        assert step.text == "lower\nGuess on."
        step = env.step(call("guess", number=42), text="I have it")
        assert step.results == (ToolResult("right"),)
        step = env.step(text="what now")
        assert (step.results, step.reminder, step.done) == ((), "Say DONE.", False)
        step = env.step(text="DONE")
        assert (step.done, step.stop) == (True, "done")
        grade = env.grade()
        assert (grade.score, grade.passed) == (1.0, True)
        assert (env.record.outcome, env.record.turns, env.record.tool_calls) == ("passed", 4, 2)


def test_bad_calls_are_told_in_their_results_one_for_each() -> None:
    with Environment(FindNumber()) as env:
        env.reset(seed=1)
        step = env.step([call("guess", number="x"), call("gess"), call("talk"), call("guess", number=1)])
        assert [result.is_error for result in step.results] == [True, True, False, False]
        assert step.results[0].text.startswith("guess was not run. number: Input should be a valid integer")
        assert step.results[1].text == "There is no tool 'gess'. The tools are: guess, talk."
        assert "[... 800 characters cut ...]" in step.results[2].text


def test_limits_fire_as_in_any_trial_and_say_so() -> None:
    with Environment(FindNumber(calls=1)) as env:
        env.reset(seed=1)
        step = env.step([call("guess", number=1), call("guess", number=2)])
        assert [result.is_error for result in step.results] == [False, True]
        assert (step.done, step.stop, step.limit) == (True, "limit", "tool_calls")
        assert "0 of 1 tool calls remain." in step.reminder
    with Environment(FindNumber(turns=2)) as env:
        env.reset(seed=1)
        assert not env.step(call("guess", number=1)).done
        step = env.step(call("guess", number=2))
        assert (step.done, step.limit) == (True, "turns")


def test_after_the_end_calls_are_refused_and_the_grade_stands() -> None:
    with Environment(FindNumber()) as env:
        env.reset(seed=1)
        env.step(call("guess", number=1))
        env.step(text="DONE")
        step = env.step([call("guess", number=2), call("talk")])
        assert step.done
        assert [result.text for result in step.results] == ["This call was not run: the episode has ended."] * 2
        assert env.grade().score == 1.0


def test_a_reply_may_be_cut_or_stop_otherwise() -> None:
    with Environment(FindNumber()) as env:
        env.reset(seed=1)
        step = env.step(call("guess", number=1), stop_reason="max_tokens")
        assert step.results[0].text == "This call was not run: the reply that held it was cut."
        step = env.step(text="No.", stop_reason="refusal")
        assert (step.done, step.stop) == (True, "refusal")
        env.grade()
        assert env.record.label == "refusal"


def test_one_environment_plays_episode_after_episode_and_closes_each_once() -> None:
    Find.closed = 0
    with Environment(FindNumber()) as env:
        for seed in (1, 2, 3):
            assert env.reset(seed=seed).seed == seed
            env.step(call("guess", number=seed))
        env.grade()
        assert Find.closed == 3
        seeds = {env.reset().seed for _ in range(3)}
        assert len(seeds) == 3
    assert Find.closed == 6


def test_there_must_be_an_episode() -> None:
    with Environment(FindNumber()) as env:
        for ask in (env.step, env.grade):
            with pytest.raises(ResetNeeded, match=r"call reset\(seed=\.\.\.\)"):
                ask()
        with pytest.raises(ResetNeeded, match="no episode was opened yet"):
            env.record  # noqa: B018
        env.reset(seed=1)
        env.grade()
        with pytest.raises(ResetNeeded):
            env.step(text="more")


def test_what_is_no_task_or_call_is_told() -> None:
    with pytest.raises(TypeError, match=r"an Environment plays a Task, not .*; write Environment\(MyTask\(\)\)"):
        Environment(FindNumber)  # type: ignore[arg-type]
    with Environment(FindNumber()) as env:
        env.reset(seed=1)
        with pytest.raises(TypeError, match=r"step\(\) takes calls, not 'guess'"):
            env.step(["guess"])  # type: ignore[list-item]


@pytest.mark.parametrize("where", ["prompt", "work", "observe", "remind", "grade"])
def test_a_fault_of_the_task_is_raised_and_closes_the_episode(where: str) -> None:
    def play(env: Environment) -> None:
        env.reset(seed=1)
        env.step(call("work"))
        env.grade()

    with Environment(Bench(where)) as env:
        with pytest.raises(TrialFault, match="RuntimeError: on purpose") as caught:
            play(env)
        assert caught.value.fault.kind == "task"
        assert "on purpose" in caught.value.fault.details
        assert (env.record.outcome, env.record.label) == ("errored", "task fault")
        with pytest.raises(ResetNeeded):
            env.step(text="on")


def test_a_fault_of_the_sandbox_is_the_sandboxs() -> None:
    with Environment(Bench("work", SandboxError)) as env:
        env.reset(seed=1)
        with pytest.raises(TrialFault) as caught:
            env.step(call("work"))
        assert caught.value.fault.kind == "sandbox"
        assert env.record.fault is not None
        assert env.record.fault.code_ran is False


def test_it_is_asynchronous_too() -> None:
    async def play(seed: int) -> float:
        async with Environment(FindNumber()) as env:
            await env.areset(seed=seed)
            await env.astep(call("guess", number=seed))
            return (await env.agrade()).score

    async def many() -> list[float]:
        return await asyncio.gather(*(play(seed) for seed in range(20)))

    assert asyncio.run(many()) == [1.0] * 20


def test_the_plain_methods_work_where_a_loop_runs() -> None:
    async def notebook() -> float:
        with Environment(FindNumber()) as env:
            env.reset(seed=7)
            env.step(call("guess", number=7))
            return env.grade().score

    assert asyncio.run(notebook()) == 1.0


def test_by_hand_and_by_a_policy_it_is_the_same_trial() -> None:
    def policy(view: PolicyView):
        low, high = 0, 99
        while low <= high:
            middle = (low + high) // 2
            answer = yield [call("guess", number=middle), call("guess", number="x")]
            if answer[0].text == "right":
                break
            low, high = (middle + 1, high) if answer[0].text == "higher" else (low, middle - 1)
        yield "well"
        yield "DONE"

    for seed in range(20):
        task = FindNumber(calls=8)
        object.__setattr__(task, "policies", {"halve": policy})
        record = play_policy(task, "halve", seed)
        with Environment(task) as env:
            opening = env.reset(seed=seed)
            moves = policy(PolicyView(opening.prompt, ("guess", "talk"), seed, seeded_rng("halve", seed)))
            move, step = next(moves), None
            while step is None or not step.done:
                step = env.step(text=move) if isinstance(move, str) else env.step(move)
                try:
                    move = moves.send(step.reminder if isinstance(move, str) else list(step.results))
                except StopIteration:
                    move = ""
            env.grade()
            ours = env.record
        assert without_ids(ours.messages) == without_ids(record.messages)
        assert (ours.score, ours.outcome, ours.stop, ours.limit) == (
            record.score,
            record.outcome,
            record.stop,
            record.limit,
        )
        assert (ours.prompt_digest, ours.tools_digest) == (record.prompt_digest, record.tools_digest)


def test_the_shown_episode_runs(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch", reason="needs what the tasks need")
    page = (Path(__file__).parents[2] / "docs" / "environment.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(shown, "docs/environment.md", "exec"), {})
    assert capsys.readouterr().out.endswith("failed 2\n")


def without_ids(messages: list[dict]) -> list:
    own = ("id", "tool_use_id")
    return [
        (
            message["role"],
            [{name: value for name, value in block.items() if name not in own} for block in message["content"]],
        )
        for message in messages
    ]
