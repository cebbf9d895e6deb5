"""Brings what is told of trials on a Ray cluster, while they go on, to the driver: the post, and who reads it there.

The post is an actor that the driver asks for news: unlike Ray's streaming generators that works through Ray's client
too, and the driver can answer, so that a paid request is on its disk before the trial goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pytest_rltask.engines.ray_calls import awaited
from pytest_rltask.run.record import RequestLog, error_text
from pytest_rltask.trial.play import RUN_ENDED

__all__ = ["Event", "Post", "Reading", "mention"]

LINGER_S = 0.005
"""Seconds that the post waits for more to carry, once there is something."""
AGAIN_S = 0.5
"""Seconds until a post that died is asked again."""
CLOSE_S = 1.0
"""Seconds within which the post lets go whoever waits for it, if it lives."""


@dataclass(frozen=True)
class Event:
    """What the driver is told of a trial, or of a host, while it goes on."""

    key: str
    """Of the trial's attempt, or of the host."""
    header: dict[str, Any] | None = None
    """The fields of its record, once; without conversation and requests."""
    messages: tuple[dict[str, Any], ...] = ()
    """Those that were not told before."""
    told: int = 0
    """How many messages were told before."""
    request: RequestLog | None = None
    """One that cost something."""
    number: int = 0
    """How many such were told before."""
    news: tuple[str, tuple[Any, ...]] | None = None
    """A method of the model's news, and its arguments."""


class Post:
    """Carries events to the driver, and back that they are on its disk. An actor without a place of its own."""

    def __init__(self) -> None:
        self._letters: list[tuple[int, tuple[Event, ...], bool]] = []
        self._waiting: dict[int, asyncio.Future[None]] = {}
        self._there = asyncio.Event()
        self._count = 0
        self._is_closed = False

    async def tell(self, events: tuple[Event, ...], *, waits: bool) -> None:
        """Have the driver told; if so asked, wait until it has taken note.

        Raises:
            RuntimeError: it could not, or the run has ended.
        """
        if self._is_closed:
            raise RuntimeError(RUN_ENDED)
        self._count += 1
        number = self._count
        self._letters.append((number, events, waits))
        self._there.set()
        if waits:
            self._waiting[number] = asyncio.get_running_loop().create_future()
            try:
                await self._waiting[number]
            finally:
                del self._waiting[number]

    async def take(self, noted: list[tuple[int, str]]) -> list[tuple[int, tuple[Event, ...], bool]]:
        """Return what there is to be told, as soon as there is something.

        Args:
            noted: the letters that are taken note of, each with why that failed; empty: it did not.
        """
        for number, why in noted:
            if (waiting := self._waiting.get(number)) and not waiting.done():
                waiting.set_exception(RuntimeError(why)) if why else waiting.set_result(None)
        await self._there.wait()
        await asyncio.sleep(LINGER_S)
        self._there.clear()
        taken, self._letters = self._letters, []
        return taken

    async def close(self) -> None:
        """Let go whoever waits for the driver, which reads no more: else Ray would try their calls anew, and say so."""
        self._is_closed = True
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(RuntimeError(RUN_ENDED))


def mention(post: Any, event: Event) -> None:
    """Have the driver told something that nobody waits for; it is not told again should the post die."""
    post.tell.options(max_task_retries=0).remote((event,), waits=False)


class Reading:
    """The driver's side: a post, and the task that reads it.

    Args:
        note: takes note of an event; what it raises is told to who waits for that.
    """

    def __init__(self, note: Callable[[Event], Awaitable[None]]) -> None:
        import ray

        make = ray.remote(num_cpus=0, max_concurrency=10_000, max_restarts=-1, max_task_retries=-1)(Post)
        self.post = make.remote()
        """The handle of the post."""
        self._note = note
        self._task = asyncio.ensure_future(self._read())

    async def aclose(self) -> None:
        """End the post, once nobody waits for it: Ray would try their calls anew, and tell of it in the terminal."""
        import ray

        self._task.cancel()
        close = self.post.close.options(max_task_retries=0)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(awaited(close.remote()), CLOSE_S)
        with contextlib.suppress(Exception):
            ray.kill(self.post)

    async def _read(self) -> None:
        noted: list[tuple[int, str]] = []
        take = self.post.take.options(max_task_retries=0)  # else Ray tells of its death at the end of the run
        while True:
            try:
                letters = await awaited(take.remote(noted))
            except Exception:  # it is started again, and what was not taken note of comes again
                await asyncio.sleep(AGAIN_S)
                noted = []
                continue
            noted = []
            for number, events, waits in letters:
                why = ""
                for event in events:
                    try:
                        await self._note(event)
                    except Exception as error:
                        why = f"{type(error).__name__}: {error_text(error)}"
                if waits:
                    noted.append((number, why))
