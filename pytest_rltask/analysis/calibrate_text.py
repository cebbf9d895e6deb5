"""What ``rltask calibrate`` prints: a block a row, the proposed threshold first, and the command that judges it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_FLOOR, Context, Decimal

from pytest_rltask.analysis.calibrate import Calibration
from pytest_rltask.analysis.order import Cut
from pytest_rltask.analysis.requirements import Requirement
from pytest_rltask.analysis.rows import printable
from pytest_rltask.report.table import aligned

__all__ = ["calibration_lines", "shown_threshold"]

_HOW = {
    "other": "they reached it or cheated: no threshold lets them pass",
    "worst": "they have the worst score of all",
    "own": "held against a threshold of its own",
}
_MOST_KINDS, _MOST_OTHERS = 6, 4


def calibration_lines(found: Sequence[Calibration]) -> Iterator[str]:
    """Yield the lines of the answer."""
    for number, one in enumerate(found):
        yield from [""] * (number > 0)
        yield from _block(one)


def shown_threshold(cut: Cut) -> str:
    """Return a threshold rounded down to six digits, or to as many as let no further trial pass.

    Example:
        >>> shown_threshold(Cut(5, 0.41046995835812017, 0.9, 0, 0.3)), shown_threshold(Cut(5, 0.25, 0.9, 0, None))
        ('0.410469', '0.25')
    """
    exact = Decimal(repr(cut.threshold))
    for digits in range(6, 18):
        shown = Context(prec=digits, rounding=ROUND_FLOOR).create_decimal(exact)
        if cut.next_lower is None or float(shown) > cut.next_lower:
            break
    is_plain = shown == 0 or 1e-6 < abs(cut.threshold) < 1e12
    return f"{shown.normalize():f}" if is_plain else f"{shown.normalize()}"


def _block(one: Calibration) -> Iterator[str]:
    left_out = f", {one.errored} without a grade left out" if one.errored else ""
    yield f"{printable(one.task)} by {printable(one.model)}: {one.judged} judged trials{left_out}, band {one.band}"
    if one.quartiles:
        least, low, middle, high, best = (f"{value:.4g}" for value in one.quartiles)
        yield f"  scores      {least} to {best}, quartiles {low}, {middle}, {high}"
    if one.cheated:
        yield f"  cheated     {one.cheated}: they pass at no threshold"
    yield from _misses(one)
    yield from _thresholds(one)
    if one.refusal:
        yield f"  no proposal {printable(one.refusal.why, 400)}"
        yield f"  do          {printable(one.refusal.do, 2000)}"
    else:
        yield from _advice(one)


def _misses(one: Calibration) -> Iterator[str]:
    """Yield what trials missed by, where it is more than the score that fell short."""
    missed = sum(kind.trials for kind in one.requirements)
    if not missed or [kind.by for kind in one.requirements] == ["score"]:
        return
    by_score = sum(kind.trials for kind in one.requirements if kind.by == "score")
    rest = missed - by_score
    if by_score >= rest:
        yield f"  binds       the score's threshold: {by_score} of {missed} misses; of the others"
    else:
        yield f"  binds       not the score's threshold ({by_score} of {missed} misses) but other demands:"
    kinds = [kind for kind in one.requirements if kind.by != "score"]
    for kind in kinds[:_MOST_KINDS]:
        yield f"              {kind.trials} {printable(kind.label, 60)}: {_how(kind)}"
    if len(kinds) > _MOST_KINDS:
        yield f"              {sum(kind.trials for kind in kinds[_MOST_KINDS:])} others"


def _how(kind: Requirement) -> str:
    measure = f", by {printable(kind.measure, 40)}" if kind.measure and kind.by == "own" else ""
    return _HOW[kind.by] + measure


def _thresholds(one: Calibration) -> Iterator[str]:
    """Yield the table of today's threshold and the proposed ones."""
    table = [("", "threshold", "pass", "P(in band)", " ")]
    if one.today:
        value = "none" if one.today.threshold is None else f"{one.today.threshold:g}"
        field = printable(one.today.field)
        table.append(("today", value, *_passing(one.today.passed, one.judged, one.today.chance), field))
    for number, cut in enumerate(one.cuts[: _MOST_OTHERS + 1]):
        name = "or" if number or one.keep else "proposed"
        note = "" if number or cut.next_lower is None else f"any above {cut.next_lower:.6g} passes the same"
        table.append((name, shown_threshold(cut), *_passing(cut.rank, one.judged, cut.chance), note))
    if len(table) > 1:
        yield from (f"  {line}" for line in aligned([(f"{row[0]:<9}", *row[1:]) for row in table], {" " * 9, " "}))


def _passing(passed: int, trials: int, chance: float) -> tuple[str, str]:
    return f"{passed} of {trials}", f"{chance:.2f}"


def _advice(one: Calibration) -> Iterator[str]:
    """Yield what to mind of a proposal, and what to do next."""
    if one.keep:
        yield "  keep        today's threshold: no score of these trials is much likelier to do better"
    if one.chosen_here:
        yield f"  careful     today's is the {_nth(one.chosen_here)} best of these very trials, which cannot judge it"
    elif not one.keep:
        yield f"  careful     these trials chose it: {one.cuts[0].rank} of them pass whatever the true rate is"
    if any(kind.by == "own" for kind in one.requirements):
        yield "  careful     a demand with a threshold of its own may move along, or bind: see above"
    if one.is_in_prompt:
        yield "  careful     the prompt names the threshold: a model may act otherwise at another"
    yield f"  next        {'' if one.keep else 'set it, then '}play fresh seeds:"
    yield f"              {printable(one.fresh, 2000)}"


def _nth(rank: int) -> str:
    ending = "th" if 10 <= rank % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"
