"""Plays trials in this process: an API's answers are awaited on the engine's loop, code of tasks runs in threads.

As many of these threads compute at once as there are cores for them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from pytest_rltask.engines.engine import Engine
from pytest_rltask.engines.player import Told
from pytest_rltask.models import Model
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.run.record import Record
from pytest_rltask.task import Episode, Task
from pytest_rltask.trial.event_loop import run
from pytest_rltask.trial.play import TrialSpec, play

__all__ = ["LocalEngine", "LocalPlayer", "play_policy"]


class LocalPlayer:
    """The models of one event loop, and the threads that their trials share.

    Args:
        make_model: called once a model name, on first use.
        cores: how many trials may compute at once, whoever plays them.
        keep: called with a trial's record and its episode before that is graded, to keep what its grader reads.
    """

    cleanup_s = 1.0

    def __init__(
        self, make_model: Callable[[str], Model], *, cores: int, keep: Callable[[Record, Episode], None] | None = None
    ) -> None:
        self._make_model = make_model
        self._keep = keep
        self._models: dict[str, Model] = {}
        self._slots = asyncio.Semaphore(cores)

    def prepare(self, model: str) -> None:
        """Make a model, by its name."""
        self._model(model)

    def _model(self, name: str) -> Model:
        if name not in self._models:
            self._models[name] = self._make_model(name)
        return self._models[name]

    async def play(self, spec: TrialSpec, told: Told) -> Record:
        """Play a trial to its grade."""
        return await play(
            spec,
            self._model(spec.model),
            self._slots,
            cut_off=told.cut_off,
            paid=told.paid,
            turned=told.turned,
            keep=self._keep,
            models=self._model,
        )

    async def aclose(self) -> None:
        """Close the models' connections."""
        for model in self._models.values():
            await model.aclose()


class LocalEngine(Engine):
    """An engine that plays in this process.

    Args:
        make_model: called once a model name, on first use.
        cores: how many trials may compute at once, whoever plays them.
        keep: called with a trial's record and its episode before that is graded, to keep what its grader reads.
        others: as of any :class:`~pytest_rltask.engines.engine.Engine`.
    """

    def __init__(
        self,
        make_model: Callable[[str], Model],
        *,
        cores: int,
        keep: Callable[[Record, Episode], None] | None = None,
        **others: Any,
    ) -> None:
        super().__init__(LocalPlayer(make_model, cores=cores, keep=keep), **others)


def play_policy(task: Task, policy: str, seed: int, *, sandbox: str = "auto") -> Record:
    """Let a scripted policy play one trial of a task, outside pytest, and return its record.

    Args:
        task: what to play.
        policy: name of one of the task's policies.
        seed: of the episode.
        sandbox: what isolates the code that the task runs, as ``--sandbox`` names it.

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
        sandbox=sandbox,
    )
    if policy not in task.policies:
        raise KeyError(policy)
    return run(play(spec, PolicyModel(policy)))
