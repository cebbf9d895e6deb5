"""Plays a task's policies for the audit, and watches what a record does not tell.

A play is kept: what one check has played, another one in the same process need not play again.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Any

from pytest_rltask.audit.leftovers import Watch
from pytest_rltask.models import Model, Player, Start
from pytest_rltask.models.judges import judges_of
from pytest_rltask.models.named import ModelName
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.models.replay import ReplayModel, Replays
from pytest_rltask.run.record import Record
from pytest_rltask.task import Episode, Grade, Limits, PolicyView, Task
from pytest_rltask.trial.event_loop import run
from pytest_rltask.trial.play import TrialSpec, play, probe

__all__ = ["Play", "Plays"]


@dataclass
class Play:
    """One trial of a policy, and what was seen beside it."""

    record: Record
    grade: Grade | None = None
    """What the grader said; None if it was not asked."""
    again: Grade | str = ""
    """What it said when asked once more, or what it raised."""
    hidden: dict[str, Any] = field(default_factory=dict)
    """What the episode declares to be hidden."""
    classes: tuple[type, ...] = ()
    """The episode's class and those that it is derived from."""
    leftovers: list[str] = field(default_factory=list)
    """What was there after the episode had closed and had not been before it opened."""


class Plays:
    """The plays of one process, one at a time.

    Args:
        sandbox: what isolates the code that the policies run (``--sandbox``).
    """

    def __init__(self, sandbox: str) -> None:
        self._sandbox = sandbox
        self._watch = Watch()
        self._kept: dict[tuple[str, str, int, int], Play] = {}

    def play(self, task: Task, name: str, policy: str, seed: int, limits: Limits, *, nth: int = 0) -> Play:
        """Return a play of a policy.

        Args:
            task: what is played.
            name: of the task in reports; unique in a process.
            policy: who plays; `null` says nothing if the task ships none.
            seed: of the episode.
            limits: of the trial.
            nth: 0 or 1; 1 for a second play of the same.
        """
        key = (name, policy, seed, nth)
        if key not in self._kept:
            spec = self._spec(task, name, policy, seed, limits)
            self._kept[key] = self._played(spec, _PolicyOrNothing(spec.model))
        return self._kept[key]

    def warm(self, task: Task, name: str, policy: str, seed: int, limits: Limits) -> Play:
        """Return a play of a policy that was not its first: every library was loaded, every pool of threads begun."""
        kept = [play for (task_name, by, *_), play in self._kept.items() if (task_name, by) == (name, policy)]
        if not kept:
            self.play(task, name, policy, seed, limits)
        return kept[1] if len(kept) > 1 else self.play(task, name, policy, seed, limits, nth=1)

    def repeat(self, task: Task, play: Play, seed: int, limits: Limits) -> Play:
        """Return a play of the same calls on a seed, be it another."""
        record = play.record
        spec = self._spec(task, record.task, record.model.removeprefix("policy:"), seed, limits)
        return self._played(spec, ReplayModel(Replays([("", replace(record, seed=seed))])))

    def open(self, task: Task, name: str, seed: int, limits: Limits) -> Record:
        """Open an episode, close it, and return its record: with prompt, tools and info, or with the fault."""
        return run(probe(self._spec(task, name, "", seed, limits)))

    def close(self) -> None:
        """Remove the folder in which the episodes had their temporary files."""
        self._watch.close()

    def _spec(self, task: Task, name: str, policy: str, seed: int, limits: Limits) -> TrialSpec:
        model = f"policy:{policy}"
        trial_id = f"{name}[{model}-seed-{seed}]"
        judges = judges_of(task, ModelName(model, "policy", policy), {}, is_typed=False)
        return TrialSpec(trial_id, task, name, model, 0, seed, limits, sandbox=self._sandbox, judges=judges)

    def _played(self, spec: TrialSpec, model: Model) -> Play:
        seen = Play(record=Record("", "", "", "", 0, 0))

        def inspect(episode: Episode, grade: Grade, again: Grade | str) -> None:
            seen.grade, seen.again = grade, again
            seen.hidden, seen.classes = dict(episode.hidden), type(episode).__mro__

        with self._watch.leftovers() as seen.leftovers:
            seen.record = run(play(spec, model, inspect=inspect))
        return seen


class _PolicyOrNothing:
    """A policy that the task ships; or, for `null`, silence."""

    def __init__(self, model: str) -> None:
        self._policy = PolicyModel(model.removeprefix("policy:"))

    def player(self, start: Start) -> Player:
        return self._policy.player(replace(start, policies={"null": _nothing, **start.policies}))

    async def aclose(self) -> None: ...


def _nothing(view: PolicyView) -> Generator[str, Any, None]:
    yield from ()
