"""What runs on the nodes of a Ray cluster: hosts play trials, many at once, and tasks one each.

A host is an actor that plays many trials of an API's models at once; a trial that computes is a Ray task of its own.
Either returns the finished record. What is to be told before (a paid request, turns, whom a host waits for) goes
through the post (`ray_post`).
"""

from __future__ import annotations

import asyncio
import functools
import pickle
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from pytest_rltask.clock import monotonic_s
from pytest_rltask.engines.ray_leave import model_on_node
from pytest_rltask.engines.ray_place import Settings, not_allowed, said_of, take_environment
from pytest_rltask.engines.ray_post import Event, mention
from pytest_rltask.engines.travel import installed
from pytest_rltask.models import Model
from pytest_rltask.run.artifacts import MOST_BYTES
from pytest_rltask.run.record import Fault, Record, RequestLog
from pytest_rltask.task import Episode, Limits, Task
from pytest_rltask.trial.event_loop import run
from pytest_rltask.trial.keeping import contents_of
from pytest_rltask.trial.play import TrialSpec, play, unplayed

__all__ = ["Host", "Ticket", "play_alone"]

TURNS_S = 0.5
"""Seconds within which turns of a trial are told together."""
ENDING_S = 1.0
"""Seconds that cancelled trials have to kill their processes and remove their files."""


@dataclass(frozen=True)
class Ticket:
    """One trial that is to be played, as it travels."""

    key: str
    """Of this attempt."""
    task: bytes
    """The task, pickled: it is found by the names of the driver's modules."""
    fields: Mapping[str, Any]
    """The other fields of its :class:`TrialSpec`."""
    limits: Limits
    environment: Mapping[str, str]
    """Variables that what it draws, and who plays it, depends on; in memory alone."""
    recorded: Record | None = None
    """What a replay plays."""
    was_answered: bool = False
    """Whether the server of an API's model has answered anybody in this run."""


class _Outbox:
    """What is told of one trial."""

    def __init__(self, post: Any, key: str) -> None:
        self._post, self._key = post, key
        self._is_headed = False
        self._messages = self._requests = 0
        self._told_s = monotonic_s()
        self.cut_off: Record | None = None
        self.contents: dict[str, bytes] = {}

    def turned(self, record: Record) -> None:
        """Tell of turns, now and then: a trial that ends soon tells nothing but its record."""
        if monotonic_s() - self._told_s >= TURNS_S:
            mention(self._post, self._event(record))

    async def paid(self, record: Record, request: RequestLog) -> None:
        """Tell what a request cost, and wait until that is on disk."""
        event = replace(self._event(record), request=request, number=self._requests)
        self._requests += 1
        await self._post.tell.remote((event,), waits=True)

    def keep(self, record: Record, episode: Episode) -> None:
        """Keep what the grader reads, to be sent with the record; no more of it than the driver keeps."""
        left = MOST_BYTES
        for name, content in contents_of(record, episode).items():
            if len(content) > left:
                record.artifacts_left_out[name[:200]] = f"{len(content):,} bytes; all may have {MOST_BYTES:,}"
                continue
            left -= len(content)
            self.contents[name] = content

    def note_cut_off(self, record: Record) -> None:
        """Keep what is known of a trial that is cancelled."""
        self.cut_off = record

    def _event(self, record: Record) -> Event:
        told, self._messages, self._told_s = self._messages, len(record.messages), monotonic_s()
        header = None
        if not self._is_headed:
            header = replace(record, messages=[], requests=[], fault=None).to_json()
            self._is_headed = True
        return Event(self._key, header, tuple(record.messages[told:]), told)


class _News:
    """Tells the driver who keeps a host's trials waiting."""

    def __init__(self, post: Any, key: str) -> None:
        self._post, self._key = post, key
        self._last = ""
        self.is_answered = False

    def tell(self, line: str) -> None:
        """Tell something once, at once."""
        self._send("tell", line)

    def wait(self, what: str, *, timed: bool = False) -> None:
        """Show what is waited for from now on."""
        if what != self._last:
            self._last = what
            self._send("wait", what, timed)

    def note_answer(self) -> None:
        """Take note that the server answered."""
        self.is_answered = True
        self._send("note_answer")

    def was_answered(self) -> bool:
        """Say whether the server answered anybody of the run."""
        return self.is_answered

    def _send(self, method: str, *arguments: Any) -> None:
        mention(self._post, Event(self._key, news=(method, arguments)))


class Host:
    """Plays trials of an API's models, many at a time.

    Args:
        settings: of the run.
        post: carries what it tells.
        key: its own.
        slots: how many of its trials may compute at once.
        leave: where the models ask for leave to send requests, for all hosts together; None: they do not.
    """

    def __init__(self, settings: Settings, post: Any, key: str, slots: int, leave: Any = None) -> None:
        installed(settings.project)
        self._settings, self._post = settings, post
        self._news = _News(post, key)
        self._slots = asyncio.Semaphore(slots)
        self._leave, self._key = leave, key
        self._models: dict[str, Model] = {}
        self._playing: dict[str, tuple[asyncio.Task[Any], _Outbox]] = {}

    async def play(self, packed: bytes) -> bytes:
        """Play a trial; return its record and what its grader read, pickled."""
        ticket: Ticket = pickle.loads(packed)
        self._news.is_answered |= ticket.was_answered
        take_environment(ticket.environment)
        outbox = _Outbox(self._post, ticket.key)
        task = asyncio.ensure_future(_played(ticket, self._settings, self._model, self._slots, outbox))
        self._playing[ticket.key] = task, outbox
        try:
            return pickle.dumps((await task, outbox.contents))
        finally:
            del self._playing[ticket.key]

    async def answer(self) -> None:
        """Answer: it lives."""

    async def end(self) -> bytes:
        """Cancel all trials, and return what is known of those that were cut off, by key."""
        playing = dict(self._playing)
        for task, _ in playing.values():
            task.cancel()
        if playing:
            await asyncio.wait([task for task, _ in playing.values()], timeout=ENDING_S)
        return pickle.dumps({key: outbox.cut_off for key, (_, outbox) in playing.items() if outbox.cut_off})

    def _model(self, name: str) -> Model:
        if name not in self._models:
            own = self._settings
            self._models[name] = model_on_node(
                name, own.reply_timeout_s, own.prices, self._news, leave=self._leave, process=self._key
            )
        return self._models[name]


@functools.cache
def _unpacked(common: bytes) -> tuple[Settings, Any, Any]:
    settings, post, leave = pickle.loads(common)
    return settings, post, leave


def play_alone(packed: bytes, common: bytes) -> bytes:
    """Play one trial in a process of its own; return its record and what its grader read, pickled.

    Args:
        packed: its ticket.
        common: what all trials of the run share, pickled once: settings, the post, and the actor that gives leave.
    """
    settings, post, leave = _unpacked(common)
    installed(settings.project)
    ticket: Ticket = pickle.loads(packed)
    take_environment(ticket.environment)
    outbox, made = _Outbox(post, ticket.key), dict[str, Model]()

    def model(name: str) -> Model:
        if ticket.recorded is not None and name == ticket.fields["model"]:
            from pytest_rltask.models.replay import ReplayModel, Replays

            return ReplayModel(Replays([(ticket.fields["variant"], ticket.recorded)]))
        if name not in made:
            timeout_s, news = settings.reply_timeout_s, _News(post, ticket.key)
            made[name] = model_on_node(name, timeout_s, settings.prices, news, leave=leave, process=ticket.key)
        return made[name]

    async def main() -> Record:
        try:
            return await _played(ticket, settings, model, None, outbox)
        finally:
            for each in made.values():
                await each.aclose()

    return pickle.dumps((run(main()), outbox.contents))


async def _played(
    ticket: Ticket,
    settings: Settings,
    model: Callable[[str], Model],
    slots: asyncio.Semaphore | None,
    outbox: _Outbox,
) -> Record:
    try:
        spec = TrialSpec(task=pickle.loads(ticket.task), limits=ticket.limits, **ticket.fields)
    except Exception as error:
        spec = TrialSpec(task=_Lost(), limits=ticket.limits, **ticket.fields)
        return unplayed(spec, Fault("task", f"the task cannot be loaded on node {platform.node()}: {said_of(error)}"))
    if why := not_allowed(settings):
        return unplayed(spec, Fault("sandbox", why))
    return await play(
        spec,
        model(spec.model),
        slots,
        cut_off=outbox.note_cut_off,
        paid=outbox.paid,
        turned=outbox.turned,
        keep=outbox.keep,
        models=model,
    )


class _Lost(Task):
    """Stands for a task that could not be loaded."""

    def open(self, seed: int) -> Episode:
        """Refuse."""
        raise NotImplementedError
