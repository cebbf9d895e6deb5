"""``policy:NAME``: a scripted policy that the task ships, played through the very same loop and tools."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Generator, Iterator, Sequence
from typing import Any

from pytest_rltask.media.attached import content_text, result_of
from pytest_rltask.models.model import ModelFault, Reply, Request, Start, seeded_rng
from pytest_rltask.run.record import error_text
from pytest_rltask.task import PolicyView, is_cheat
from pytest_rltask.tools import ToolCall, ToolResult

__all__ = ["PolicyModel"]


class PolicyModel:
    """Plays the policy of one name of whichever task is played."""

    def __init__(self, name: str) -> None:
        self.policy = name

    def player(self, start: Start) -> _PolicyPlayer:
        """Start the policy's generator for a trial."""
        rng = seeded_rng(self.policy, start.seed)
        view = PolicyView(start.prompt, start.tools, start.seed, rng, start.history)
        try:
            moves = start.policies[self.policy](view)
        except BaseException as error:  # sys.exit() and pytest.skip() in a policy are no way out of a trial either
            raise _fault(self.policy, error) from error
        if not isinstance(moves, Generator):
            raise ModelFault(
                f"policy {self.policy!r} is no generator function; use `yield call(...)` in it", kind="task"
            )
        return _PolicyPlayer(self.policy, moves, start)

    async def aclose(self) -> None:
        """Do nothing: a policy holds nothing."""


class _PolicyPlayer:
    def __init__(self, policy: str, moves: Generator[Any, Any, None], start: Start) -> None:
        self._policy = policy
        self._moves = moves
        self._run = start.run
        self._tools = start.tools
        self._ids = itertools.count()
        self._alone = False  # the last move was a single call, which wants a single result

    async def reply(self, request: Request) -> Reply:
        """Advance the generator by one move, in the trial's thread: a policy may think for long."""
        heard = self._heard(request.messages)
        try:
            async with asyncio.timeout_at(request.deadline):
                move, error = await self._run(lambda: self._advance(heard))
        except TimeoutError:
            raise ModelFault(f"policy {self._policy!r} made no move in the trial's time", kind="task") from None
        if isinstance(error, StopIteration):
            return Reply([], "end_turn", model=self._policy)
        if error is not None:
            raise _fault(self._policy, error) from error
        return self._reply(move)

    def _advance(self, heard: object) -> tuple[Any, BaseException | None]:
        """Return the next move, or what the generator raised: not everything that one raises can cross threads."""
        try:
            return self._moves.send(heard), None
        except BaseException as error:
            return None, error

    def _heard(self, messages: list[dict[str, Any]]) -> ToolResult | list[ToolResult] | str | None:
        """Return what answers the last move: results of its calls, or what the harness said; None at first."""
        if len(messages) == 1:
            return None
        blocks = messages[-1]["content"]
        results = [result_of(block) for block in blocks if block["type"] == "tool_result"]
        if not results:
            return content_text(blocks)
        return results[0] if self._alone else results

    def _reply(self, move: ToolCall | Sequence[ToolCall] | str) -> Reply:
        if isinstance(move, str):
            return Reply([{"type": "text", "text": move}] if move else [], "end_turn", model=self._policy)
        self._alone = isinstance(move, ToolCall)
        calls = [move] if isinstance(move, ToolCall) else move
        if not (isinstance(calls, list | tuple) and calls and all(isinstance(call, ToolCall) for call in calls)):
            said = f"policy {self._policy!r} yielded {move!r}; yield call(...), a list of such calls, or a string"
            raise ModelFault(said, kind="task")
        self._check_names(calls)
        return Reply(list(self._blocks(calls)), "tool_use", model=self._policy)

    def _check_names(self, calls: Sequence[ToolCall]) -> None:
        """Refuse a tool that does not exist: a misspelt name would be told as a miss. A cheat may try any."""
        unknown = [call.name for call in calls if call.name not in self._tools]
        if unknown and not is_cheat(self._policy):
            known = ", ".join(self._tools) or "none; mark the episode's methods with @tool"
            said = (
                f"policy {self._policy!r} calls {unknown[0]!r}, which is no tool of the episode; its tools are: {known}"
            )
            raise ModelFault(said, kind="task")

    def _blocks(self, calls: Sequence[ToolCall]) -> Iterator[dict[str, Any]]:
        for call in calls:
            identity = call.id or f"toolu_{self._policy}_{next(self._ids):02d}"
            yield {"type": "tool_use", "id": identity, "name": call.name, "input": dict(call.arguments)}


def _fault(policy: str, error: BaseException) -> ModelFault:
    if isinstance(error, KeyboardInterrupt | asyncio.CancelledError):
        raise error
    return ModelFault(f"policy {policy!r} raised {type(error).__name__}: {error_text(error)}", kind="task")
