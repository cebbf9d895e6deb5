"""What the trials of a test and model prove, in the order in which they were begun, kept up with as they end.

What is asked before each trial must not look through all of them again: a run may have a hundred thousand. So of the
series only that is counted anew which stands behind the first trial of which something else is known than before, and
trials end about in the order in which they were begun.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable

from pytest_rltask.run.ledger import Standing
from pytest_rltask.task import Band
from pytest_rltask.verdict import Proof, Tally

__all__ = ["Series"]


class Series:
    """The trials of one test and model.

    Args:
        trial_ids: of all that are planned.
        band: where their pass rate should lie.
    """

    def __init__(self, trial_ids: Iterable[str], band: Band) -> None:
        self._band = band
        self._order = {trial_id: n for n, trial_id in enumerate(trial_ids)}
        self._known: dict[str, Standing] = {}
        self._ended: list[tuple[str, int]] = []
        """When each trial that ended was begun, in order, and its place in the plan."""
        self._outcomes: list[bool | None] = []
        """Theirs."""
        self._open: dict[str, str] = {}
        """When each was begun whose end is yet to be seen."""
        self._spoiling: set[str] = set()
        self._tallies = [Tally()]
        """Of the first trials of the series, as far as they were counted: until something was proven."""
        self._proof: Proof | None = None

    def take_in(self, trial_id: str, now: Standing | None) -> None:
        """Note how far a trial is; None: it tells nothing."""
        was = self._known.pop(trial_id, None)
        if now is not None:
            self._known[trial_id] = now
        if was == now:
            return
        self._open.pop(trial_id, None)
        self._spoiling.discard(trial_id)
        if was is not None and was.how == "ended":
            place = bisect.bisect_left(self._ended, (was.at, self._order[trial_id]))
            del self._ended[place], self._outcomes[place]
            self._recount(place)
        if now is None:
            return
        match now.how:
            case "open":
                self._open[trial_id] = now.at
            case "spoils":
                self._spoiling.add(trial_id)
            case "ended":
                place = bisect.bisect_left(self._ended, (now.at, self._order[trial_id]))
                self._ended.insert(place, (now.at, self._order[trial_id]))
                self._outcomes.insert(place, now.outcome)
                self._recount(place)

    def _recount(self, place: int) -> None:
        """Forget what was counted from a place on."""
        if place + 1 < len(self._tallies):
            del self._tallies[place + 1 :]
            self._proof = None

    def proof(self) -> Proof | None:
        """Return the first verdict that the series proves, up to the first trial that is open; None: it proves none.

        None too if one errored in a way that is not tolerated: no verdict is then to be had.
        """
        if self._spoiling:
            return None
        until = bisect.bisect_left(self._ended, (min(self._open.values()),)) if self._open else len(self._ended)
        while self._proof is None and len(self._tallies) <= until:
            self._tallies.append(self._tallies[-1].after(self._outcomes[len(self._tallies) - 1]))
            self._proof = self._tallies[-1].proof(self._band)
        return self._proof if len(self._tallies) - 1 <= until else None
