"""An episode without a model, in Gymnasium's words: for trainers, other frameworks, and authors who look at their task.

What a trial does with a model's replies is done with what is handed to :meth:`Environment.step`: tools, limits,
reminders, nudges, cut outputs and the grade are those of any trial, by the same code (``turns``).
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import random
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from pytest_rltask.clock import monotonic_s
from pytest_rltask.media.attached import result_of
from pytest_rltask.models import Model, Reply
from pytest_rltask.models.judges import judges_of, parse_judges
from pytest_rltask.models.named import make_model, parse_model
from pytest_rltask.run.record import Record
from pytest_rltask.sandbox import using_backend
from pytest_rltask.task import Episode, Grade, Limits, Task
from pytest_rltask.tools import ToolCall, ToolResult
from pytest_rltask.trial.asking import Models, answering
from pytest_rltask.trial.event_loop import LoopThread
from pytest_rltask.trial.grading import judge, note_tried
from pytest_rltask.trial.guard import TrialFault, Worker
from pytest_rltask.trial.opening import TrialSpec, completed, mark_errored, new_record, opened, sources_of, turns_of
from pytest_rltask.trial.turns import Turns

__all__ = ["Environment", "Opening", "ResetNeeded", "Step"]

_T = TypeVar("_T")
_SEEDS = 2**31


class ResetNeeded(RuntimeError):
    """There is no episode to step in: it was not opened yet, was graded, or broke."""


@dataclass(frozen=True)
class Opening:
    """What whoever acts is given before the first step."""

    seed: int
    """Of the episode."""
    prompt: str
    """The first user message, as one text: the episode's prompt, and what the harness adds to it."""
    system: str
    """The system prompt; empty for none."""
    tools: list[dict[str, Any]]
    """The tools as the Messages API takes them: ``name``, ``description`` and ``input_schema``, a JSON schema."""


@dataclass(frozen=True)
class Step:
    """How the environment answers."""

    results: tuple[ToolResult, ...]
    """One for each call, in their order."""
    reminder: str
    """What the harness says after them, as one text: reminders of the task and of limits, or a nudge; may be empty."""
    done: bool
    """Whether the episode has ended, so that only :meth:`Environment.grade` is left."""
    stop: str | None
    """Why it has: ``done`` (the episode says so), ``limit``, or the reply's own stop reason (``end_turn``)."""
    limit: str | None
    """Which limit fired: ``turns``, ``tool_calls``, ``total_tokens`` or ``wall``."""

    @property
    def text(self) -> str:
        """Results and reminder as one text, for whoever reads no blocks."""
        return "\n".join(part for part in (*(result.text for result in self.results), self.reminder) if part)


class Environment:
    """Plays episodes of a task, one after the other, for whoever acts.

    A context manager. Each method has an asynchronous twin, whose name begins with ``a``: use either these or those.
    Other than Gymnasium's, a step has no reward: the grade is the episode's, and :meth:`grade` may take its time.

    Args:
        task: whose episodes are played.
        limits: where an episode ends although whoever acts would go on; by default the task's own.
        sandbox: what isolates the code that episodes run, as ``--sandbox`` names it.
        history: what earlier runs tried, for tasks that are played one run after the other.
        judge: who answers for the task's judges, as ``--judge`` names it; by default the models that the task names,
            which are paid: ``policy:scripted`` is not.

    Example:
        >>> from pytest_rltask import Environment, call
        >>> def play(task):
        ...     with Environment(task) as env:
        ...         opening = env.reset(seed=42)
        ...         step = env.step([call("guess", number=500)])
        ...         while not step.done:
        ...             step = env.step(text="TASK COMPLETE")
        ...         return env.grade().score
    """

    def __init__(
        self,
        task: Task,
        *,
        limits: Limits | None = None,
        sandbox: str = "auto",
        history: Sequence[str] = (),
        judge: str = "",
    ) -> None:
        if not isinstance(task, Task):
            raise TypeError(f"an Environment plays a Task, not {task!r}; write Environment(MyTask())")
        self.task = task
        """Whose episodes are played."""
        self.limits = task.limits if limits is None else limits
        """Of each episode."""
        self._sandbox, self._history = sandbox, tuple(history)
        self._judges = judges_of(task, None, parse_judges([judge] if judge else []), is_typed=True)
        self._models: dict[str, Model] = {}
        self._thread: LoopThread | None = None
        self._live: _Live | None = None
        self._record: Record | None = None

    @property
    def record(self) -> Record:
        """Everything about the last episode so far: messages, outcome, grade, seconds.

        Raises:
            ResetNeeded: none was opened.
        """
        if self._record is None:
            raise ResetNeeded("no episode was opened yet; call reset(seed=...) first")
        return self._record

    def reset(self, *, seed: int | None = None) -> Opening:
        """Open an episode, and close the one before.

        Args:
            seed: of the episode; None for a random one, which the result names.

        Raises:
            TrialFault: the task, or what isolates its code, is at fault.
        """
        return self._run(self.areset(seed=seed))

    def step(
        self, calls: ToolCall | Iterable[ToolCall] = (), *, text: str = "", stop_reason: str | None = None
    ) -> Step:
        """Take in one reply of whoever acts, and answer it.

        Args:
            calls: tools to be run, one after the other; none ends the turn.
            text: what is said before them.
            stop_reason: as the Messages API names it; by default ``tool_use`` with calls and ``end_turn`` without.
                With ``max_tokens`` the reply counts as cut, and its calls are not run.

        Returns:
            The answer. A bad call, an unknown tool or a spent limit is told in its result, as to a model.

        Raises:
            ResetNeeded: there is no episode.
            TrialFault: the task, or what isolates its code, is at fault: never whoever acts. The episode is closed.
        """
        return self._run(self.astep(calls, text=text, stop_reason=stop_reason))

    def grade(self) -> Grade:
        """Grade the episode, whether it has ended or not, and close it.

        Raises:
            ResetNeeded: there is no episode.
            TrialFault: the grader, or what isolates its code, is at fault.
        """
        return self._run(self.agrade())

    def close(self) -> None:
        """Close the episode, if there is one."""
        self._run(self._aclose_all())
        if self._thread is not None:
            self._thread.close()
            self._thread = None

    async def areset(self, *, seed: int | None = None) -> Opening:
        """Open an episode; see :meth:`reset`."""
        await self.aclose()
        seed = random.SystemRandom().randrange(_SEEDS) if seed is None else seed
        spec = TrialSpec(
            trial_id=f"{self.task.name}[seed-{seed}]",
            task=self.task,
            task_name=self.task.name,
            model="",
            run=0,
            seed=seed,
            limits=self.limits,
            history=self._history,
            sandbox=self._sandbox,
            judges=self._judges,
        )
        self._live = live = _Live(spec, self._model)
        self._record = live.record
        turns = await self._guarded(live, live.open())
        said = [block["text"] for block in live.record.messages[0]["content"]]
        return Opening(seed, "\n\n".join(said), live.record.system, [tool.param for tool in turns.tools.values()])

    async def astep(
        self, calls: ToolCall | Iterable[ToolCall] = (), *, text: str = "", stop_reason: str | None = None
    ) -> Step:
        """Answer one reply; see :meth:`step`."""
        live = self._opened()
        asked = [calls] if isinstance(calls, ToolCall) else list(calls)
        if wrong := [one for one in asked if not isinstance(one, ToolCall)]:
            raise TypeError(f"step() takes calls, not {wrong[0]!r}; write env.step([call('tool', argument=1)])")
        return await self._guarded(live, live.step(asked, text, stop_reason))

    async def agrade(self) -> Grade:
        """Grade and close the episode; see :meth:`grade`."""
        live = self._opened()
        grade = await self._guarded(live, live.grade())
        await self.aclose()
        return grade

    async def aclose(self) -> None:
        """Close the episode, if there is one."""
        live, self._live = self._live, None
        if live is not None:
            try:
                await live.close()
            finally:
                self._record = live.told()

    async def _aclose_all(self) -> None:
        """Close the episode, and the connections of judges, which belong to the event loop."""
        try:
            await self.aclose()
        finally:
            while self._models:
                await self._models.popitem()[1].aclose()

    def _model(self, name: str) -> Model:
        if name not in self._models:
            self._models[name] = make_model(parse_model(name))
        return self._models[name]

    def _opened(self) -> _Live:
        if self._live is None:
            raise ResetNeeded("there is no episode: it was not opened yet, was graded, or broke; call reset(seed=...)")
        return self._live

    async def _guarded(self, live: _Live, work: Coroutine[Any, Any, _T]) -> _T:
        """Do something with the episode; what breaks it, or interrupts us, closes it."""
        try:
            return await live.within(work)
        except BaseException as error:
            if isinstance(error, TrialFault):
                mark_errored(live.record, error.fault)
            with contextlib.suppress(TrialFault):  # what broke it is told, not what its clean-up met thereafter
                await self.aclose()
            raise

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        self._thread = self._thread or LoopThread()
        return self._thread.run(work)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._aclose_all()


class _Live:
    """An open episode, and all that closes with it."""

    def __init__(self, spec: TrialSpec, models: Models) -> None:
        self.spec, self._models = spec, models
        self.record = new_record(spec)
        self._begin = monotonic_s()
        self._ids = itertools.count()
        self._stack = contextlib.AsyncExitStack()
        with using_backend(spec.sandbox, sources=sources_of(spec.task)) as self._choice:
            self._context = contextvars.copy_context()
        self._worker = self._context.run(Worker)
        self._turns: Turns | None = None
        self._episode: Episode | None = None

    async def within(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do something in the context of the episode, which says what isolates its code."""
        return await asyncio.get_running_loop().create_task(work, context=self._context)

    async def open(self) -> Turns:
        opening = opened(self.spec, self.record, self._worker)
        episode, laying_out = await self._stack.enter_async_context(opening)
        self._episode = episode
        answers = answering(self.spec, self.record, self._worker, episode, models=self._models)
        self._stack.enter_context(answers)
        turns = turns_of(self.spec, self.record, episode, self._worker)
        turns.lost_s += await laying_out.done()
        self._turns = turns
        return turns

    async def step(self, calls: Sequence[ToolCall], text: str, stop_reason: str | None) -> Step:
        assert self._turns is not None, "it is open"
        record, turns = self.record, self._turns
        if record.stop:  # nothing that follows could change the grade
            return Step(tuple(turns.refused(record.stop) for _ in calls), "", True, record.stop, record.limit)
        content = [{"type": "text", "text": text}] if text else []
        content += [self._use(call) for call in calls]
        said = len(record.messages) + bool(content)
        stop = await turns.answer(Reply(content, stop_reason or ("tool_use" if calls else "end_turn")))
        blocks = [block for message in record.messages[said:] for block in message["content"]]
        results = [block for block in blocks if block["type"] == "tool_result"]
        return Step(
            tuple(map(result_of, results)),
            "\n\n".join(block["text"] for block in blocks if block["type"] == "text"),
            stop is not None,
            stop,
            record.limit,
        )

    def _use(self, call: ToolCall) -> dict[str, Any]:
        identity = call.id or f"toolu_{next(self._ids):02d}"
        return {"type": "tool_use", "id": identity, "name": call.name, "input": dict(call.arguments)}

    async def grade(self) -> Grade:
        assert self._episode is not None, "it is open"
        await note_tried(self.record, self._episode, self._worker, self.spec.limits)
        return await judge(self.record, self._episode, self._worker, self.spec.limits)

    async def close(self) -> None:
        try:
            await self.within(self._stack.aclose())
        except TrialFault as error:
            mark_errored(self.record, error.fault)
            raise
        finally:
            self._worker.end()

    def told(self) -> Record:
        """Return the record as it is to be kept."""
        return completed(self.record, self._choice, self._begin)
