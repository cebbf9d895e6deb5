"""Is the pass rate in the band? Pure functions from what became of trials to a verdict and a gate.

The observed rate alone answers badly: at a true rate of 25 %, ten runs fall outside 10-40 % one time in seven.
So every verdict says whether it is *proven*, by the rule of :mod:`~pytest_rltask.proof`. And a rate means something
only if no trial drops out of it for what the model did: which faults may be missing from it, one table says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pytest_rltask.proof import ProvenWord, interval, proven
from pytest_rltask.run.record import CUT_OFF, Record
from pytest_rltask.task import Band

__all__ = [
    "CAUSES",
    "GATES",
    "Cause",
    "Gate",
    "Proof",
    "Tally",
    "Verdict",
    "VerdictWord",
    "cause_of",
    "first_proof",
    "is_tolerated",
    "judge",
]

VerdictWord = Literal["in band", "too easy", "too hard", "undecided", "incomplete"]
Gate = Literal["point", "proven", "strict"]
GATES: tuple[Gate, ...] = ("point", "proven", "strict")

MAX_ERROR_SHARE = 0.20
"""Share of the trials that were to be played which may end without a grade before the verdict is `incomplete`."""
MOST_RUNS = 1000
"""Runs up to which it is said how many would prove a verdict."""


@dataclass(frozen=True)
class Cause:
    """Why trials are errored, and what becomes of a rate that they are missing from."""

    tolerated: bool
    """Up to MAX_ERROR_SHARE, since it cannot depend on what the model did. If not, one makes the verdict `incomplete`:
    the trials that are left are chosen by it."""
    remedy: str
    """What to do before the run is gone on with; empty if nothing need be."""


CAUSES: Mapping[str, Cause] = MappingProxyType(
    {
        "api": Cause(tolerated=True, remedy=""),
        "sandbox before any code ran": Cause(tolerated=True, remedy="mend the sandbox"),
        "sandbox after code ran": Cause(tolerated=False, remedy="see what the model's code did to the sandbox"),
        "task": Cause(tolerated=False, remedy="mend the task"),
        "harness": Cause(tolerated=False, remedy="report this fault of pytest-rltask"),
        "process": Cause(tolerated=False, remedy="see what killed the process, memory or native code"),
        "test": Cause(tolerated=False, remedy="have the test judge each trial by an assertion"),
        CUT_OFF: Cause(tolerated=False, remedy=""),
    }
)
"""Why a trial that was begun can have no grade; `cut off` by the end of the run or of its process."""


def cause_of(record: Record) -> str:
    """Return which entry of CAUSES an errored trial is."""
    fault = record.fault
    if fault is None:
        return "test"  # it was played to its grade, and the test said neither that it passes nor that it misses
    if record.label == CUT_OFF:
        return CUT_OFF
    if fault.kind == "sandbox":
        # Versions that did not note it: without a reply of the model there was no code of its either.
        ran = record.turns > 0 if fault.code_ran is None else fault.code_ran
        return "sandbox after code ran" if ran else "sandbox before any code ran"
    return fault.kind if fault.kind in CAUSES else "harness"


def is_tolerated(record: Record) -> bool:
    """Say whether an errored trial may be missing from its pass rate."""
    return CAUSES[cause_of(record)].tolerated


@dataclass(frozen=True)
class Verdict:
    """What the outcomes of one task and model say about its difficulty."""

    word: VerdictWord
    proven: bool
    """Whether the word holds with the stated risk, however often one looked and however far the run was extended."""
    rate: float | None
    """Observed pass rate in [0, 1]; None without a judged trial."""
    interval: tuple[float, float] | None
    """The pass rates that the rule of proof does not rule out."""
    interval_runs: int
    """Judged trials that the interval is of: all, or those at the look that proved what stands."""
    holds: bool
    """Whether the gate holds."""
    more_runs: int | None
    """About how many further runs would prove the word at the observed rate; None: proven, or more than MOST_RUNS."""


@dataclass(frozen=True)
class Proof:
    """A verdict that the first trials of a series prove."""

    word: ProvenWord
    passed: int
    judged: int
    """Trials with a grade, in order of start, that prove it."""

    def __str__(self) -> str:
        return f"{self.word} is proven after {self.judged} runs, {self.passed} of them passed"


@dataclass(frozen=True)
class Tally:
    """How the first trials of a series ended."""

    ended: int = 0
    judged: int = 0
    passed: int = 0

    def after(self, outcome: bool | None) -> Tally:
        """Return it with one trial more: passed, missed, or None for an errored one that is tolerated."""
        return Tally(self.ended + 1, self.judged + (outcome is not None), self.passed + (outcome is True))

    def proof(self, band: Band) -> Proof | None:
        """Return what these trials prove; None: nothing."""
        word = proven(self.passed, self.judged, band)
        if word and self.ended - self.judged <= MAX_ERROR_SHARE * self.ended:
            return Proof(word, self.passed, self.judged)
        return None


def first_proof(outcomes: Iterable[bool | None], *, band: Band) -> Proof | None:
    """Return the first verdict that a series proves, looking after each of its trials; None if it proves none.

    It needs the series in the order in which its trials *started*, cut off before the first that has not ended: in the
    order in which they end, those that end fast come first, and they may be the failures.

    Args:
        outcomes: of the trials in order of start: passed, missed, or None for an errored one that is tolerated.
        band: where the pass rate should lie.

    Example:
        >>> first_proof([True] * 20, band=Band())
        Proof(word='too easy', passed=6, judged=6)
    """
    tally = Tally()
    for outcome in outcomes:
        tally = tally.after(outcome)
        if proof := tally.proof(band):
            return proof
    return None


def judge(
    *,
    passed: int,
    judged: int,
    expected: int,
    band: Band,
    gate: Gate = "point",
    untolerated: int = 0,
    proof: Proof | None = None,
) -> Verdict:
    """Judge the outcomes of one task and model.

    Args:
        passed: passed trials.
        judged: trials with a grade (passed, failed or cheated).
        expected: trials that had the chance to get one; those without are errored or lost.
        band: where the pass rate should lie.
        gate: ``point`` asks that the observed rate lies in the band, ``proven`` that it is not proven outside,
            ``strict`` that it is proven inside.
        untolerated: trials without a grade whose cause is not tolerated.
        proof: for which the series was stopped early. It stands, whatever trials still in flight then added.
    """
    rate = passed / judged if judged else None
    limits = interval(passed, judged, band) if judged else None
    if untolerated:
        return Verdict("incomplete", False, rate, limits, judged, False, None)
    if proof is not None:
        limits = interval(proof.passed, proof.judged, band)
        return Verdict(proof.word, True, rate, limits, proof.judged, proof.word == "in band", None)
    if rate is None or expected - judged > MAX_ERROR_SHARE * expected:
        return Verdict("incomplete", False, rate, limits, judged, False, None)
    shown = proven(passed, judged, band)
    observed: ProvenWord = "in band" if rate in band else "too easy" if rate > band.high else "too hard"
    word: VerdictWord = observed if gate == "point" else shown or "undecided"
    holds = word == "in band" or (gate == "proven" and word == "undecided")
    is_proven = shown == word
    more = None if is_proven else _more_runs(rate, judged, band, observed)
    return Verdict(word, is_proven, rate, limits, judged, holds, more)


def _more_runs(rate: float, judged: int, band: Band, word: ProvenWord) -> int | None:
    """Return how many further runs would prove the word if the rate stayed, up to MOST_RUNS in all."""
    for runs in range(judged + 1, MOST_RUNS + 1):
        if proven(round(rate * runs), runs, band) == word:
            return runs - judged
    return None
