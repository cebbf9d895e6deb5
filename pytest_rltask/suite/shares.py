"""Which worker of pytest-xdist plays what, unless ``--sequential`` says otherwise: trials in shares, tests one by one.

Each worker gets one share of the trials, and knows it, so that it can start them ahead of their items. Items
themselves are handed out two at a time, as pytest-xdist needs: a run that is stopped has few left to wait for.
Loaded by the controller alone, and only under ``-n``.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from xdist.dsession import get_default_max_worker_restart  # type: ignore[import-untyped]
from xdist.scheduler import (  # type: ignore[import-untyped]
    LoadGroupScheduling,
    LoadScheduling,
    WorkStealingScheduling,
)

from pytest_rltask.clock import utc_now
from pytest_rltask.run.live import LiveRun
from pytest_rltask.run.load import load_plan
from pytest_rltask.run.log import RunWriter

__all__ = ["SharesScheduling", "deal_out"]

DEALT = (LoadScheduling, WorkStealingScheduling, LoadGroupScheduling)
"""The schedulers that distribute item by item; others keep together what the user asked to, or were made by others."""


def deal_out(config: pytest.Config, log: Any, own: Any, writer: Callable[[], RunWriter | None]) -> Any:
    """Return the scheduler that deals out the items.

    Args:
        config: of the controller.
        log: of pytest-xdist.
        own: what would distribute them without this plugin. It does for a suite without trials, for ``--dist each``,
            ``loadfile`` and ``loadscope``, and where another plugin made it.
        writer: returns the run directory, once every worker has collected; None if no trial was planned.
    """
    if type(own) not in DEALT:
        return own
    deaths = _Deaths(config)
    config.pluginmanager.register(deaths)
    return _Undecided(own, lambda run: SharesScheduling(config, log, run, own, deaths), writer)


class _Deaths:
    """Counts workers that died, as pytest-xdist does: from some number on it replaces none."""

    def __init__(self, config: pytest.Config) -> None:
        self._at_most = get_default_max_worker_restart(config)
        self._count = 0

    def pytest_testnodedown(self, error: object) -> None:
        self._count += error is not None

    @property
    def another_worker_comes(self) -> bool:
        """Whether the worker that died last is replaced."""
        return self._at_most is None or self._count <= self._at_most


class _Undecided:
    """Stands for pytest-xdist's own scheduler until every worker has collected, and for good if no trial is planned.

    Everything passes through to it, its class included, by which pytest-xdist and other plugins call it.
    """

    def __init__(self, own: Any, shares: Callable[[RunWriter], Any], writer: Callable[[], RunWriter | None]) -> None:
        self._actual = own
        self._shares = shares
        self._writer = writer
        self._collected: dict[Any, list[str]] | None = {}

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._actual)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._actual, name)

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """Note what a worker collected; the last to do so decides who schedules."""
        self._actual.add_node_collection(node, collection)
        if self._collected is None:
            return
        self._collected[node] = list(collection)
        if self._actual.collection_is_completed:
            if writer := self._writer():
                nodes, self._actual = self._actual.nodes, self._shares(writer)
                for one in nodes:
                    self._actual.add_node(one)
                self._actual.node2collection.update(self._collected)
            self._collected = None


class SharesScheduling(LoadScheduling):  # type: ignore[misc]
    """Gives each worker a share of the trials, and any other item, or group of them, to whoever is free.

    A worker's death is held against the trial that it was playing, alone or with others in flight: the first time, and
    the others', it is played again, by itself; when that ends in a death too it is reported.

    Args:
        config: of the controller.
        log: of pytest-xdist.
        run: the run directory, whose plan says which items are trials.
        own: the scheduler in whose place this one is; that of ``--dist loadgroup`` knows which other items are a group.
        deaths: of workers.
    """

    def __init__(self, config: pytest.Config, log: Any, run: RunWriter, own: Any, deaths: _Deaths) -> None:
        super().__init__(config, log)
        self._items: list[str] = []
        self._group = own._split_scope if type(own) is LoadGroupScheduling else lambda nodeid: nodeid
        self._deaths = deaths
        self._live = LiveRun(run.path, since=utc_now())
        self._share = {trial.trial_id: n % self.numnodes for n, trial in enumerate(load_plan(run.path))}
        self._died_of: Counter[str] = Counter()
        self._units: OrderedDict[object, deque[int]] = OrderedDict()
        """Items that no worker has, by share or group, in order."""
        self._rest: dict[Any, deque[int]] = {}
        """What is left of the unit that each worker is at."""
        run.deal(self.numnodes)

    @property
    def tests_finished(self) -> bool:
        """Whether the workers have all that they will be given, and need only be told so."""
        return not self._undealt and super().tests_finished

    @property
    def has_pending(self) -> bool:
        """Whether an item has yet to be played."""
        return self._undealt or super().has_pending

    @property
    def _undealt(self) -> bool:
        return bool(self._units) or any(self._rest.values())

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """Note what a worker collected; one that replaces a dead worker and collected otherwise gets no work."""
        super().add_node_collection(node, collection)
        if node not in self.node2collection:
            node.shutdown()

    def schedule(self) -> None:
        """Deal out the items, or give to a worker that came later."""
        if not self._items:
            if not self._check_nodes_have_same_collection():
                return
            self.collection = self._items = next(iter(self.node2collection.values()))
            self._give_back(range(len(self._items)))
            for node in self.nodes:  # each a unit of its own, as far as there are as many
                self._fill(node, 1)
        for node in self.nodes:
            self.check_schedule(node)

    def check_schedule(self, node: Any, duration: float = 0) -> None:
        """Keep two items with a worker: it plays one once it has the next, or knows that there is none."""
        self._fill(node, 2)

    def mark_test_pending(self, item: str) -> None:
        """Have an item played again, as plugins ask that handle a crash."""
        self._give_back([self._items.index(item)])
        for node in self.nodes:
            self.check_schedule(node)

    def remove_node(self, node: Any) -> str | None:
        """Give what a dead worker had left to others, and return the item to blame for its death."""
        sent = self.node2pending.pop(node)
        left = [*sent, *self._rest.pop(node, ())]
        blamed = self._blamed(self._items[sent[0]]) if sent else None
        self._give_back(left[1:] if blamed else left)
        return blamed

    def _blamed(self, due: str) -> str | None:
        """Return the item that was due when a worker died, unless it is a trial that deserves another try."""
        if due in self._share:
            self._died_of[due] += 1
            self._live.read()
            # Begun twice: the second time, it was by itself. Or it dies of what comes before or after it.
            is_deadly = self._died_of[due] > 1 or (self._live.is_suspect(due) and self._live.starts[due] > 1)
            if self._deaths.another_worker_comes and not is_deadly:
                return None
        return due

    def _give_back(self, items: Sequence[int]) -> None:
        """Have items dealt out before all others, in their order."""
        units: OrderedDict[object, deque[int]] = OrderedDict()
        for index in items:
            nodeid = self._items[index]
            units.setdefault(self._share.get(nodeid, self._group(nodeid)), deque()).append(index)
        for unit, own in reversed(units.items()):
            self._units.setdefault(unit, deque()).extendleft(reversed(own))
            self._units.move_to_end(unit, last=False)

    def _fill(self, node: Any, number: int) -> None:
        if node not in self.node2collection:
            return  # a replacement that has yet to collect
        sent = self.node2pending[node]
        while len(sent) < number and not node.shutting_down:
            if not self._rest.get(node) and self._units:
                _, self._rest[node] = self._units.popitem(last=False)
            if not self._rest.get(node):
                node.shutdown()
                return
            sent.append(self._rest[node].popleft())
            node.send_runtest_some(sent[-1:])
