"""Which trials a process may start before their items are due: those that it will be given, in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pytest

from pytest_rltask.items import is_trial

__all__ = ["Ahead"]


class Ahead:
    """The trials of a session in the order of the plan, and how far each share of them was looked through.

    Args:
        items: of the session.
    """

    def __init__(self, items: Iterable[pytest.Item]) -> None:
        self._trials = list({item.nodeid: item for item in items if is_trial(item)}.values())
        self._number = {item.nodeid: number for number, item in enumerate(self._trials)}
        self._seen: dict[int, int] = {}

    def of(self, trial_id: str, *, shares: int, is_suspect: Callable[[str], bool]) -> Iterator[pytest.Item]:
        """Yield the items whose trials may start now that one is due: the later ones of its share, each once.

        A suspect is a barrier: it starts when it is due and everything before it has ended, and nothing after it starts
        before it has ended. So it is by itself, and what dies with it died of it.

        Args:
            trial_id: of the trial that is due.
            shares: number of shares into which the trials are dealt: the process that plays one of them plays them all.
            is_suspect: says whether the process that began a trial may have died of it.
        """
        number = self._number[trial_id]
        share = number % shares
        number = max(number + shares, self._seen.get(share, 0))
        if is_suspect(trial_id):
            return
        while number < len(self._trials) and not is_suspect(self._trials[number].nodeid):
            yield self._trials[number]
            number += shares
            self._seen[share] = number
