"""A shard of a run: every N-th trial, for launchers that start the same command on several machines.

Each shard is a run with a directory of its own, which says what the whole was; `rltask merge` makes one run of them
again, and one verdict. A shard alone judges no pass rate: it sees a part of each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pytest

from pytest_rltask.run.planned import PlannedTrial

__all__ = ["Shard", "deal", "described"]


@dataclass(frozen=True)
class Shard:
    """Which part of a run a process plays."""

    index: int
    """From 0."""
    of: int
    """How many there are."""

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Parse ``I/N``.

        Raises:
            ValueError: it is none.

        Example:
            >>> Shard.parse("0/4")
            Shard(index=0, of=4)
        """
        try:
            index, of = (int(part) for part in text.split("/") if part.isdecimal())
            if index >= of:
                raise ValueError
        except ValueError:
            raise ValueError("a shard I/N, with I from 0 to N - 1") from None
        return cls(index, of)

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    def holds(self, number: int) -> bool:
        """Say whether what has this number in the whole belongs to the shard."""
        return number % self.of == self.index


def deal(
    items: list[pytest.Item], trials: Mapping[str, tuple[str, str]], shard: Shard, *, by_row: bool
) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Return the items that belong to a shard, and the others, each in their order.

    Args:
        items: all of them, in the order in which one process would play them.
        trials: of those that play trials, test and model by node id.
        shard: to be dealt to.
        by_row: whether all trials of a test and model stay together, since each is told of those before.
    """
    rows: dict[tuple[str, str], int] = {}
    kept: list[pytest.Item] = []
    left: list[pytest.Item] = []
    numbers = {True: 0, False: 0}  # of trials, and of other tests: each kind is dealt evenly
    for item in items:
        row = trials.get(item.nodeid)
        number = numbers[row is not None]
        numbers[row is not None] += 1
        if row is not None and by_row:
            number = rows.setdefault(row, len(rows))
        (kept if shard.holds(number) else left).append(item)
    return kept, left


def described(shard: Shard, trials: list[PlannedTrial], *, by_row: bool) -> dict[str, Any]:
    """Return what a run directory says of a shard.

    Args:
        shard: that it holds.
        trials: of the whole.
        by_row: as they were dealt.

    Returns:
        ``index`` and ``of``; ``whole``, 16 hex digits over the whole plan, which tell it from any other; how many
        ``parts`` were dealt, so that shards from that number on hold no trial; and ``by_row``.
    """
    parts = len({(trial.test, trial.model) for trial in trials}) if by_row else len(trials)
    data = json.dumps([asdict(trial) for trial in trials], sort_keys=True, default=str)
    whole = hashlib.sha256(data.encode(errors="replace")).hexdigest()[:16]
    return {**asdict(shard), "whole": whole, "parts": parts, "by_row": by_row}
