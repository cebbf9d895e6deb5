"""Which trials a process may start before their items are due: those that it will be given, in their order."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

import pytest

from pytest_rltask.suite.plan import Entry, Plan
from pytest_rltask.suite.setups import Setup, setup_of

__all__ = ["Ahead"]


class Ahead:
    """The trials of a plan, and how far each share of them was looked through.

    Args:
        plan: of the process.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._entries = list(plan.entries.values())
        self._setups: dict[str, Setup] = {}
        self._equal: dict[Setup, Setup] = {}
        """Each kind of them once: most of a run's trials find the same."""
        self._there: frozenset[Hashable] = frozenset()
        self._seen: dict[int, int] = {}

    def setup(self, item: pytest.Item) -> Setup:
        """Return what is set up for an item."""
        if item.nodeid not in self._setups:
            setup = setup_of(item)
            self._setups[item.nodeid] = self._equal.setdefault(setup, setup)
        return self._setups[item.nodeid]

    def of(self, item: pytest.Item, *, shares: int, is_suspect: Callable[[str], bool]) -> Iterator[Entry]:
        """Yield the trials that may start now that one is due: the later ones of its share, each once.

        What starts by itself is a barrier: it starts when it is due and everything before it has ended, and nothing
        after it starts before it has ended. Such are trials that need what is set up for their item, and suspects: what
        dies by itself died of itself. Trials that find other fixtures than the one that is due wait for the first
        of them to be due, and nothing overtakes them.

        Args:
            item: whose trial is due: its fixtures are set up.
            shares: number of shares into which the trials are dealt: the process that plays one of them plays them all.
            is_suspect: says whether the process that began a trial may have died of it.
        """
        due = self.setup(item)
        self._there |= due.lasting
        number = self._plan.entries[item.nodeid].number
        share = number % shares
        number = max(number + shares, self._seen.get(share, 0))
        if due.alone or is_suspect(item.nodeid):
            return
        for later in self._entries[number::shares]:
            setup = self.setup(later.item)
            if not setup.is_skipped:
                if is_suspect(later.item.nodeid) or not setup.joins(due, self._there):
                    return
                yield later
            number += shares
            self._seen[share] = number
