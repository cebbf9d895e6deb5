"""The judges that a trial's own code asks: whom each question goes to, what is kept of it, and whose fault it is.

A question goes through the model that answers for the judge, with its limiter and retries; what it costs is on disk
before the trial goes on. While somebody waits for an answer the trial's time stands still: no limit of the player or of
a tool may fire by it. What goes wrong errs the trial, even if the task's code takes no notice.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from pytest_rltask.judges.judge import ASKS, Answer, Judge, Question
from pytest_rltask.models import Model, ModelFault, Player, Reply, Request, Start
from pytest_rltask.models.judges import RECORDED, SCRIPTED
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.models.replay import ReplayModel
from pytest_rltask.run.asked import Asked
from pytest_rltask.run.record import Fault, Record, RequestLog, clean_text, error_text
from pytest_rltask.task import Episode
from pytest_rltask.tools import ToolCall
from pytest_rltask.trial.guard import TrialFault, Worker, blamed
from pytest_rltask.trial.opening import TrialSpec

__all__ = ["Asks", "Models", "answering", "log_of"]

_T = TypeVar("_T")
Models = Callable[[str], Model]
"""Returns the model of a name, which is shared by all trials of the event loop."""
ENDED = "the trial had ended before the judge was asked"
TAKEN = ("end_turn", "stop_sequence", "tool_use")
REFUSED = {
    "refusal": "refused to answer",
    "max_tokens": "was cut at {0:,} tokens; give the question a larger max_tokens=",
    "model_context_window_exceeded": "takes no question of this length",
}


@dataclass(eq=False)
class _Pending:
    """A question that waits for its answer."""

    judge: str
    request: Request


class Asks:
    """What answers the questions of one trial's code.

    Args:
        spec: of the trial: who answers for which judge.
        record: of the trial; all that is asked is written into it.
        worker: whose clocks stand still meanwhile.
        models: returns a model by its name; None: none may be asked.
        replayed: the trial whose recorded answers are given; None: there is none.
        otherwise: who answers for a judge of whom the spec says nothing; empty: the model that the task names.
        paid: called with the record and each request that cost something.
    """

    def __init__(
        self,
        spec: TrialSpec,
        record: Record,
        worker: Worker,
        *,
        models: Models | None = None,
        replayed: Record | None = None,
        otherwise: str = "",
        paid: Callable[[Record, RequestLog], Awaitable[None]] | None = None,
    ) -> None:
        self._otherwise = otherwise
        self._spec, self._record, self._worker = spec, record, worker
        self._models, self._paid = models, paid
        self._recorded = list(replayed.asked) if replayed else []
        self._loop = asyncio.get_running_loop()
        self._pending: list[_Pending] = []
        self._waiting: set[asyncio.Task[Any]] = set()
        self._last: dict[str, Question] = {}
        self._count: dict[str, int] = {}
        self._has_ended = False

    async def ask(self, question: Question) -> Answer:
        """Return the answer to a question; see :meth:`pytest_rltask.Episode.ask`."""
        if self._has_ended:
            raise RuntimeError(ENDED)
        if asyncio.get_running_loop() is not self._loop:
            raise RuntimeError(
                "a judge was asked on an event loop of the task's own; await self.ask() in the method itself"
            )
        name = question.judge
        nth = self._count[name] = self._count.get(name, -1) + 1
        question = replace(_cleaned(question), seed=self._spec.seed, nth=nth)
        model = self._answers_for(name)
        if model == SCRIPTED:
            reply = self._scripted(question)
        elif model.startswith(RECORDED):
            reply = self._replayed(question, model.partition(":")[2])
        else:
            async with self._worker.paused(self._record), self._noted():
                reply = await self._asked(question, model)
        self._keep(question, reply.model if model.startswith(RECORDED) else model, reply)
        if reply.stop_reason not in TAKEN:
            why = REFUSED.get(reply.stop_reason, f"stopped for {reply.stop_reason!r}, which is no answer")
            raise self._fault("task", f"{self._named(name, model)} {why.format(question.max_tokens)}")
        return Answer(reply.content, reply.stop_reason, reply.model, reply.cost_usd)

    def wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Wait, in the trial's thread, for work that asks.

        Raises:
            RuntimeError: this is the event loop's thread, which would wait for itself.
        """
        if _is_on_a_loop():
            work.close()
            raise RuntimeError(
                "ask_sync() would hold up every trial here: in an `async def` write `await self.ask(...)`; in prompt, "
                "done, remind() or observe() no judge can be asked: do it in a tool, nudge(), finish() or grade()"
            )
        return asyncio.run_coroutine_threadsafe(self._followed(work), self._loop).result()

    async def _followed(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do work for somebody in another thread, to be cancelled with the trial."""
        if self._has_ended:
            work.close()
            raise RuntimeError(ENDED)
        async with self._noted():
            return await work

    @contextlib.asynccontextmanager
    async def _noted(self) -> AsyncIterator[None]:
        """Note that this task waits for an answer; one that the author's code started may outlive what awaits it."""
        task = asyncio.current_task()
        is_first = task is not None and task not in self._waiting
        if task is not None and is_first:
            self._waiting.add(task)
        try:
            yield
        finally:
            if task is not None and is_first:
                self._waiting.discard(task)

    def end(self) -> None:
        """Ask nothing more: what is under way may be billed, and is estimated now."""
        self._has_ended = True
        for pending in self._pending:
            self._record.judge_requests += [_log(estimate(), pending.judge) for estimate in pending.request.under_way]
        self._pending.clear()
        for task in self._waiting - {asyncio.current_task()}:
            task.cancel()

    def _answers_for(self, name: str) -> str:
        """Return who answers for a judge."""
        declared, spec = self._spec.task.judges, self._spec
        model = spec.judges.get(name) or self._otherwise or (declared[name].model if name in declared else name)
        if model == SCRIPTED and (name not in declared or declared[name].scripted is None):
            said = (
                f"nobody answers for the judge {name!r}, as no model may be asked here; write in the task "
                f'judges = {{"{name}": Judge("claude-...", scripted=...)}}, or --judge MODEL to ask one'
            )
            raise self._fault("task", said)
        return model

    def _scripted(self, question: Question) -> Reply:
        judge: Judge = self._spec.task.judges[question.judge]
        assert judge.scripted is not None, "it was looked at"
        try:
            with blamed(f"the script of judge {question.judge}"):
                return replace(_scripted_reply(judge.scripted(question), question), model=SCRIPTED)
        except TrialFault as fault:
            self._worker.fault = self._worker.fault or fault
            raise

    def _replayed(self, question: Question, model: str) -> Reply:
        """Return what the recorded trial was answered to the same question; each answer is given once."""
        digest = _digest(question)
        fits = (one for one in self._recorded if one.judge == question.judge and one.digest == digest)
        if (found := next(fits, None)) is None:
            said = f"judge {question.judge!r} is asked what the recorded trial did not ask: {_short(question.text)}"
            anew = f"; --judge MODEL has it answered anew, --judge {SCRIPTED} by a script"
            raise self._fault("harness", said + ("" if model else anew))
        if model and found.model != model:
            said = f"judge {question.judge!r} was {found.model}, and is {model} now, whose answers are not recorded"
            raise self._fault("harness", said)
        self._recorded.remove(found)
        return Reply(found.reply, found.stop_reason, model=found.model)

    async def _asked(self, question: Question, name: str) -> Reply:
        """Ask a model, and put on disk what it cost."""
        pending: _Pending | None = None
        try:
            player = self._player(name)
            deadline = self._loop.time() + self._spec.limits.wall_s
            messages = list(question.messages)
            # It extends what the player said: what a server refuses of it is not the server's fault.
            request = Request(question.system, question.tools, messages, question.max_tokens, deadline, extends=True)
            pending = _Pending(question.judge, request)
            self._pending.append(pending)
            reply = await player.reply(request)
        except ModelFault as fault:
            if fault.billed:
                await self._note(_log(fault.billed, question.judge))
            said = clean_text(f"{self._named(question.judge, name)}: {fault}")
            raise self._fault(fault.kind, said, request_id=fault.request_id, fatal=fault.fatal) from None
        except asyncio.CancelledError:
            if pending in self._pending:
                self._record.judge_requests += [_log(one(), question.judge) for one in pending.request.under_way]
            raise
        finally:
            if pending in self._pending:
                self._pending.remove(pending)
        await self._note(_log(reply, question.judge))
        return reply

    def _player(self, name: str) -> Player:
        if self._models is None:
            raise ModelFault("no model can be asked here", kind="harness")
        try:
            model = self._models(name)
        except ValueError as error:  # a name that is none, which the task's code made
            raise ModelFault(str(error), kind="task") from None
        start = Start(self._spec.task_name, self._spec.seed, "", (), {}, (), self._worker.run)
        return model.player(start)

    async def _note(self, log: RequestLog) -> None:
        self._record.judge_requests.append(log)
        if self._paid is not None and log.cost_usd != 0:
            try:
                await self._paid(self._record, log)
            except Exception as error:
                said = f"what judge {log.judge} cost cannot be written: {error_text(error)}"
                raise self._fault("harness", said) from error

    def _keep(self, question: Question, model: str, reply: Reply) -> None:
        """Write a question and its answer into the record, without what the question before had said."""
        before = self._last.get(question.judge)
        self._last[question.judge] = question
        repeats = _common(before.messages, question.messages) if before else 0
        self._record.asked.append(
            Asked(
                judge=question.judge,
                model=model,
                digest=_digest(question),
                after=len(self._record.messages),
                repeats=repeats,
                system="" if before and before.system == question.system else question.system,
                messages=question.messages[repeats:],
                tools=[] if before and before.tools == question.tools else question.tools,
                reply=reply.content,
                stop_reason=reply.stop_reason,
            )
        )

    def _named(self, judge: str, model: str) -> str:
        return f"judge {judge}" + ("" if judge == model else f" ({model})")

    def _fault(self, kind: Any, said: str, **more: Any) -> TrialFault:
        """Return a fault, which ends the trial even if the task's code takes no notice of it."""
        fault = TrialFault(Fault(kind, clean_text(said)[:2000], **more))
        self._worker.fault = self._worker.fault or fault
        return fault


@contextlib.contextmanager
def answering(
    spec: TrialSpec,
    record: Record,
    worker: Worker,
    episode: Episode,
    *,
    player: Model | None = None,
    models: Models | None = None,
    replayed: Record | None = None,
    paid: Callable[[Record, RequestLog], Awaitable[None]] | None = None,
) -> Iterator[Asks]:
    """Have the questions of an open episode answered in this block; arguments are those of :class:`Asks`.

    Args:
        spec: of the trial.
        record: of the trial.
        worker: in whose thread its code runs.
        episode: that asks.
        player: who plays: a replay has the answers as well.
        models: returns a model by its name.
        replayed: a trial whose answers are given, where no replay plays.
        paid: called with each request that cost something.
    """
    if isinstance(player, ReplayModel):
        replayed = player.recorded(spec.task_name, spec.variant, spec.seed)
    otherwise = SCRIPTED if isinstance(player, PolicyModel) else RECORDED if replayed else ""
    asks = Asks(spec, record, worker, models=models, replayed=replayed, otherwise=otherwise, paid=paid)
    record.judges = dict(spec.judges)
    object.__setattr__(episode, ASKS, asks)  # an episode may be a frozen dataclass
    try:
        yield asks
    finally:
        asks.end()


def log_of(reply: Reply) -> RequestLog:
    """Return what a record keeps of an answered request."""
    return RequestLog(
        request_id=reply.request_id,
        model=reply.model,
        stop_reason=reply.stop_reason,
        usage=reply.usage,
        cost_usd=reply.cost_usd,
        latency_s=round(reply.latency_s, 4),
        lost_s=round(reply.lost_s, 4),
        faults=reply.faults,
        empty=not reply.content,
        priced_as=reply.priced_as,
        guessed_usd=reply.guessed_usd,
    )


def _log(reply: Reply, judge: str) -> RequestLog:
    return replace(log_of(reply), judge=judge)


def _is_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _scripted_reply(said: Any, question: Question) -> Reply:
    """Return what a script answered, as a model would have.

    Raises:
        TypeError: it is no answer.
    """
    if isinstance(said, str):
        return Reply([{"type": "text", "text": said}] if said.strip() else [], "end_turn")
    calls = [said] if isinstance(said, ToolCall) else said
    if not isinstance(calls, list | tuple) or not calls or not all(isinstance(one, ToolCall) for one in calls):
        raise TypeError(f"it answered {said!r}; return a text, or call(...) of a tool that it was offered")
    blocks = [
        {
            "type": "tool_use",
            "id": one.id or f"toolu_{question.judge}_{number}",
            "name": one.name,
            "input": dict(one.arguments),
        }
        for number, one in enumerate(calls)
    ]
    return Reply(blocks, "tool_use")


def _cleaned(question: Question) -> Question:
    """Return a question as a request can carry it: what it quotes of a player may hold lone surrogates."""
    messages, tools = _clean(question.messages), _clean(question.tools)
    return replace(question, messages=messages, tools=tools, system=clean_text(question.system))


def _clean(value: Any) -> Any:
    match value:
        case str():
            return clean_text(value)
        case Mapping():
            return {_clean(key): _clean(one) for key, one in value.items()}
        case list() | tuple():
            return [_clean(one) for one in value]
    return value


def _digest(question: Question) -> str:
    asked = [question.judge, question.system, question.messages, question.tools]
    text = json.dumps(asked, sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _common(before: Sequence[Any], now: Sequence[Any]) -> int:
    """Return how many entries two sequences begin with that are the same."""
    pairs = zip(before, now, strict=False)
    return next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(before), len(now)))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 200 else f"{text[:197]}...")
