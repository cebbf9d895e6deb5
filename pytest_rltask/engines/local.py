"""Plays trials in this process, many at a time, on one asyncio loop in a thread of its own.

Trials start in the order in which they are submitted, as many at once as their model takes; each is put on disk
the moment it ends. Code of tasks runs in threads, and as many of these compute at once as there are cores for them.
pytest's thread waits for one trial after the other; an interrupt there cancels them all, which closes their episodes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Literal

from pytest_rltask.models import Model
from pytest_rltask.models.policy import PolicyModel
from pytest_rltask.record import Fault, Record
from pytest_rltask.runlog import NotStarted
from pytest_rltask.task import Task
from pytest_rltask.trial import TrialSpec, play, unplayed

__all__ = ["LocalEngine", "play_policy"]

CLEANUP_S = 1.0
"""Seconds that interrupted trials have to kill their processes and remove their files, all together."""
POLL_S = 0.1
"""Seconds between two looks whether the run was stopped from elsewhere."""
ASK_AGAIN_S = 0.2
"""Seconds after which a trial that may start later asks again: that other processes' trials end is seen on disk."""

Admit = Callable[[str], NotStarted | Literal["later"] | None]
"""Lets a trial begin, by its id, and notes that it does."""


class LocalEngine:
    """One event loop, the models that play on it, and the trials that they play.

    Args:
        make_model: called once a model name, on first use.
        concurrency: of a model's name: how many of its trials are in flight at once.
        cores: how many trials may compute at once, whoever plays them.
        admit: called with a trial's id before it begins. None: it begins; else why it does not, for good or until it
            asks again, once another trial has ended.
        finished: called with each record as soon as its trial has ended, one at a time; until it returns, nobody
            hears of the trial. Once a fault leaves a model's trials no chance, it is called for the first of them
            alone: the others count as not played.
        is_stopped: says whether the run was interrupted in another process; asked while a trial is waited for.
    """

    def __init__(
        self,
        make_model: Callable[[str], Model],
        *,
        concurrency: Callable[[str], int],
        cores: int,
        finished: Callable[[Record], None],
        admit: Admit = lambda trial_id: None,
        is_stopped: Callable[[], bool] | None = None,
    ) -> None:
        self._make_model = make_model
        self._concurrency = concurrency
        self._admit = admit
        self._finished = finished
        self._is_stopped = is_stopped
        self._deadline: float | None = None  # of all cleaning up, from the first interrupt on
        self._models: dict[str, Model] = {}
        self._places: dict[str, asyncio.Semaphore] = {}
        self._doors: dict[str, asyncio.Lock] = {}
        self._one_ended = asyncio.Event()
        self._slots = asyncio.Semaphore(cores)
        self._trials: dict[str, concurrent.futures.Future[Record | NotStarted]] = {}
        self._hopeless: dict[str, Fault] = {}
        self._writer = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="rltask-writer")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rltask-engine", daemon=True)
        self._thread.start()

    def knows(self, trial_id: str) -> bool:
        """Say whether a trial was submitted."""
        return trial_id in self._trials

    def submit(self, specs: Iterable[TrialSpec]) -> None:
        """Have trials played, in this order; those that were submitted before stay as they are."""
        for spec in specs:
            if spec.trial_id not in self._trials:
                self._trials[spec.trial_id] = asyncio.run_coroutine_threadsafe(self._play(spec), self._loop)

    def result(self, trial_id: str) -> Record | NotStarted:
        """Wait for a trial that was submitted, and return its record; or why it was not started, to forget it.

        Raises:
            KeyboardInterrupt: the run was interrupted, here or elsewhere; all trials are ended.
        """
        trial = self._trials[trial_id]
        try:
            while self._is_stopped and not concurrent.futures.wait([trial], POLL_S).done:
                if self._is_stopped():
                    raise KeyboardInterrupt("the run was interrupted")
            result = trial.result()
        except BaseException:
            self.abort()
            raise
        if isinstance(result, NotStarted):
            del self._trials[trial_id]
        return result

    def settle(self) -> None:
        """Wait until no trial is in flight; interrupts are those of `result`."""
        for trial_id, trial in list(self._trials.items()):
            if not trial.done():
                self.result(trial_id)

    def abort(self) -> None:
        """Cancel what is not finished, and give it a moment to clean up."""
        # The last first: else a trial that waits takes the place of one that is cancelled, and is begun, maybe paid.
        waiting = [trial for trial in reversed(self._trials.values()) if trial.cancel()]
        if waiting:
            self._wait(self._all_ended())

    def close(self) -> None:
        """Cancel what is not finished, close the models' connections and end the loop."""
        self.abort()
        if self._wait(self._close()):  # else the thread, a daemon, dies with the process
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(self._left_s)
            if not self._thread.is_alive():
                self._loop.close()
        self._writer.shutdown(wait=False)

    def _wait(self, work: Coroutine[Any, Any, None]) -> bool:
        """Wait for work of the cleaning up, and say whether it ended in time."""
        ending = asyncio.run_coroutine_threadsafe(work, self._loop)
        return bool(concurrent.futures.wait([ending], self._left_s).done)

    @property
    def _left_s(self) -> float:
        """Seconds left for cleaning up, which begins when this is first asked for."""
        self._deadline = self._deadline or time.monotonic() + CLEANUP_S
        return max(0.0, self._deadline - time.monotonic())

    async def _play(self, spec: TrialSpec) -> Record | NotStarted:
        name = spec.model
        if name not in self._models:
            self._models[name] = self._make_model(name)
            self._places[name] = asyncio.Semaphore(self._concurrency(name))
            self._doors[name] = asyncio.Lock()
        async with self._places[name]:
            if instead := await self._kept_out(spec):
                return instead
            record = await play(spec, self._models[name], self._slots)
            if record.fault is not None and record.fault.fatal:
                if name in self._hopeless:
                    return record  # of the same fault as another trial that was in flight: told once
                self._hopeless[name] = record.fault
            # Shielded: what is finished, and maybe paid, is not lost to an interrupt.
            await asyncio.shield(self._loop.run_in_executor(self._writer, self._finished, record))
            self._one_ended.set()
        return record

    async def _kept_out(self, spec: TrialSpec) -> Record | NotStarted | None:
        """Wait for a trial's turn among those of its model; return what stands for it if it does not start then."""
        async with self._doors[spec.model]:
            while True:
                if fault := self._hopeless.get(spec.model):
                    return unplayed(spec, fault)
                self._one_ended.clear()
                answer = await self._loop.run_in_executor(self._writer, self._admit, spec.trial_id)
                if answer != "later":
                    return answer
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._one_ended.wait(), ASK_AGAIN_S)

    async def _all_ended(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*others, return_exceptions=True)

    async def _close(self) -> None:
        for model in self._models.values():
            await model.aclose()


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
