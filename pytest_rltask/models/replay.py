"""``replay:RUN_DIR``: recorded assistant messages, played against live tools.

Nothing is paid: the tools, the limits and the grader run anew. Use it to see whether a changed tool or grader
judges the same conversations differently.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pytest_rltask.models.model import ModelFault, Reply, Request, Start
from pytest_rltask.run.files import RunLogError
from pytest_rltask.run.load import load_plan, load_run
from pytest_rltask.run.record import Record, RequestLog

__all__ = ["ReplayModel", "Replays", "load_replay", "replayed_limits"]


class Replays:
    """Recorded trials, found by task, parameters of the test, and seed.

    Args:
        records: each with the part of its test's id that names the parameters.

    Raises:
        ValueError: two of them are found by the same.
    """

    def __init__(self, records: Iterable[tuple[str, Record]]) -> None:
        self._found: dict[tuple[str, str, int], Record] = {}
        self._variants: dict[str, set[str]] = {}
        for variant, record in records:
            key = record.task, variant, record.seed
            if key in self._found:
                models = sorted({self._found[key].model, record.model})
                name = f"{record.task}[{variant}]" if variant else record.task
                raise ValueError(
                    f"task {name} with seed {record.seed} was played more than once "
                    f"(by {', '.join(models)}); replay a run of one model"
                )
            self._found[key] = record
            self._variants.setdefault(record.task, set()).add(variant)

    def __bool__(self) -> bool:
        return bool(self._found)

    def _variant(self, task: str, variant: str) -> str:
        """Return the recorded parameters that stand for today's: the same, or those of a test that had none, or has."""
        recorded = self._variants.get(task, set())
        is_other = variant not in recorded and len(recorded) == 1
        return next(iter(recorded)) if is_other and "" in (variant, *recorded) else variant

    def find(self, task: str, variant: str, seed: int) -> Record | None:
        """Return the trial of a task, its test's parameters and a seed; None if there is none."""
        return self._found.get((task, self._variant(task, variant), seed))

    def seeds(self, task: str, variant: str) -> list[int]:
        """Return the seeds that are recorded."""
        same = self._variant(task, variant)
        return sorted(seed for name, of, seed in self._found if (name, of) == (task, same))


def load_replay(directory: str) -> Replays:
    """Load the judged trials of a run directory.

    Raises:
        ValueError: it is no run directory, has no judged trial, or has several of one task, parameters and seed.
    """
    try:
        run = load_run(Path(directory).expanduser())
        variants = {trial.trial_id: trial.variant for trial in run.plan}
        judged = [record for record in run.records.values() if record.outcome != "errored"]
        found = Replays((variants.get(record.trial_id, ""), record) for record in judged)
    except (RunLogError, ValueError) as error:
        raise ValueError(f"--model replay:{directory}: {error}") from None
    if not found:
        raise ValueError(f"--model replay:{directory}: the run has no judged trial to replay")
    return found


def replayed_limits(directory: str, trial_id: str) -> dict[str, Any]:
    """Return the limits that a trial of a run directory was played with; empty if they are not known."""
    plan = load_plan(Path(directory).expanduser())
    return next((trial.limits for trial in plan if trial.trial_id == trial_id), {})


class ReplayModel:
    """Replays recorded trials.

    Args:
        recorded: the trials.
    """

    def __init__(self, recorded: Replays) -> None:
        self._recorded = recorded

    def player(self, start: Start) -> _ReplayPlayer:
        """Return a player of the recorded trial of the same task, parameters and seed."""
        record = self._recorded.find(start.task, start.variant, start.seed)
        if record is None:
            raise ModelFault(f"no recorded trial of task {start.task} with seed {start.seed}", kind="harness")
        return _ReplayPlayer(record)

    def recorded(self, task: str, variant: str, seed: int) -> Record | None:
        """Return the recorded trial of a task, its test's parameters and a seed, if there is one."""
        return self._recorded.find(task, variant, seed)

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
