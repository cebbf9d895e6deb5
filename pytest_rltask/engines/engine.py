"""Has trials played, many at a time, from one asyncio loop in a thread of its own; where they are, a player decides.

Trials start in the order in which they are submitted, as many at once as their model takes; each is put on disk
the moment it ends. pytest's thread waits for one trial after the other; an interrupt there cancels them all, which
closes their episodes. Whatever else is raised there, such as another plugin's time limit for the item, is no business
of the trials. A player may play in this process (`local`) or on other machines (`ray`), and may die with a trial.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import threading
import weakref
from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Literal

from pytest_rltask.clock import monotonic_s
from pytest_rltask.engines.apart import keep_apart
from pytest_rltask.engines.player import Player, PlayerDied, Told
from pytest_rltask.run.planned import NotStarted
from pytest_rltask.run.record import Fault, Record, RequestLog
from pytest_rltask.trial.event_loop import SteadyLoop
from pytest_rltask.trial.play import TrialSpec, unplayed

__all__ = ["ATTEMPTS", "Admit", "Engine", "Unwritable"]

ATTEMPTS = 2
"""How often a trial is begun whose players die."""
POLL_S = 0.1
"""Seconds between two looks whether the run was stopped from elsewhere, or by a signal that came as a wait began."""
ASK_AGAIN_S = 0.2
"""Seconds after which a trial that may start later asks again: that other processes' trials end is seen on disk."""

Admit = Callable[[str], NotStarted | Literal["later"] | None]
"""Lets a trial begin, by its id, and notes that it does."""


class Unwritable(Exception):
    """The run directory takes nothing more, so that no trial is played whose record would be lost; says why."""


class _Trial:
    """A trial that was submitted, as pytest's thread sees it.

    That thread takes no lock which the loop's needs: a signal's handler may raise in between, and leave it locked.
    """

    def __init__(self, spec: TrialSpec) -> None:
        self.spec = spec
        self.task: asyncio.Task[Record | NotStarted] | None = None
        self.is_in_flight = False
        self.is_awaited = False
        """Whether its item was due, so that it is played to its end even if that item waited in vain."""
        self._is_over = False
        self._over = threading.Lock()
        self._over.acquire()

    def settle(self, _task: object) -> None:
        """Tell that it has ended; called by the loop, once."""
        self._is_over = True
        self._over.release()

    def ends_within(self, wait_s: float) -> bool:
        """Wait for its end, and say whether it has come."""
        if not self._is_over and self._over.acquire(timeout=wait_s):
            self._over.release()
        return self._is_over

    def result(self) -> Record | NotStarted:
        """Return what came of it, once it is over."""
        assert self.task is not None, "it is over"
        if self.task.cancelled():
            raise RuntimeError("the run was stopped before the trial had ended")
        return self.task.result()


class Engine:
    """One event loop, and the trials that are played from it.

    Args:
        player: plays them.
        concurrency: of a model's name: how many of its trials are in flight at once.
        admit: called with a trial's id before it begins. None: it begins; else why it does not, for good or until it
            asks again, once another trial has ended.
        finished: called with each record as soon as its trial has ended, one at a time; until it returns, nobody
            hears of the trial. Once a fault leaves a model's trials no chance, it is called for the first of them
            alone: the others count as not played.
        turned: called with a trial's record and how many of its messages are there, after its prompt and each turn;
            nobody waits for it, and what it raises is lost.
        paid: called with a trial's record and each of its requests that cost something, while the trial goes on.
        paid_at_once: the same, called on the loop first; it takes no time, and says whether it has done it.
        is_stopped: says whether the run was interrupted in another process; asked while a trial is waited for.
        folder: the working directory of all trials; None: that of the process, wherever a test leads it.
        waits: called in pytest's thread again and again while it waits for a trial; None: it has nothing else to do.
        reread: returns a record that is on disk, by the id of its trial. With it, a record that was asked for is kept
            no longer than whoever asked keeps it: a run may have thousands. None: all are kept.
        loop: to play on, made while sockets could be; it becomes the engine's.
    """

    def __init__(
        self,
        player: Player,
        *,
        concurrency: Callable[[str], int],
        finished: Callable[[Record], None],
        admit: Admit = lambda trial_id: None,
        paid: Callable[[Record, RequestLog], None] | None = None,
        paid_at_once: Callable[[Record, RequestLog], bool] = lambda record, request: False,
        turned: Callable[[Record, int], None] | None = None,
        is_stopped: Callable[[], bool] | None = None,
        folder: str | None = None,
        waits: Callable[[], None] | None = None,
        reread: Callable[[str], Record] | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._player = player
        self._concurrency = concurrency
        self._admit = admit
        self._finished = finished
        self._paid, self._paid_at_once = paid, paid_at_once
        self._turned = turned
        self._is_stopped = is_stopped
        self._folder = folder
        self._waits = waits
        self._reread = reread
        self._deadline: float | None = None  # of all cleaning up, from the first interrupt on
        self._told = Told(self._note_paid, self._note_turn, self._keep_paid, self._write_more)
        self._places: dict[str, asyncio.Semaphore] = {}
        self._doors: dict[str, asyncio.Lock] = {}
        self._one_ended = asyncio.Event()
        self._trials: dict[str, _Trial] = {}
        self._taken: dict[str, weakref.ref[Record]] = {}
        self._asked: deque[_Trial] = deque()
        self._told_hopeless: set[str] = set()
        self._hopeless: dict[str, Fault] = {}
        self._unwritable: Exception | None = None
        self._begins_none = False
        self._writer = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="rltask-writer")
        self._loop = loop or SteadyLoop()
        self._thread = threading.Thread(target=self._run, name="rltask-engine", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        if self._folder is not None:
            keep_apart(self._folder)
        self._loop.run_forever()

    def knows(self, trial_id: str) -> bool:
        """Say whether a trial was submitted."""
        return trial_id in self._trials or trial_id in self._taken

    def submit(self, specs: Iterable[TrialSpec]) -> None:
        """Have trials played, in this order; those that were submitted before stay as they are."""
        for spec in specs:
            if not self.knows(spec.trial_id):
                trial = self._trials[spec.trial_id] = _Trial(spec)
                self._asked.append(trial)
        self._loop.call_soon_threadsafe(self._begin)

    def result(self, trial_id: str) -> Record | NotStarted:
        """Wait for a trial that was submitted, and return its record; or why it was not started, to forget it.

        What other plugins raise while it waits ends the waiting and nothing else.

        Raises:
            KeyboardInterrupt: the run was interrupted, here or elsewhere; all trials are ended.
        """
        if (taken := self._taken.get(trial_id)) is not None:
            assert self._reread is not None, "else it was kept"
            return taken() or self._reread(trial_id)
        trial = self._trials[trial_id]
        self._outlast(trial)
        if self._unwritable is not None and trial.task is not None and trial.task.cancelled():
            raise self._unwritable
        result = trial.result()
        if isinstance(result, NotStarted):
            del self._trials[trial_id]
        elif result.fault is not None and result.fault.fatal:
            self._keep_told(result)
        elif self._reread is not None and result.fault is None:  # a fault of all is on disk once
            self._taken[trial_id] = weakref.ref(result)
            del self._trials[trial_id]
        return result

    def settle(self) -> None:
        """Wait until no trial is in flight; interrupts are those of `result`."""
        for trial in list(self._trials.values()):
            if not trial.ends_within(0):
                self._outlast(trial)

    def _outlast(self, trial: _Trial) -> None:
        """Wait until a trial has ended; an interrupt ends them all."""
        trial.is_awaited = True
        if trial.task is None:  # what was raised during its submission may have kept it from the loop
            self._asked.append(trial)
            self._loop.call_soon_threadsafe(self._begin)
        try:
            self._await(trial)
        except (KeyboardInterrupt, SystemExit):
            self.abort()
            raise

    def abort(self) -> None:
        """Cancel what is not finished, and give it a moment to clean up."""
        self._wait(self._cancel_all())
        # What was cut off is on disk after that, if it cost anything.
        concurrent.futures.wait([self._writer.submit(lambda: None)], self._left_s)

    def close(self, *, finish: bool = False) -> None:
        """Cancel what is not finished, close the models' connections and end the loop.

        Args:
            finish: let those in flight first come to their end whose items waited in vain. No other trial begins.

        Raises:
            KeyboardInterrupt: one came meanwhile; all is closed.
        """
        try:
            if finish:
                self._finish()
        finally:
            self._close_now()

    def _finish(self) -> None:
        self._begins_none = True
        for trial in list(self._trials.values()):
            if trial.is_awaited and trial.is_in_flight:
                self._await(trial)

    def _close_now(self) -> None:
        self.abort()
        if self._wait(self._close()):  # else the thread, a daemon, dies with the process
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(self._left_s)
            if not self._thread.is_alive():
                self._loop.close()
        self._writer.shutdown(wait=False)

    def _await(self, trial: _Trial) -> None:
        """Wait until a trial has ended.

        Raises:
            KeyboardInterrupt: the run was interrupted in another process.
        """
        is_over = False
        while not is_over:
            is_over = trial.ends_within(POLL_S)
            if self._waits is not None:
                self._waits()
            if not is_over and self._is_stopped and self._is_stopped():
                raise KeyboardInterrupt("the run was interrupted")

    def _wait(self, work: Coroutine[Any, Any, None]) -> bool:
        """Wait for work of the cleaning up, and say whether it ended in time."""
        ending = asyncio.run_coroutine_threadsafe(work, self._loop)
        return bool(concurrent.futures.wait([ending], self._left_s).done)

    @property
    def _left_s(self) -> float:
        """Seconds left for cleaning up, which begins when this is first asked for."""
        self._deadline = self._deadline or monotonic_s() + self._player.cleanup_s
        return max(0.0, self._deadline - monotonic_s())

    def _begin(self) -> None:
        """Begin what was asked for, on the loop.

        All models are made ready now, while pytest's thread waits for the first trial: later, a test may have changed
        the environment from which they are made.
        """
        while self._asked:
            trial = self._asked.popleft()
            if trial.task is None:
                trial.task = self._loop.create_task(self._play(trial))
                trial.task.add_done_callback(trial.settle)
                for name in (trial.spec.model, *trial.spec.judges.values()):
                    with contextlib.suppress(Exception):  # which the trial meets again
                        self._prepare(name)

    def _prepare(self, name: str) -> None:
        if name not in self._places:
            self._player.prepare(name)
            self._places[name] = asyncio.Semaphore(self._concurrency(name))
            self._doors[name] = asyncio.Lock()

    async def _play(self, trial: _Trial) -> Record | NotStarted:
        spec, name = trial.spec, trial.spec.model
        self._prepare(name)
        async with self._places[name]:
            for attempt in range(1, ATTEMPTS + 1):
                if instead := await self._kept_out(trial):
                    return instead
                try:
                    record = await self._player.play(spec, self._told)
                    break
                except PlayerDied as death:
                    record = death.record
                finally:
                    trial.is_in_flight = False
                if attempt < ATTEMPTS:  # written, so that what it cost counts before it is begun again
                    await asyncio.shield(self._loop.run_in_executor(self._writer, self._write, record))
            if record.fault is not None and record.fault.fatal:
                self._hopeless.setdefault(name, record.fault)
                self._keep_paid(record)
                self._one_ended.set()
                return record  # several in flight have the same fault: on disk is the one whose item tells it
            # Shielded: what is finished, and maybe paid, is not lost to an interrupt.
            await asyncio.shield(self._loop.run_in_executor(self._writer, self._write, record))
            self._one_ended.set()
        return record

    def _keep_paid(self, record: Record) -> None:
        """Put the record of a trial on disk that nobody may wait for, if it is graded or cost anything."""
        if _is_worth_keeping(record):
            self._writer.submit(self._write, record)

    def _keep_told(self, record: Record) -> None:
        """Put the record of a trial without a chance on disk, once its item is told of it."""
        if not _is_worth_keeping(record) and record.trial_id not in self._told_hopeless:
            self._told_hopeless.add(record.trial_id)
            self._writer.submit(self._write, record).result()

    def _note_turn(self, record: Record) -> None:
        if self._turned is not None:
            with contextlib.suppress(RuntimeError):  # the run has ended, and this trial does not know yet
                self._writer.submit(self._turned, record, len(record.messages))

    async def _note_paid(self, record: Record, request: RequestLog) -> None:
        if self._paid is None:
            return
        try:
            if not self._paid_at_once(record, request):
                await self._loop.run_in_executor(self._writer, self._paid, record, request)
        except Exception as error:
            self._unwritable = error
            raise  # this trial pays for nothing more either

    async def _write_more(self, write: Callable[[], None]) -> None:
        await asyncio.shield(self._loop.run_in_executor(self._writer, write))

    def _write(self, record: Record) -> None:
        try:
            self._finished(record)
        except OSError as error:
            self._unwritable = Unwritable(error.strerror or str(error))
            raise self._unwritable from error
        except Exception as error:
            self._unwritable = error
            raise

    def _ask(self, trial_id: str) -> NotStarted | Literal["later"] | None:
        """Ask whether a trial may begin, which is written down."""
        try:
            return self._admit(trial_id)
        except OSError as error:
            self._unwritable = Unwritable(error.strerror or str(error))
            raise self._unwritable from error

    async def _kept_out(self, trial: _Trial) -> Record | NotStarted | None:
        """Wait for a trial's turn among those of its model; return what stands for it if it does not start then."""
        spec = trial.spec
        async with self._doors[spec.model]:
            while True:
                if self._unwritable is not None:
                    raise self._unwritable  # nothing more is paid for of which no record can be kept
                if self._begins_none:
                    raise asyncio.CancelledError
                if fault := self._hopeless.get(spec.model):
                    return unplayed(spec, fault)
                self._one_ended.clear()
                trial.is_in_flight = True
                answer = await self._loop.run_in_executor(self._writer, self._ask, spec.trial_id)
                trial.is_in_flight = answer is None
                if answer != "later":
                    return answer
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._one_ended.wait(), ASK_AGAIN_S)

    async def _cancel_all(self) -> None:
        """Cancel all trials in one step of the loop, so that none takes the place of another, and wait for them."""
        self._begins_none = True
        tasks = [trial.task for trial in self._trials.values() if trial.task is not None]
        for task in reversed(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self) -> None:
        await self._player.aclose()


def _is_worth_keeping(record: Record) -> bool:
    return record.graded or record.cost_usd != 0
