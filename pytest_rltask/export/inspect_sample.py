"""A trial as a sample of Inspect AI: its conversation as messages and as events, its scores, what ended it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from pytest_rltask.export.conversation import Said, arguments_of, exchanges, functions, plain, result_of, text_of
from pytest_rltask.run.record import Record, RequestLog, Usage, clean_text

if TYPE_CHECKING:
    from inspect_ai.event import Event
    from inspect_ai.log import EvalError, EvalSample
    from inspect_ai.model import ChatMessage, ChatMessageAssistant, Content, ModelOutput, ModelUsage
    from inspect_ai.scorer import Score
    from inspect_ai.tool import ToolCall

__all__ = ["sample_of"]

_STOPS: dict[str, Any] = {
    "tool_use": "tool_calls",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "max_tokens",
    "refusal": "content_filter",
    "model_context_window_exceeded": "model_length",
}
_LIMITS: dict[str, Any] = {"turns": "turn", "total_tokens": "token", "wall": "time"}


def sample_of(record: Record) -> EvalSample:
    """Return a trial as a sample."""
    from inspect_ai.log import EvalSample, EvalSampleLimit
    from inspect_ai.model import ModelOutput

    told = _Telling(record)
    for said in exchanges(record):
        told.take(said)
    scores = _scores(record)
    told.score(scores)
    limit = EvalSampleLimit(type=_LIMITS.get(record.limit or "", "custom"), limit=0, reason=record.limit)
    usage = {request.model: Usage() for request in record.requests}
    for request in record.requests:
        usage[request.model] += request.usage
    prompt = next((message for message in told.messages if message.role == "user"), None)
    return EvalSample(
        id=f"seed {record.seed}",
        epoch=record.run + 1,
        input=prompt.text if prompt else "(no prompt: the trial ended before it)",
        target="",
        messages=told.messages,
        output=told.output or ModelOutput(model=clean_text(record.model)),
        scores=scores or None,
        events=told.events,
        model_usage={clean_text(model): _usage(one) for model, one in usage.items() if one.total},
        started_at=record.started,
        completed_at=told.now.isoformat(),
        total_time=record.seconds.get("total"),
        metadata=_metadata(record),
        limit=limit if record.limit else None,
        error=_error(record),
    )


class _Telling:
    """The messages and events of a sample, as they are told one after the other."""

    def __init__(self, record: Record) -> None:
        from inspect_ai.model import ChatMessageSystem
        from inspect_ai.tool import ToolInfo, ToolParams

        self.messages: list[ChatMessage] = []
        self.events: list[Event] = []
        self.output: ModelOutput | None = None
        self.now = datetime.fromisoformat(record.started)
        self._model = clean_text(record.model)
        self._calls: dict[str, ToolCall] = {}
        functions_of = [one["function"] for one in functions(record)]
        self._tools = [
            ToolInfo(
                name=one["name"],
                description=one["description"],
                parameters=ToolParams.model_validate(one["parameters"]),
            )
            for one in functions_of
        ]
        if record.system:
            self.messages.append(ChatMessageSystem(content=clean_text(record.system)))

    def take(self, said: Said) -> None:
        """Tell one message."""
        if said.role == "assistant":
            self._reply(said)
        else:
            self._answer(said)

    def _reply(self, said: Said) -> None:
        from inspect_ai.event import ModelEvent
        from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, GenerateConfig, ModelOutput
        from inspect_ai.tool import ToolCall

        calls = [
            ToolCall(id=block["id"], function=block["name"], arguments=arguments_of(block))
            for block in said.blocks
            if block.get("type") == "tool_use"
        ]
        self._calls |= {call.id: call for call in calls}
        request = said.request
        model = clean_text(request.model) if request else self._model
        message: ChatMessageAssistant = ChatMessageAssistant(
            content=_contents(said.blocks), tool_calls=calls or None, model=model, source="generate"
        )
        stop = _STOPS.get(request.stop_reason, "unknown") if request else "unknown"
        self.output = output = ModelOutput(
            model=model,
            choices=[ChatCompletionChoice(message=message, stop_reason=stop)],
            usage=_usage(request.usage) if request else None,
            time=request.latency_s if request else None,
        )
        began, self.now = self.now, self.now + timedelta(seconds=request.latency_s if request else 0)
        self.events.append(
            ModelEvent(
                timestamp=began,
                completed=self.now,
                model=model,
                input=list(self.messages),
                tools=self._tools,
                tool_choice="auto",
                config=GenerateConfig(),
                output=output,
                retries=_retries(request),
            )
        )
        if said.blocks:
            self.messages.append(message)

    def _answer(self, said: Said) -> None:
        from inspect_ai.event import ToolEvent
        from inspect_ai.model import ChatMessageTool, ChatMessageUser
        from inspect_ai.tool import ToolCallError

        for block in said.blocks:
            call = self._calls.get(str(block.get("tool_use_id")))
            if block.get("type") != "tool_result" or call is None:
                continue
            result = result_of(block)
            error = ToolCallError(type="unknown", message=result) if block.get("is_error") else None
            self.messages.append(
                ChatMessageTool(content=result, tool_call_id=call.id, function=call.function, error=error)
            )
            self.events.append(
                ToolEvent(
                    timestamp=self.now,
                    completed=self.now,
                    id=call.id,
                    function=call.function,
                    arguments=call.arguments,
                    result=result,
                    error=error,
                )
            )
        if text := text_of(said.blocks):
            self.messages.append(ChatMessageUser(content=text))

    def score(self, scores: dict[str, Score]) -> None:
        """Tell what the grader said."""
        from inspect_ai.event import ScoreEvent

        self.events += [ScoreEvent(timestamp=self.now, score=score, target="") for score in scores.values()]


def _contents(blocks: list[dict[str, Any]]) -> list[Content]:
    from inspect_ai.model import ContentReasoning, ContentText

    found: list[Content] = []
    for block in blocks:
        match block.get("type"):
            case "text":
                found.append(ContentText(text=clean_text(str(block["text"]))))
            case "thinking":
                found.append(ContentReasoning(reasoning=clean_text(str(block.get("thinking", "")))))
            case "redacted_thinking":
                found.append(ContentReasoning(reasoning=clean_text(str(block.get("data", ""))), redacted=True))
    return found


def _scores(record: Record) -> dict[str, Score]:
    from inspect_ai.scorer import Score

    if record.outcome == "errored":
        return {}
    facts = {"threshold": record.threshold, "label": clean_text(record.label), **plain(record.metrics)}
    why = clean_text(record.reason) or None
    found = {"passed": Score(value="C" if record.outcome == "passed" else "I", explanation=why, metadata=facts)}
    return found | ({} if record.score is None else {"score": Score(value=record.score)})


def _metadata(record: Record) -> dict[str, Any]:
    return {
        "seed": record.seed,
        "outcome": record.outcome,
        "label": clean_text(record.label),
        "trial_id": clean_text(record.trial_id),
        "turns": record.turns,
        "cost_usd": record.player_cost_usd,
        **({"judge_cost_usd": record.judge_cost_usd} if record.judge_requests else {}),
        "sandbox": record.sandbox,
        **({"images": record.images} if record.images else {}),
        **{f"info.{name}": value for name, value in plain(record.info).items()},
    }


def _error(record: Record) -> EvalError | None:
    from inspect_ai.log import EvalError

    if record.outcome != "errored":
        return None
    said = clean_text(record.fault.message if record.fault else record.reason)
    details = clean_text(record.fault.details if record.fault else "")
    return EvalError(message=said, traceback=details, traceback_ansi=details)


def _usage(usage: Usage) -> ModelUsage:
    from inspect_ai.model import ModelUsage

    return ModelUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total,
        input_tokens_cache_read=usage.cache_read_tokens,
        input_tokens_cache_write=usage.cache_write_tokens,
    )


def _retries(request: RequestLog | None) -> int | None:
    return len(request.faults) or None if request else None
