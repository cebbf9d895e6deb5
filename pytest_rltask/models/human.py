"""``human``: a person at the terminal, who sees what a model sees and calls tools: try your own task before you pay.

What is shown are the messages that a model would be sent; the person's time is no part of the trial's.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from pytest_rltask.clock import monotonic_s
from pytest_rltask.models.model import Reply, Request, Start
from pytest_rltask.models.typed_calls import HELP, completions, described, parse_calls
from pytest_rltask.run.messages import Part, said_in
from pytest_rltask.run.record import Record, outcome_word
from pytest_rltask.tools import ToolCall

__all__ = ["Console", "HumanModel", "Terminal", "show_end"]

_COLOURS = {"error": "31", "harness": "33", "prompt": "33", "system": "2", "result": "32"}
_OWN = ("model", "thinking", "call")
"""Kinds of parts that the person wrote."""


class Console(Protocol):
    """Where a person reads and types."""

    def show(self, title: str, text: str, kind: str = "harness") -> None:
        """Show a text under a title."""

    def ask(self, prompt: str, tools: dict[str, Any]) -> str:
        """Return a line that the person types.

        Raises:
            EOFError: the person ends.
        """


class Terminal:
    """The terminal of this process, with completion of names where Python has ``readline``."""

    def show(self, title: str, text: str, kind: str = "harness") -> None:
        """Show a text under a title."""
        head = f"--- {title} " + "-" * max(3, 74 - len(title))
        if sys.stdout.isatty():
            head = f"\033[{_COLOURS.get(kind, '36')}m{head}\033[0m"
        sys.stdout.write(f"\n{head}\n{text}\n" if text else f"\n{head}\n")
        sys.stdout.flush()

    def ask(self, prompt: str, tools: dict[str, Any]) -> str:
        """Return a line that the person types."""
        with _completing(tools):
            return input(prompt)


@contextlib.contextmanager
def _completing(tools: dict[str, Any]) -> Iterator[None]:
    """Complete names of tools and arguments as long as the block asks."""
    try:
        import readline
    except ImportError:  # Windows, and Pythons built without it
        yield
        return
    before, delimiters = readline.get_completer(), readline.get_completer_delims()

    def complete(_word: str, number: int) -> str | None:
        found = completions(readline.get_line_buffer()[: readline.get_endidx()], tools)
        return found[number] if number < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" ;")
    readline.parse_and_bind("bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete")
    try:
        yield
    finally:
        readline.set_completer(before)
        readline.set_completer_delims(delimiters)


class HumanModel:
    """A person, who plays one trial at a time.

    Args:
        console: where; by default this process's terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Terminal()
        self._turn = threading.Lock()

    def player(self, start: Start) -> _Person:
        """Return the person, at the beginning of a trial."""
        return _Person(start, self._console, self._turn)

    async def aclose(self) -> None:
        """Do nothing: the terminal is not ours to close."""


class _Person:
    def __init__(self, start: Start, console: Console, turn: threading.Lock) -> None:
        self._start, self._console, self._turn = start, console, turn
        self._seen = 0

    async def reply(self, request: Request) -> Reply:
        """Show what is new, and return what the person does."""
        begin = monotonic_s()
        content = await self._start.run(lambda: self._asked(request))
        spent_s = monotonic_s() - begin
        calls = any(block["type"] == "tool_use" for block in content)
        # All of it counts as lost time: whoever thinks it over runs into no limit.
        stop = "tool_use" if calls else "end_turn"
        return Reply(content, stop, model="human", latency_s=spent_s, lost_s=spent_s)

    def _asked(self, request: Request) -> list[dict[str, Any]]:
        with self._turn:
            if not self._seen:
                self._console.show(f"task {self._start.task}, seed {self._start.seed}", "")
                if request.system:
                    self._console.show("system", request.system, "system")
            show(self._console, (part for part in said_in(request.messages, self._seen) if part.kind not in _OWN))
            if not self._seen:
                self._console.show("tools", described(request.tools))
                self._console.show("how to act", HELP)
            self._seen = len(request.messages)  # the reply follows, unless it is empty
            return self._move(request, request.messages)

    def _move(self, request: Request, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        schemas = {tool["name"]: tool["input_schema"] for tool in request.tools}
        turn = sum(message["role"] == "assistant" for message in messages) + 1
        while True:
            try:
                line = self._console.ask(f"\n[turn {turn}] > ", schemas).strip()
                if line.startswith("?"):
                    self._console.show("tools", described(request.tools, line[1:].strip()))
                elif line.startswith(">"):
                    return [{"type": "text", "text": line[1:].strip()}] if line[1:].strip() else []
                elif line:
                    calls = parse_calls(line, schemas, lambda: self._typed_on(schemas))
                    return [_use(call, f"toolu_human_{turn:02d}_{nth:02d}") for nth, call in enumerate(calls)]
            except EOFError:
                return []
            except ValueError as error:
                self._console.show("not understood", f"{error}\n? lists the tools", "error")

    def _typed_on(self, schemas: dict[str, Any]) -> str:
        lines = []
        while (line := self._console.ask("... ", schemas)) != ".":
            lines.append(line)
        return "\n".join([*lines, ""])


def show(console: Console, said: Iterable[Part]) -> None:
    """Show parts of messages."""
    for part in said:
        console.show(part.title, part.text, part.kind)


def show_end(record: Record, console: Console | None = None) -> None:
    """Show the person how the trial ended: the last answer, and what the grader says."""
    console = console or Terminal()
    is_shown = bool(record.requests) and record.requests[-1].empty  # it was there to be answered
    if record.messages and record.messages[-1]["role"] == "user" and record.turns and not is_shown:
        show(console, said_in(record.messages, len(record.messages) - 1))
    score = "" if record.score is None else f"score {record.score:g}"
    threshold = "" if record.threshold is None else f" (threshold {record.threshold:g})"
    console.show(outcome_word(record.outcome), "\n".join(line for line in (score + threshold, record.reason) if line))


def _use(call: ToolCall, identity: str) -> dict[str, Any]:
    return {"type": "tool_use", "id": identity, "name": call.name, "input": dict(call.arguments)}
