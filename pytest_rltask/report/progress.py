"""How far a run is, in one line: trials ended and in flight, pass rates, cost, and the time left.

The numbers come from the run directory, to which every process of the run writes, so they are the same with and
without pytest-xdist. A pass rate is that of a task by a model; where there are several, those being played are shown
first. No time is named before there is something to tell it from.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pytest_rltask.clock import utc_now
from pytest_rltask.models.named import is_paid
from pytest_rltask.run.bulletin import waits
from pytest_rltask.run.live import LiveRun
from pytest_rltask.run.load import load_plan
from pytest_rltask.run.planned import PlannedTrial
from pytest_rltask.run.record import dollars

__all__ = ["Progress"]


@dataclass
class _Row:
    """One task by one model, so far."""

    name: str
    party: str = ""
    """What is in flight beside it: nothing, if trials go one by one; else those of any row without a party."""
    in_flight: list[float] = field(default_factory=list)
    """Seconds since each trial in flight was begun."""
    waiting: int = 0
    passed: int = 0
    judged: int = 0
    errored: int = 0
    lengths: list[float] = field(default_factory=list)
    """Seconds that each trial took."""


class Progress:
    """The progress of a run, read from its run directory.

    Args:
        run_dir: of the run, with its plan.
        since: when this invocation began, UTC, ISO 8601.
    """

    def __init__(self, run_dir: Path, *, since: str) -> None:
        self._run_dir = run_dir
        self._since = since
        self._live = LiveRun(run_dir, since=since)
        self._plan: list[PlannedTrial] = []
        self._names: dict[tuple[str, str], str] = {}
        self._at_once: Counter[str] = Counter()
        """How many trials of each party were in flight at once, at most."""

    def line(self, width: int, *, unicode: bool = True, now: str | None = None) -> str:
        """Return the line as it is now, once the run is planned: what matters most of it, if not all fits.

        Args:
            width: columns that it may take.
            unicode: whether the terminal can show more than ASCII.
            now: UTC, ISO 8601, if not the time of the clock.
        """
        if not self._plan:
            self._plan = load_plan(self._run_dir)
            self._names = _names(self._plan)
        parts = list(self._parts(now or utc_now()))
        separator = " · " if unicode else " | "
        shown: list[int] = []
        for index in sorted(range(len(parts)), key=lambda index: parts[index][0]):
            fitting = sorted([*shown, index])
            if _columns(separator.join(parts[i][1] for i in fitting)) <= width:
                shown = fitting
        return separator.join(parts[index][1] for index in shown)

    def _parts(self, now: str) -> Iterator[tuple[int, str]]:
        """Yield what there is to say, each with its rank: lower ones are shown first where not all fit."""
        rows = self._rows(now)
        ended = sum(row.judged + row.errored for row in rows)
        in_flight = sum(len(row.in_flight) for row in rows)
        yield 0, f"trials {ended}/{ended + in_flight + sum(row.waiting for row in rows)}"
        for what, at in waits(self._run_dir, self._since)[:1]:
            yield 1, _printable(f"waiting: {what}" + (f" for {_seconds_between(at, now):.0f} s" if at else ""))
        yield 5, f"{in_flight} in flight"
        if len(rows) == 1:
            yield from ((1, f"pass rate {_rate(row)}") for row in rows if row.judged)
        else:
            begun = sorted((row for row in rows if row.judged), key=lambda row: not row.in_flight)
            yield from ((6 + place, f"{row.name} {_rate(row)}") for place, row in enumerate(begun))
        if errored := sum(row.errored for row in rows):
            yield 2, f"{errored} errored"
        if any(is_paid(trial.model) for trial in self._plan):
            yield 3, _cost(self._live)
        self._at_once |= Counter(row.party for row in rows for _ in row.in_flight)
        if left := _time_left(rows, self._at_once):
            yield 4, left

    def _rows(self, now: str) -> list[_Row]:
        """Count what was written up to now."""
        live = self._live.read()
        rows = {key: _Row(name) for key, name in self._names.items()}
        for trial in self._plan:
            row, trial_id = rows[trial.test, trial.model], trial.trial_id
            if trial.alone:
                row.party = f"{trial.test} by {trial.model}"
            if ended := live.ended.get(trial_id):
                outcome = live.outcome(trial_id)
                row.errored += outcome == "errored"
                row.judged += outcome != "errored"
                row.passed += outcome == "passed"
                if ended.graded:
                    row.lengths.append(ended.seconds)
            elif live.is_suspect(trial_id):
                row.in_flight.append(_seconds_between(live.began[trial_id], now))
            elif trial_id not in live.skipped:
                row.waiting += 1
        return list(rows.values())


def _names(plan: Iterable[PlannedTrial]) -> dict[tuple[str, str], str]:
    """Return what each task by each model is called, by test and model: no more of both than tells them apart."""
    of = {(trial.test, trial.model): trial.task for trial in plan}
    several_tasks, several_models = len(set(of.values())) > 1, len({model for _, model in of}) > 1
    return {
        (test, model): _printable(f"{task} by {model}" if several_tasks and several_models else model)
        if several_models
        else _printable(task)
        for (test, model), task in of.items()
    }


def _cost(live: LiveRun) -> str:
    """Say what the trials that have ended cost; until one has that cost anything, nothing is known."""
    known = f"${live.known_cost_usd:.2f}" if live.known_cost_usd >= 0.095 else dollars(live.known_cost_usd)
    if live.cost_usd is None and live.known_cost_usd:
        return f"cost unknown (>= {known})"
    return known if live.cost_usd is not None and live.payments else "cost unknown"


def _rate(row: _Row) -> str:
    return f"{100 * row.passed / row.judged:.0f} % ({row.passed}/{row.judged})"


def _time_left(rows: list[_Row], at_once: Counter[str]) -> str:
    """Say how long the rest takes if it goes on like this; nothing as long as that cannot be told.

    Args:
        rows: all of them.
        at_once: how many trials of each party are in flight at once.
    """
    parties: dict[str, list[_Row]] = {}
    for row in rows:
        if row.waiting or row.in_flight:
            parties.setdefault(row.party, []).append(row)
    ended = Counter({party: sum(len(row.lengths) for row in rows if row.party == party) for party in parties})
    # While few of those that started together have ended, these are the short ones.
    known = {party: own for party, own in parties.items() if ended[party] >= max(1, at_once[party])}
    seconds = sum(_seconds_left(own, max(1, at_once[party])) for party, own in known.items())
    if seconds < 1:
        return ""
    is_all = known.keys() == parties.keys() and all(row.lengths for own in known.values() for row in own)
    return f"{'about' if is_all else 'more than'} {_roughly(seconds)} left"


def _seconds_left(rows: Iterable[_Row], at_once: int) -> float:
    """Return how long the trials of a party take: each as long as those of its task and model took on average."""
    waiting_s, last_s, in_flight_s = 0.0, 0.0, 0.0
    for row in rows:
        if row.lengths:
            mean_s = sum(row.lengths) / len(row.lengths)
            rests = [max(0.0, mean_s - age) for age in row.in_flight]
            waiting_s += row.waiting * mean_s
            in_flight_s += sum(rests)
            last_s = max([last_s, *rests])
    return max((waiting_s + in_flight_s) / at_once, last_s)


def _roughly(seconds: float) -> str:
    """Return a length of time with no more digits than an estimate deserves.

    Example:
        >>> [_roughly(seconds) for seconds in (3, 44, 100, 3000, 9000)]
        ['5 s', '45 s', '2 min', '50 min', '2.5 h']
    """
    if seconds < 57.5:
        return f"{max(1, round(seconds / 5)) * 5} s"
    return f"{max(1, round(seconds / 60))} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _seconds_between(earlier: str, later: str) -> float:
    try:
        return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
    except ValueError:
        return 0.0


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
