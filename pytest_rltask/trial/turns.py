"""The episode's side of a conversation: a reply in; results, reminders and the end out. It does not know who replies.

Limits, the budget of calls, reminders, nudges, cut outputs and what is refused after the end stand here, once for
models, policies, people and trainers. The conversation is only ever extended. Every ``tool_use`` is answered exactly
once, results first; reminders follow them as text in the same user message. Tools run only when the reply stopped for
them.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import enum
import hashlib
import json
import math
import os
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from pytest_rltask.media.attached import Media, content_text, result_of, too_much
from pytest_rltask.models import Reply
from pytest_rltask.run.record import Record, clean_text
from pytest_rltask.task import Episode, Limits
from pytest_rltask.tools import InvalidCall, Tool, ToolError, ToolResult, tools_of
from pytest_rltask.trial.guard import Worker, blamed, timed

__all__ = ["LIMIT_NAMES", "Turns", "shown_history"]

LIMIT_NAMES = {
    "turns": "turn limit",
    "tool_calls": "tool-call limit",
    "total_tokens": "token limit",
    "wall": "time limit",
}

FEW_TURNS = 5
"""A model that has no more turns than these is told so from the start: with one call a turn it would get nowhere."""
LAST_TURNS = 3
"""Any model is told when no more turns than these are left."""
SEVERAL = "One reply may call several tools."
EMPTY = "Your reply was empty. Please go on."
"""What a model is told whose reply holds nothing although it wrote something: once, as nobody means to end so.

It names no way to end: small models repeat it, as in "I am done."
"""

HISTORY_LINES, HISTORY_CHARS = 10, 300
"""Lines of the history that a prompt shows, and characters of each."""


class Turns:
    """What an episode says first, and how it answers each reply, until it ends or a limit fires.

    Args:
        record: of the trial; all that is said is written into it.
        episode: whose prompt, tools and hooks are used.
        worker: where its tools run.
        limits: where it ends although whoever acts would go on.
        history: what earlier runs tried, oldest first.
        surroundings: what the prompt cannot know of the machine that the tools work on.
    """

    def __init__(
        self,
        record: Record,
        episode: Episode,
        worker: Worker,
        *,
        limits: Limits,
        history: Iterable[str] = (),
        surroundings: str = "",
    ) -> None:
        self.worker = worker
        self.record = record
        self.episode = episode
        self.limits = limits
        self.history = shown_history(history)
        self._begin = asyncio.get_running_loop().time()
        self.lost_s = 0.0
        """Seconds that do not count: lost to faults and limits of an API, or taken by a person."""
        self._waited_s = worker.waited_s
        with blamed("reading the episode's prompt and tools"):
            self.tools: dict[str, Tool] = tools_of(episode)
            begin = self._prompted(episode.prompt)
            self.prompt = content_text(begin)
            record.system = clean_text(_text_of(episode.system, "system"))
            if not self.prompt.strip():
                raise ValueError("the prompt is blank")
        record.tools = [tool.entry for tool in self.tools.values()]
        record.prompt_digest = _digest([record.system, self.prompt])
        record.tools_digest = _digest(record.tools)
        record.surroundings = surroundings
        told = "\n".join(["Earlier runs of this task tried:", *(f"- {line}" for line in self.history)])
        opening = [self.prompt, *([surroundings] if surroundings else []), *([told] if self.history else [])]
        opening += [f"You have {limits.turns} replies in all. {SEVERAL}"] if limits.turns <= FEW_TURNS else []
        record.messages.append({"role": "user", "content": begin + _text_blocks(opening[1:])})

    def _prompted(self, prompt: object) -> list[dict[str, Any]]:
        """Return the blocks of the prompt: a text, or a list of texts, images and documents."""
        parts = prompt if isinstance(prompt, list | tuple) else [prompt]
        media = [part for part in parts if isinstance(part, Media)]
        if why := too_much([], media):
            raise ValueError(f"the prompt is too large: {why}")
        self.record.media |= {one.file: one.content for one in media}
        blocks = (
            [part.block] if isinstance(part, Media) else _text_blocks([clean_text(_text_of(part, "prompt"))])
            for part in parts
        )
        return [block for some in blocks for block in some]

    async def answer(self, reply: Reply) -> str | None:
        """Take in a reply, and append what answers it to the record's messages.

        Returns:
            Why nothing can follow (``done``, ``limit``, or the reply's own stop reason), None if the turn is the
            other side's again. The record says so too, and which limit.

        Raises:
            TrialFault: something other than whoever acts failed.
        """
        record = self.record
        record.turns += 1
        if reply.content:  # the API takes no message without content back
            record.messages.append({"role": "assistant", "content": reply.content})
        with blamed("showing the episode a reply"):
            self.episode.observe(reply.text)
        stop = await self._answer(reply) or self._fired()
        if not stop and record.turns >= self.limits.turns:
            stop = self._limit("turns")
        record.stop = stop or record.stop
        return stop

    @property
    def deadline(self) -> float:
        """When the trial's time is up; neither what the API lost it nor its waits for other trials count."""
        waited_s = self.worker.waited_s - self._waited_s
        return self._begin + self.limits.wall_s + self.lost_s + waited_s

    async def _answer(self, reply: Reply) -> str | None:
        """Answer a reply with a user message; or return why the conversation ends here."""
        match reply.stop_reason:
            case "tool_use":
                if stop := self._fired():
                    return stop
                return await self._run_tools(reply)
            case "pause_turn" if not reply.tool_uses:
                return None  # a server-side tool wants more time: the history is sent again as it is
            case "max_tokens":
                self._say_cut(reply)
                return None
            case "end_turn" | "stop_sequence":
                return await self._say_nudge(reply)
        return reply.stop_reason

    async def _run_tools(self, reply: Reply) -> str | None:
        """Run the calls one after the other, in their order, and append their results."""
        # An episode that a reply's text ended still sees the tools of that reply run.
        ended_by_text = self._ended()
        blocks, stop = [], None
        for use in reply.tool_uses:
            ended = self._ended() and not ended_by_text
            stop = stop or ("done" if ended else self._fired(before_tool=True))
            result = self.refused(stop) if stop else await self._run_tool(use)
            blocks.append(_result_block(use["id"], result))
        self._say(blocks + _text_blocks(self._reminders()))
        return stop or ("done" if self._ended() else None)

    def refused(self, stop: str) -> ToolResult:
        """Return what answers a call that comes after the end."""
        why = "the episode has ended" if stop == "done" else f"the {LIMIT_NAMES[self.record.limit or '']} is reached"
        return ToolResult(f"This call was not run: {why}.", is_error=True)

    async def _run_tool(self, use: dict[str, Any]) -> ToolResult:
        tool = self.tools.get(use["name"])
        if tool is None:
            known = ", ".join(self.tools) or "none"
            return self._cut(f"There is no tool {use['name']!r}. The tools are: {known}.", is_error=True)
        try:
            invoke = tool.bind(use["input"])
        except InvalidCall as error:
            return self._cut(str(error), is_error=True)
        with timed(self.record, "tools"), blamed(f"tool {tool.name}"):
            try:
                output = await self._returned(tool.name, invoke)
            except ToolError as error:
                return self._cut(str(error), is_error=True)
            self.record.tool_calls += 1
            return self._shown(output)

    async def _returned(self, name: str, invoke: Callable[[], Any]) -> Any:
        """Run a tool off the loop, or on it if it is a coroutine, and return its output."""
        what, within_s = f"tool {name}", self.limits.tool_s
        return await self.worker.awaited(invoke, what, within_s=within_s)

    def _shown(self, output: Any) -> ToolResult:
        """Return what the model is shown of a tool's output."""
        parts = output if isinstance(output, list | tuple) else [output]
        media = [part for part in parts if isinstance(part, Media)]
        if not media:
            return self._cut(_text(output))
        if why := too_much(self.record.messages, media):
            return self._cut(why, is_error=True)
        self.record.media |= {one.file: one.content for one in media}
        texts = max(1, len(parts) - len(media))
        blocks = [
            part.block if isinstance(part, Media) else {"type": "text", "text": self._cut(_text(part), of=texts).text}
            for part in parts
        ]
        return result_of({"content": [block for block in blocks if block.get("text", "text").strip()]})

    def _cut(self, text: str, *, is_error: bool = False, of: int = 1) -> ToolResult:
        """Keep the head and the tail of a long output, or of one of several; what went wrong stands at its end."""
        text, limit = clean_text(text), max(1, self.limits.tool_output_chars // of)
        cut = len(text) - limit
        if cut <= 0:
            return ToolResult(text, is_error)
        head, tail = limit // 4, limit - limit // 4
        return ToolResult(f"{text[:head]}\n[... {cut:,} characters cut ...]\n{text[-tail:]}", is_error)

    def _reminders(self) -> list[str]:
        with blamed("the episode's reminder"):
            own = clean_text(_text_of(self.episode.remind() or "", "remind()"))
        left = self._turns_left()
        if self.limits.tool_calls is not None:
            calls = self.limits.tool_calls
            left.append(f"{calls - self.record.tool_calls} of {calls} tool calls remain.")
        return [*left, own]

    def _turns_left(self) -> list[str]:
        """Return what to say of the turns that are left; nothing as long as there are plenty."""
        turns = self.limits.turns
        left = turns - self.record.turns
        return [f"{left} of {turns} replies remain. {SEVERAL}"] if left <= LAST_TURNS or turns <= FEW_TURNS else []

    def _say_cut(self, reply: Reply) -> None:
        """Tell the model that its reply was cut; a cut tool call is answered, never run."""
        refused = ToolResult("This call was not run: the reply that held it was cut.", is_error=True)
        blocks = [_result_block(use["id"], refused) for use in reply.tool_uses]
        calls = len(reply.tool_uses)  # small models repeat one until they are cut
        how = f", within {calls} calls. Go on with one call." if calls > 1 else ". Go on, more briefly."
        said = f"Your reply was cut at {self.limits.reply_tokens:,} tokens{how}"
        self._say([*blocks, *_text_blocks([said, *self._turns_left()])])

    async def _say_nudge(self, reply: Reply) -> str | None:
        """Let the episode answer a reply without tool calls; without an answer the conversation is over."""
        if self._ended():
            return "done"
        nudge = await self._nudge()
        if not nudge.strip() and self._is_slip(reply):
            nudge = EMPTY
        if not nudge.strip():
            return reply.stop_reason
        refused = ToolResult("This call was not run: the turn had ended.", is_error=True)
        blocks = [_result_block(use["id"], refused) for use in reply.tool_uses]
        self._say([*blocks, *_text_blocks([nudge, *self._turns_left()])])
        return None

    def _is_slip(self, reply: Reply) -> bool:
        """Say whether a model wrote tokens that are no reply: some do behind results, and go on if they are asked once.

        The documentation of Anthropic's API has it under "empty responses", and small models do it more often.
        """
        asked = {"type": "text", "text": EMPTY} in self.record.messages[-1]["content"]
        return not reply.content and reply.usage.output_tokens > 0 and not asked and not reply.is_last

    async def _nudge(self) -> str:
        if type(self.episode).nudge is Episode.nudge:
            return ""  # without a way to the thread and back
        with timed(self.record, "tools"), blamed("the episode's nudge"):
            said = await self.worker.awaited(self.episode.nudge, "nudge()", within_s=self.limits.tool_s)
            return clean_text(_text_of(said or "", "nudge()"))

    def _say(self, blocks: list[dict[str, Any]]) -> None:
        self.record.messages.append({"role": "user", "content": blocks})

    def _ended(self) -> bool:
        with blamed("asking the episode whether it is done"):
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


def shown_history(tried: Iterable[str]) -> tuple[str, ...]:
    """Return the lines of a history that a prompt shows: the latest that differ, each short and on one line.

    Example:
        >>> shown_history(["weights 2,  depth 3", "", "depth 5", "depth 5"])
        ('weights 2, depth 3', 'depth 5')
    """
    lines = [" ".join(clean_text(text).split()) for text in tried]
    short = [line if len(line) <= HISTORY_CHARS else f"{line[: HISTORY_CHARS - 3]}..." for line in lines if line]
    return tuple(dict.fromkeys(short))[-HISTORY_LINES:]


def _text_of(value: object, what: str) -> str:
    """Return a text of the episode's.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} is {value!r}; it must be a string")
    return value


def _text(output: Any) -> str:
    """Return what a tool returned as the model reads it.

    Raises:
        TypeError: JSON can hold no such value.
    """
    return output if isinstance(output, str) else json.dumps(_plain(output), ensure_ascii=False, default=_json)


def _plain(value: Any) -> Any:
    """Return a value without numbers that JSON has none of: not a number, and infinite, are null."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
    return value


def _json(value: Any) -> Any:
    """Return what JSON can hold of a value that a tool returned.

    Raises:
        TypeError: it can hold nothing of it: the model would read where an object lies in memory.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type | Media):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=repr)
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return _plain(value.tolist())
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, os.PathLike | datetime.date | datetime.time | decimal.Decimal | uuid.UUID):
        return str(value)
    hint = "; write .decode() behind it" if isinstance(value, bytes | bytearray) else ""
    hint = "; return it by itself, or in a list with texts" if isinstance(value, Media) else hint
    raise TypeError(f"it returned {type(value).__name__}, which is neither a string nor what JSON can hold{hint}")


def _result_block(tool_use_id: str, result: ToolResult) -> dict[str, Any]:
    block = {
        "type": "tool_result",
        "tool_use_id": tool_use_id,
        "content": list(result.content) or result.text or "(no output)",
    }
    return {**block, "is_error": True} if result.is_error else block


def _text_blocks(texts: list[str]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text} for text in texts if text.strip()]  # the API takes no blank ones


def _digest(data: object) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, default=repr).encode()).hexdigest()[:16]
