"""``replay:RUN_DIR``: recorded assistant messages, played against live tools.

Nothing is paid: the tools, the limits and the grader run anew. Use it to see whether a changed tool or grader
judges the same conversations differently.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pytest_rltask.models.model import ModelFault, Reply, Request, Start
from pytest_rltask.run.record import Record, RequestLog

__all__ = ["ReplayModel"]


class ReplayModel:
    """Replays the trials of a run directory, found by task and seed."""

    def __init__(self, records: Mapping[tuple[str, int], Record]) -> None:
        self._records = records

    def player(self, start: Start) -> _ReplayPlayer:
        """Return a player of the recorded trial of the same task and seed."""
        record = self._records.get((start.task, start.seed))
        if record is None:
            raise ModelFault(f"no recorded trial of task {start.task} with seed {start.seed}", kind="harness")
        return _ReplayPlayer(record)

    def recorded(self, task: str, seed: int) -> Record | None:
        """Return the recorded trial of a task and seed, if there is one."""
        return self._records.get((task, seed))

    async def aclose(self) -> None:
        """Do nothing: a replay holds nothing."""


class _ReplayPlayer:
    def __init__(self, record: Record) -> None:
        self._messages: Iterator[dict[str, Any]] = iter([m for m in record.messages if m["role"] == "assistant"])
        self._requests: Iterator[RequestLog] = iter(record.requests)
        self._left = len(record.requests)

    async def reply(self, request: Request) -> Reply:
        """Return the next recorded reply; once there is none, end the turn."""
        log = next(self._requests, None)
        if log is None:
            return Reply([], "end_turn")
        self._left -= 1
        # A reply without content is not part of the history: the API would not take it back.
        message = {"content": []} if log.empty else next(self._messages, None)
        if message is None:
            raise ModelFault("the recorded trial has fewer messages than replies", kind="harness")
        # Recorded tokens count, so that a token limit fires where it fired; they are not paid again.
        is_last = self._left == 0
        return Reply(message["content"], log.stop_reason, log.usage, 0.0, log.model, log.request_id, is_last=is_last)
