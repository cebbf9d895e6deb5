"""Plays one trial: the model and the episode's tools alternate until the model stops or a limit fires.

:func:`play` always returns a :class:`~pytest_rltask.record.Record`: whatever the model does is judged by the
grader, whatever the API, the sandbox or the task's own code does wrong makes the trial `errored`. It knows
nothing of pytest, and a policy, a replay and Claude look alike to it.

The conversation is only ever extended. Every ``tool_use`` is answered exactly once, results first; reminders
follow them as text in the same user message.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import threading
import time
import traceback
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from pytest_rltask.models import Model, ModelFault, Player, Reply, Request, Start
from pytest_rltask.record import Fault, FaultKind, Record, RequestLog
from pytest_rltask.sandbox import SandboxError
from pytest_rltask.task import Episode, Grade, Limits, Task
from pytest_rltask.tools import InvalidCall, Tool, ToolError, ToolResult, tools_of

__all__ = ["Trial", "TrialSpec", "play"]

_T = TypeVar("_T")

LIMIT_NAMES = {
    "turns": "turn limit",
    "tool_calls": "tool-call limit",
    "total_tokens": "token limit",
    "wall": "time limit",
}
STOP_LABELS = {
    "refusal": "refusal",
    "model_context_window_exceeded": "context window full",
}


@dataclass(frozen=True)
class TrialSpec:
    """What is to be played: one run of a task by a model."""

    trial_id: str
    task: Task
    task_name: str
    model: str
    run: int
    seed: int
    limits: Limits


@dataclass(frozen=True)
class Trial:
    """A finished trial, as the fixture ``trial`` hands it to the test."""

    task: Task
    """The task that was played, with its parameters."""
    record: Record
    """Everything about it."""

    @property
    def score(self) -> float:
        """The grader's raw score."""
        assert self.record.score is not None, "a judged trial has a score"
        return self.record.score

    @property
    def passed(self) -> bool:
        """The grader's own verdict: ``score >= threshold``, and False for a cheated trial."""
        return bool(self.record.grade_passed)

    @property
    def reason(self) -> str:
        """Why the trial did not pass, in a sentence; empty if it did."""
        return self.record.reason

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What else the grader measured."""
        return self.record.metrics


class _Faulty(Exception):
    """Ends a trial as errored."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


async def play(spec: TrialSpec, model: Model) -> Record:
    """Play a trial to its grade.

    Args:
        spec: what to play.
        model: who plays it; must belong to the running event loop.

    Returns:
        The trial's record, with outcome ``errored`` if anything but the model was at fault.
    """
    record = Record(
        trial_id=spec.trial_id,
        task=spec.task_name,
        task_digest=spec.task.digest(),
        model=spec.model,
        run=spec.run,
        seed=spec.seed,
        started=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    begin = time.monotonic()
    try:
        async with _opened(spec, record) as episode:
            await _Conversation(spec, record, episode).hold(model)
            await _judge(spec, record, episode)
    except _Faulty as error:
        _mark_errored(record, error.fault)
    except Exception as error:  # our own bug: still a record, never a lost or a failed trial
        said = f"{type(error).__name__}: {error}"
        _mark_errored(record, Fault("harness", _clean(said), details=_clean(traceback.format_exc())))
    record.seconds["total"] = time.monotonic() - begin
    record.seconds = {phase: round(seconds, 4) for phase, seconds in record.seconds.items()}
    return record


def _mark_errored(record: Record, fault: Fault) -> None:
    record.outcome, record.fault = "errored", fault
    record.label, record.reason = f"{fault.kind} fault", fault.message


@contextlib.asynccontextmanager
async def _opened(spec: TrialSpec, record: Record) -> AsyncIterator[Episode]:
    """Open the trial's episode and close it whatever happens, a cancelled trial included."""
    with _timed(record, "open"), _blamed("opening the episode"):
        episode = await _open(spec)
    try:
        with _blamed("opening the episode"):
            if not isinstance(episode, Episode):
                raise TypeError(f"{type(spec.task).__name__}.open() returned {episode!r}; it must return an Episode")
            record.info = dict(episode.info)
        yield episode
    finally:
        with _blamed("closing the episode"):
            # Shielded: a cancelled trial must not leave processes and files behind.
            await asyncio.shield(_off_loop(episode.close))


async def _open(spec: TrialSpec) -> Episode:
    opening = asyncio.ensure_future(_off_loop(lambda: spec.task.open(spec.seed)))
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        episode = await opening  # what is half open cannot be closed yet
        await _off_loop(episode.close)
        raise


class _Conversation:
    """One model and one episode, alternating."""

    def __init__(self, spec: TrialSpec, record: Record, episode: Episode) -> None:
        self.limits = spec.limits
        self.spec = spec
        self.record = record
        self.episode = episode
        self.deadline = asyncio.get_running_loop().time() + spec.limits.wall_s
        with _blamed("reading the episode's prompt and tools"):
            self.tools: dict[str, Tool] = tools_of(episode)
            self.prompt = episode.prompt
            record.system = episode.system
        record.tools = [tool.param for tool in self.tools.values()]
        record.prompt_digest = _digest([record.system, self.prompt])
        record.tools_digest = _digest(record.tools)
        record.messages.append({"role": "user", "content": [{"type": "text", "text": _clean(self.prompt)}]})

    async def hold(self, model: Model) -> None:
        """Hold the conversation; the record tells why it ended."""
        start = Start(self.record.task, self.record.seed, self.prompt, tuple(self.tools), self.spec.task.policies)
        with _charged():
            player = model.player(start)
        for _ in range(self.limits.turns):
            reply = await self._ask(player)
            stop = await self._answer(reply) or self._fired()
            if stop:
                self.record.stop = stop
                return
        self._limit("turns")

    async def _ask(self, player: Player) -> Reply:
        record = self.record
        request = Request(record.system, record.tools, record.messages, self.limits.reply_tokens, self.deadline)
        with _timed(record, "model"), _charged():
            reply = await player.reply(request)
        record.turns += 1
        record.requests.append(
            RequestLog(
                request_id=reply.request_id,
                model=reply.model,
                stop_reason=reply.stop_reason,
                usage=reply.usage,
                cost_usd=reply.cost_usd,
                latency_s=round(reply.latency_s, 4),
                faults=reply.faults,
                empty=not reply.content,
            )
        )
        if reply.content:  # the API takes no message without content back
            record.messages.append({"role": "assistant", "content": reply.content})
        with _blamed("showing the episode a reply"):
            self.episode.observe(reply.text)
        return reply

    async def _answer(self, reply: Reply) -> str | None:
        """Answer a reply with a user message; or return why the conversation ends here."""
        match reply.stop_reason:
            case "tool_use":
                if stop := self._fired():
                    return stop
                return await self._run_tools(reply)
            case "pause_turn":
                return None  # a server-side tool wants more time: the history is sent again as it is
            case "max_tokens":
                self._say_cut(reply)
                return None
            case "end_turn" | "stop_sequence":
                return self._say_nudge(reply)
        return reply.stop_reason

    async def _run_tools(self, reply: Reply) -> str | None:
        """Run the calls one after the other, in their order, and append their results."""
        blocks, stop = [], None
        for use in reply.tool_uses:
            stop = stop or ("done" if self._ended() else self._fired(before_tool=True))
            result = self._refused(stop) if stop else await self._run_tool(use)
            blocks.append(_result_block(use["id"], result))
        self._say(blocks + _text_blocks(self._reminders()))
        return stop or ("done" if self._ended() else None)

    def _refused(self, stop: str) -> ToolResult:
        why = "the episode has ended" if stop == "done" else f"the {LIMIT_NAMES[self.record.limit or '']} is reached"
        return ToolResult(f"This call was not run: {why}.", is_error=True)

    async def _run_tool(self, use: dict[str, Any]) -> ToolResult:
        tool = self.tools.get(use["name"])
        if tool is None:
            known = ", ".join(self.tools) or "none"
            return ToolResult(f"There is no tool {use['name']!r}. The tools are: {known}.", is_error=True)
        try:
            invoke = tool.bind(use["input"])
        except InvalidCall as error:
            return ToolResult(str(error), is_error=True)
        with _timed(self.record, "tools"), _blamed(f"tool {tool.name}"):
            try:
                output = await self._returned(tool.name, invoke)
            except ToolError as error:
                return self._cut(str(error), is_error=True)
            self.record.tool_calls += 1
            return self._cut(output if isinstance(output, str) else json.dumps(output, ensure_ascii=False, default=str))

    async def _returned(self, name: str, invoke: Callable[[], Any]) -> Any:
        """Run a tool off the loop, or on it if it is a coroutine, and return its output."""
        try:
            async with asyncio.timeout(self.limits.tool_s) as timeout:
                output = await _off_loop(invoke)
                return await output if asyncio.iscoroutine(output) else output
        except TimeoutError:
            if not timeout.expired():
                raise  # the tool's own
            said = f"tool {name} did not return within {self.limits.tool_s:g} s; a tool must bound its own time"
            raise _Faulty(Fault("task", f"{said} (Limits.tool_s)")) from None

    def _cut(self, text: str, *, is_error: bool = False) -> ToolResult:
        """Keep the head and the tail of a long output; what went wrong stands at its end."""
        text, limit = _clean(text), self.limits.tool_output_chars
        cut = len(text) - limit
        if cut <= 0:
            return ToolResult(text, is_error)
        head, tail = limit // 4, limit - limit // 4
        return ToolResult(f"{text[:head]}\n[... {cut:,} characters cut ...]\n{text[-tail:]}", is_error, cut)

    def _reminders(self) -> list[str]:
        with _blamed("the episode's reminder"):
            own = self.episode.remind()
        left = []
        if self.limits.tool_calls is not None:
            left = [f"{self.limits.tool_calls - self.record.tool_calls} of {self.limits.tool_calls} tool calls remain."]
        return left + ([own] if own else [])

    def _say_cut(self, reply: Reply) -> None:
        """Tell the model that its reply was cut; a cut tool call is answered, never run."""
        refused = ToolResult("This call was not run: the reply that held it was cut.", is_error=True)
        blocks = [_result_block(use["id"], refused) for use in reply.tool_uses]
        said = f"Your reply was cut at {self.limits.reply_tokens:,} tokens. Go on, more briefly."
        self._say([*blocks, *_text_blocks([said])])

    def _say_nudge(self, reply: Reply) -> str | None:
        """Let the episode answer a reply without tool calls; without an answer the conversation is over."""
        if self._ended():
            return "done"
        with _blamed("the episode's nudge"):
            nudge = self.episode.nudge()
        if not nudge:
            return reply.stop_reason
        refused = ToolResult("This call was not run: the turn had ended.", is_error=True)
        blocks = [_result_block(use["id"], refused) for use in reply.tool_uses]
        self._say([*blocks, *_text_blocks([nudge])])
        return None

    def _say(self, blocks: list[dict[str, Any]]) -> None:
        self.record.messages.append({"role": "user", "content": blocks})

    def _ended(self) -> bool:
        with _blamed("asking the episode whether it is done"):
            return bool(self.episode.done)

    def _fired(self, *, before_tool: bool = False) -> str | None:
        """Return "limit" if the tokens or the time are spent; or, before a tool, the tool calls."""
        if before_tool and self.record.tool_calls == self.limits.tool_calls:
            return self._limit("tool_calls")
        if self.limits.total_tokens is not None and self.record.usage.total >= self.limits.total_tokens:
            return self._limit("total_tokens")
        if asyncio.get_running_loop().time() >= self.deadline:
            return self._limit("wall")
        return None

    def _limit(self, name: str) -> str:
        self.record.stop, self.record.limit = "limit", name
        return "limit"


async def _judge(spec: TrialSpec, record: Record, episode: Episode) -> None:
    """Grade the episode and write outcome, label and reason into the record."""
    with _timed(record, "grade"), _blamed("the grader"):
        grade = await _off_loop(lambda: _graded(episode))
        if not isinstance(grade, Grade):
            raise TypeError(f"grade() returned {grade!r}; it must return a Grade")
        if problem := grade.problem():
            raise ValueError(problem)
        record.metrics = json.loads(json.dumps(dict(grade.metrics), default=_plain))
    record.score, record.threshold = float(grade.score), grade.threshold
    record.grade_passed = grade.passed
    record.outcome = "cheated" if grade.cheated else "passed" if grade.passed else "failed"
    if record.outcome != "passed":
        record.label, record.reason = _explained(record, grade)


def _graded(episode: Episode) -> Grade:
    episode.finish()
    return episode.grade()


def _explained(record: Record, grade: Grade) -> tuple[str, str]:
    """Return label and reason of a trial that did not pass."""
    reason = grade.reason
    if not reason and grade.threshold is not None:
        reason = f"score {grade.score:g} is below the threshold {grade.threshold:g}"
    if grade.cheated:
        return grade.label, reason or "the grader proved tampering"
    how = LIMIT_NAMES[record.limit] if record.limit else STOP_LABELS.get(record.stop)
    if how is None:
        return grade.label, reason
    return how, f"{reason} (ended by: {how})" if reason else f"ended by: {how}"


def _result_block(tool_use_id: str, result: ToolResult) -> dict[str, Any]:
    block = {"type": "tool_result", "tool_use_id": tool_use_id, "content": result.text or "(no output)"}
    return {**block, "is_error": True} if result.is_error else block


def _text_blocks(texts: list[str]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": _clean(text)} for text in texts]


def _clean(text: str) -> str:
    """Replace lone surrogates, which no request can carry."""
    return text.encode("utf-8", "replace").decode() if not text.isascii() else text


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=repr).encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Turn a number of some library into Python's own."""
    return value.item() if hasattr(value, "item") else str(value)


@contextlib.contextmanager
def _timed(record: Record, phase: str) -> Iterator[None]:
    begin = time.monotonic()
    try:
        yield
    finally:
        record.seconds[phase] = record.seconds.get(phase, 0.0) + time.monotonic() - begin


@contextlib.contextmanager
def _blamed(what: str) -> Iterator[None]:
    """Turn what the task's own code raises into a fault of the task, or of its sandbox."""
    try:
        yield
    except (_Faulty, asyncio.CancelledError, KeyboardInterrupt):
        raise
    except BaseException as error:  # pytest.skip() and sys.exit() in a task are no way out of a trial either
        kind: FaultKind = "sandbox" if isinstance(error, SandboxError) else "task"
        said = f"{what}: {type(error).__name__}: {error}"
        raise _Faulty(Fault(kind, _clean(said)[:2000], details=_clean(traceback.format_exc()))) from error


@contextlib.contextmanager
def _charged() -> Iterator[None]:
    """Turn a fault of the model's side into the trial's fault."""
    try:
        yield
    except ModelFault as error:
        raise _Faulty(Fault(error.kind, _clean(str(error)), error.request_id, error.fatal)) from error


async def _off_loop(function: Callable[[], _T]) -> _T:
    """Run a function that may block in a thread of its own.

    A daemon thread, not the loop's executor: a tool that never returns must not keep the process alive.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: Exception | None) -> None:
        if done.cancelled():
            return
        if error is None:
            done.set_result(result)  # type: ignore[arg-type]
        else:
            done.set_exception(error)

    def run() -> None:
        try:
            outcome: tuple[_T | None, Exception | None] = (function(), None)
        except Exception as error:
            outcome = (None, error)
        except BaseException as error:  # sys.exit() or pytest.skip() would end the loop, not the call
            outcome = (None, RuntimeError(f"{type(error).__name__}: {error}"))
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="rltask-tool", daemon=True).start()
    return await done
