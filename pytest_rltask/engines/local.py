"""Plays trials in this process, on one asyncio loop in a thread of its own.

The loop outlives the trials, so that all of them share one client, its connections and its limits. pytest's
thread hands trials over and waits; an interrupt there cancels the trial, which closes its episode.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pytest_rltask.models import Model
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.record import Record
from pytest_rltask.task import Task
from pytest_rltask.trial import TrialSpec, play

__all__ = ["LocalEngine", "play_policy"]

_T = TypeVar("_T")

CLEANUP_S = 10.0
"""Seconds that an interrupted trial has to kill its processes and remove its files."""


class LocalEngine:
    """One event loop and the models that play on it.

    Args:
        make_model: called once a model name, on first use.
    """

    def __init__(self, make_model: Callable[[str], Model]) -> None:
        self._make_model = make_model
        self._models: dict[str, Model] = {}
        self._is_stuck = False  # a policy that never yields blocks the loop
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rltask-engine", daemon=True)
        self._thread.start()

    def play(self, spec: TrialSpec) -> Record:
        """Play a trial and wait for its record."""
        return self._wait(self._play(spec))

    def close(self) -> None:
        """Close the models' connections and end the loop."""
        if self._is_stuck:
            return  # its thread is a daemon
        closing = asyncio.run_coroutine_threadsafe(self._close(), self._loop)
        with contextlib.suppress(TimeoutError):
            closing.result(CLEANUP_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLEANUP_S)
            self._loop.close()

    async def _play(self, spec: TrialSpec) -> Record:
        if spec.model not in self._models:
            self._models[spec.model] = self._make_model(spec.model)
        return await play(spec, self._models[spec.model])

    async def _close(self) -> None:
        for model in self._models.values():
            await model.aclose()

    def _wait(self, work: Coroutine[Any, Any, _T]) -> _T:
        future = asyncio.run_coroutine_threadsafe(_signalling(work, ended := threading.Event()), self._loop)
        try:
            return future.result()
        except BaseException:
            # An interrupt: the future is cancelled at once, the trial's clean-up takes a moment longer.
            future.cancel()
            self._is_stuck = not ended.wait(CLEANUP_S)
            raise


def play_policy(task: Task, policy: str, seed: int) -> Record:
    """Let a scripted policy play one trial of a task, outside pytest, and return its record.

    Args:
        task: what to play.
        policy: name of one of the task's policies.
        seed: of the episode.

    Raises:
        KeyError: the task ships no such policy.
    """
    name = f"policy:{policy}"
    spec = TrialSpec(
        trial_id=f"{task.name}[{name}-seed-{seed}]",
        task=task,
        task_name=task.name,
        model=name,
        run=0,
        seed=seed,
        limits=task.limits,
    )
    if policy not in task.policies:
        raise KeyError(policy)
    return asyncio.run(play(spec, PolicyModel(policy)))


async def _signalling(work: Coroutine[Any, Any, _T], ended: threading.Event) -> _T:
    try:
        return await work
    finally:
        ended.set()
