"""Which worker of pytest-xdist plays what under ``--sequential``: all runs of a test one, in their order.

Loaded, and pytest-xdist with it, by the controller of such a run alone. Everything else is distributed item by item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadGroupScheduling  # type: ignore[import-untyped]

from pytest_rltask.run.load import load_plan
from pytest_rltask.run.planned import split_trial_id

__all__ = ["SequentialScheduling", "make_scheduler"]


def make_scheduler(config: pytest.Config, log: Any, run_dir: Callable[[], Path | None]) -> SequentialScheduling | None:
    """Return the scheduler that a sequential run needs; None if that of ``--dist`` will do.

    Raises:
        pytest.UsageError: what ``--dist`` asks for cannot be sequential.
    """
    match config.getoption("dist"):
        case "each":
            raise pytest.UsageError(
                "--sequential with --dist each: every worker would play every run; write --dist load"
            )
        case "loadscope" | "loadfile":
            return None  # groups that the user asked for, and that keep the runs of a test together as well
    # load, worksteal and loadgroup would give the runs of a test to several workers.
    return SequentialScheduling(config, log, run_dir)


class SequentialScheduling(LoadGroupScheduling):  # type: ignore[misc]
    """Gives all trials of a test to one worker, in order, and any other item, or group of them, to whoever is free.

    Args:
        config: of the controller.
        log: of pytest-xdist.
        run_dir: returns the run directory, whose plan says which items are trials, once every worker has collected.
    """

    def __init__(self, config: pytest.Config, log: Any, run_dir: Callable[[], Path | None]) -> None:
        super().__init__(config, log)
        self._run_dir = run_dir

    @cached_property
    def _trials(self) -> frozenset[str]:
        path = self._run_dir()
        return frozenset(trial.trial_id for trial in load_plan(path)) if path else frozenset()

    def _split_scope(self, nodeid: str) -> str:
        return split_trial_id(nodeid)[0] if nodeid in self._trials else str(super()._split_scope(nodeid))

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        """Note what a worker collected; one that replaces a dead worker and collected otherwise gets no work."""
        super().add_node_collection(node, collection)
        if node not in self.registered_collections:
            node.shutdown()

    def _reschedule(self, node: Any) -> None:
        """Keep two items with a worker: it plays one once it has the next, or knows that there is none.

        pytest-xdist would add to two, and so bind a further task to a worker that has two trials to play; and it may
        leave the replacement of a dead worker with one, which then waits for ever.
        """
        if node not in self.registered_collections:
            return  # a replacement that has yet to collect
        while self._pending_of(self.assigned_work[node]) < 2 and not node.shutting_down:
            super()._reschedule(node)

    def remove_node(self, node: Any) -> str | None:
        """Give what a dead worker had left to another, save the item that it died of.

        pytest-xdist would have that one played, and paid, again and again until no worker may be restarted.
        """
        units: dict[str, dict[str, bool]] = self.assigned_work.pop(node)
        left = [(unit, nodeid) for unit in units.values() for nodeid, completed in unit.items() if not completed]
        if not left:
            return None
        unit, crashed = left[0]
        unit[crashed] = True
        self.workqueue.update({scope: unit for scope, unit in units.items() if not all(unit.values())})
        return crashed
