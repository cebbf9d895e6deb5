"""Has trials played on the nodes of a Ray cluster: the driver's side.

Trials of an API's models are calls of `Host` actors, spread over the nodes, many in flight in each; every other trial,
and one whose task asks for more than a core, is a Ray task with the resources that it needs. Ray retries nothing:
who died with a trial is told to the engine, which has it begun once more and writes down what each attempt cost.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import os
import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from pytest_rltask.clock import monotonic_s
from pytest_rltask.engines.player import Player, PlayerDied, Told
from pytest_rltask.engines.ray_calls import Died, awaited, ended
from pytest_rltask.engines.ray_cluster import Cluster, keys_of, nodes_of, wanted_of
from pytest_rltask.engines.ray_leave import start_leave
from pytest_rltask.engines.ray_node import Host, Ticket, play_alone
from pytest_rltask.engines.ray_place import Settings
from pytest_rltask.engines.ray_post import Event, Reading
from pytest_rltask.engines.travel import packed
from pytest_rltask.models.contact import News
from pytest_rltask.models.named import is_paid, parse_model
from pytest_rltask.models.replay import Replays, load_replay
from pytest_rltask.run.record import CUT_OFF, Fault, Record, clean_text, error_text
from pytest_rltask.task import Resources
from pytest_rltask.trial.opening import mark_errored, new_record
from pytest_rltask.trial.play import RUN_ENDED, TrialSpec

__all__ = ["RayPlayer"]

HOST_CPUS = 0.01
"""What of a node's CPUs an actor asks for where some node has none, such as a head that shall play nothing; elsewhere
nothing, since it waits for an API, and a task that needs all of a node would wait for it for ever."""
MOST_PER_HOST = 64
"""Trials in flight in one process, beyond which another one is started."""
READY_S = 20.0
"""Seconds within which hosts that are not there yet are waited for as long as one is."""
SUSPECT_S = 60.0
"""Seconds after a host's death for which others are asked whether they live before a trial is begun on them."""
ANSWER_S = 10.0
"""Seconds within which one that lives answers."""
_FIELDS = [each.name for each in fields(TrialSpec) if each.name not in ("task", "limits")]


@dataclass
class _Attempt:
    """A trial in flight, as far as was told of it."""

    record: Record
    told: Told


@dataclass(eq=False)
class _Host:
    key: str
    actor: Any
    in_flight: int = 0


class RayPlayer:
    """Plays on a cluster.

    Args:
        cluster: that was joined.
        settings: of the run.
        keep: writes what a trial's grader read, beside its record.
        most: of a model's name: how many of its trials are in flight at once.
        news: makes, for a host of this name, who is told what keeps its trials waiting.
        here: plays what has to be played in this process: a person.
    """

    cleanup_s = 3.0

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        *,
        keep: Callable[[Record, Mapping[str, bytes]], None],
        most: Callable[[str], int],
        news: Callable[[str], News],
        here: Player,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._keep = keep
        self._most = most
        self._make_news = news
        self._here = here
        self._leave: Any = None  # the actor by whose leave models send requests
        self._post: Any = None
        self._reading: Reading | None = None
        self._attempts: dict[str, _Attempt] = {}
        self._numbers = itertools.count()
        self._news: dict[str, News] = {}
        self._hosts: list[_Host] = []
        self._wanted_hosts = 0
        self._hiring: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[dict[str, Record]] | None = None
        self._alone: dict[str, Any] = {}
        self._running: dict[str, Any] = {}
        self._died_s = -math.inf
        self._tasks: dict[int, bytes] = {}
        self._commons: dict[bool, bytes] = {}
        self._replays: dict[str, Replays] = {}
        self._was_answered = False

    def prepare(self, model: str) -> None:
        """Make ready for a model: its hosts are started, a replayed run is read."""
        name = parse_model(model)
        if name.kind == "human":
            self._here.prepare(model)
        elif name.kind == "replay":
            self._replays[model] = load_replay(name.argument)
        elif name.kind != "policy":
            self._wanted_hosts = max(self._wanted_hosts, self._hosts_for(self._most(model)))

    def _hosts_for(self, trials: int) -> int:
        """Return how many hosts are to play so many trials: one on each node, more where there are many."""
        return max(1, min(trials, max(len(self._cluster.nodes), math.ceil(trials / MOST_PER_HOST))))

    async def play(self, spec: TrialSpec, told: Told) -> Record:
        """Play a trial to its grade, on some node.

        Raises:
            PlayerDied: the process or node that played it died.
        """
        kind = parse_model(spec.model).kind
        if kind == "human":
            return await self._here.play(spec, told)
        attempt = _Attempt(new_record(spec), told)
        key, begin_s = f"{next(self._numbers)}", monotonic_s()
        self._attempts[key] = attempt
        try:
            answer = await self._played(key, spec, is_shared=kind not in ("policy", "replay"))
        except asyncio.CancelledError:
            told.cut_off(await self._cut_off(key, attempt.record, begin_s))
            raise
        except Died as death:
            mark_errored(attempt.record, Fault("process", str(death)))
            raise PlayerDied(_timed(attempt.record, begin_s)) from None
        except Exception as error:  # our own bug, or Ray's: still a record
            said = clean_text(f"{type(error).__name__}: {error_text(error)}")
            mark_errored(attempt.record, Fault("harness", said[:2000]))
            return _timed(attempt.record, begin_s)
        finally:
            self._attempts.pop(key, None)
        record: Record
        record, contents = pickle.loads(answer)
        # By the clock of this machine, as all times of a run are; and by the digest of the task that was asked for.
        record = replace(record, started=attempt.record.started, task_digest=attempt.record.task_digest)
        if contents:
            await told.write(partial(self._keep, record, contents))
        return record

    async def aclose(self) -> None:
        """End all that runs for this process."""
        import ray

        if self._hiring is not None:
            self._hiring.cancel()
        for actor in [*(host.actor for host in self._hosts), *filter(None, (self._leave,))]:
            with contextlib.suppress(Exception):
                ray.kill(actor)
        if self._reading is not None:
            await self._reading.aclose()  # after those that tell it something
        await self._here.aclose()

    # ---- playing ----

    async def _played(self, key: str, spec: TrialSpec, *, is_shared: bool) -> bytes:
        if self._reading is None:
            self._reading = Reading(self._note)
            self._post = self._reading.post
        asks = is_shared or any(map(is_paid, spec.judges.values()))
        if asks and self._leave is None:
            self._leave = start_leave()
        ticket = self._ticket(key, spec, with_keys=asks)
        needs = spec.task.resources
        if not is_shared or not _is_small(needs):
            ref = self._running[key] = self._remote(needs).remote(pickle.dumps(ticket), self._common())
            try:
                return bytes(await awaited(ref))
            finally:
                if self._ending is None:
                    self._running.pop(key, None)
        host = await self._living_host()
        host.in_flight += 1
        try:
            return bytes(await awaited(host.actor.play.remote(pickle.dumps(ticket))))
        except Died:
            self._died_s = monotonic_s()
            self._hosts = [one for one in self._hosts if one is not host]
            raise
        finally:
            host.in_flight -= 1

    def _common(self) -> bytes:
        """Return what all trials share, packed once: to pack an actor's handle costs as much as a trial does."""
        has_leave = self._leave is not None
        if has_leave not in self._commons:
            self._commons[has_leave] = packed((self._settings, self._post, self._leave))
        return self._commons[has_leave]

    def _ticket(self, key: str, spec: TrialSpec, *, with_keys: bool) -> Ticket:
        task = spec.task
        if id(task) not in self._tasks:
            self._tasks[id(task)] = packed(task)
        environment = dict(task.carried_environment)
        if with_keys and not self._cluster.has_keys:
            environment |= keys_of(os.environ)
        recorded = None
        if spec.model in self._replays:
            recorded = self._replays[spec.model].find(spec.task_name, spec.variant, spec.seed)
            recorded = recorded or replace(new_record(spec), seed=-1)  # which is none of this trial: it says so
        return Ticket(
            key,
            self._tasks[id(task)],
            {name: getattr(spec, name) for name in _FIELDS},
            spec.limits,
            environment,
            recorded,
            was_answered=self._was_answered,
        )

    def _remote(self, needs: Resources) -> Any:
        """Return what plays a trial alone, with the resources that it needs."""
        name = repr(needs)
        if name not in self._alone:
            import ray

            wanted = wanted_of(needs)
            asked: dict[str, Any] = {"num_cpus": wanted.pop("CPU", 0), "num_gpus": wanted.pop("GPU", 0)}
            asked["memory"] = wanted.pop("memory", 0) or None
            self._alone[name] = ray.remote(**asked, resources=wanted, max_retries=0)(play_alone)
        return self._alone[name]

    # ---- hosts ----

    async def _living_host(self) -> _Host:
        """Return a host; soon after another's death one that answers, since Ray hears late that a node died."""
        while True:
            host = await self._host()
            if monotonic_s() - self._died_s > SUSPECT_S:
                return host
            with contextlib.suppress(Died, TimeoutError):
                await asyncio.wait_for(awaited(host.actor.answer.remote()), ANSWER_S)
                return host
            self._hosts = [one for one in self._hosts if one is not host]

    async def _host(self) -> _Host:
        """Return the host with the fewest trials in flight; those that are missing are started."""
        if len(self._hosts) < self._wanted_hosts:
            if self._hiring is None or self._hiring.done():
                self._hiring = asyncio.ensure_future(self._hire(self._wanted_hosts - len(self._hosts)))
            if not self._hosts:
                await asyncio.shield(self._hiring)
        if not self._hosts:
            raise Died("no process that plays could be started on the cluster")
        return min(self._hosts, key=lambda host: host.in_flight)

    async def _hire(self, count: int) -> None:
        """Start hosts, and wait for those that are soon there."""
        import ray

        cpus = HOST_CPUS if len(nodes_of(ray)) < sum(bool(node["Alive"]) for node in ray.nodes()) else 0
        make = ray.remote(
            num_cpus=cpus, max_concurrency=10_000, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )(Host)
        slots = max(1, self._cluster.cores // max(1, self._wanted_hosts))
        starting = {}
        for _ in range(count):
            key = f"host-{next(self._numbers)}"
            actor = make.remote(self._settings, self._post, key, slots, self._leave)
            starting[asyncio.ensure_future(awaited(actor.end.remote()))] = _Host(key, actor)
        done, late = await asyncio.wait(starting, timeout=READY_S)
        if not done and late:
            done, late = await asyncio.wait(late, return_when=asyncio.FIRST_COMPLETED)
        for one in late:
            one.add_done_callback(lambda one: self._join(one, starting[one]))
        for one in done:
            self._join(one, starting[one])

    def _join(self, started: asyncio.Future[Any], host: _Host) -> None:
        if not started.cancelled() and started.exception() is None:
            self._hosts.append(host)

    # ---- what is told meanwhile ----

    async def _note(self, event: Event) -> None:
        if event.news is not None:
            self._hear(event)
            return
        if (attempt := self._attempts.get(event.key)) is None:
            return  # its record is there already
        record = attempt.record
        if event.header is not None:
            started = record.started, record.task_digest
            record = attempt.record = Record.from_json(event.header)
            record.started, record.task_digest = started
        record.messages[event.told :] = event.messages
        if event.request is None:
            attempt.told.turned(record)
        elif event.number == len(record.requests):  # else it comes again
            record.requests.append(event.request)
            await attempt.told.paid(record, event.request)

    def _hear(self, event: Event) -> None:
        assert event.news is not None, "it is one"
        method, arguments = event.news
        if event.key not in self._news:
            self._news[event.key] = self._make_news(event.key)
        match method, arguments:
            case "tell", (str(line),):
                self._news[event.key].tell(line)
            case "wait", (str(what), bool(timed)):
                self._news[event.key].wait(what, timed=timed)
            case "note_answer", ():
                self._was_answered = True
                self._news[event.key].note_answer()

    # ---- the end ----

    async def _cut_off(self, key: str, record: Record, begin_s: float) -> Record:
        """Return what is known of a trial that is cancelled, which they all are at the end of a run."""
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end_all())
        known = await asyncio.shield(self._ending)
        if key in known:
            return replace(known[key], started=record.started, task_digest=record.task_digest)
        mark_errored(record, Fault("harness", RUN_ENDED))
        record.label = CUT_OFF
        return _timed(record, begin_s)

    async def _end_all(self) -> dict[str, Record]:
        """Cancel all that runs; first so that it can clean up, then by force."""
        import ray

        for ref in self._running.values():
            with contextlib.suppress(Exception):
                ray.cancel(ref, force=False)
        asked = [asyncio.ensure_future(awaited(host.actor.end.remote())) for host in self._hosts]
        ending = [asyncio.ensure_future(ended(ref)) for ref in self._running.values()]
        found: dict[str, Record] = {}
        if asked or ending:
            await asyncio.wait([*asked, *ending], timeout=self.cleanup_s / 2)
        for one in asked:
            if one.done() and not one.cancelled() and one.exception() is None:
                found |= pickle.loads(one.result())
        for ref in self._running.values():
            with contextlib.suppress(Exception):
                ray.cancel(ref, force=True)
        for host in self._hosts:
            with contextlib.suppress(Exception):
                ray.kill(host.actor)
        return found


def _is_small(needs: Resources) -> bool:
    """Say whether many such trials can wait for an API in one process."""
    return needs.cpus <= 1 and not (needs.memory_mb or needs.gpus or needs.custom)


def _timed(record: Record, begin_s: float) -> Record:
    return replace(record, seconds=record.seconds | {"total": round(monotonic_s() - begin_s, 4)})
