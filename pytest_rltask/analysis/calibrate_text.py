"""What ``rltask calibrate`` prints: a block a row, the proposed threshold first, and the command that judges it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import ROUND_FLOOR, Context, Decimal

from pytest_rltask.analysis.calibrate import Calibration
from pytest_rltask.analysis.order import Cut
from pytest_rltask.analysis.requirements import Requirement
from pytest_rltask.analysis.rows import printable

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
    yield from _today(one)
    if one.refusal:
        yield f"  no proposal {printable(one.refusal.why, 400)}"
        yield f"  do          {printable(one.refusal.do, 2000)}"
        return
    yield from _proposals(one)


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


def _today(one: Calibration) -> Iterator[str]:
    if one.today is None:
        return
    today = one.today
    name = f"{printable(today.field)} = " if today.field else ""
    value = "no threshold" if today.threshold is None else f"{name}{today.threshold:g}"
    passing = f"{today.passed} of {today.trials} pass"
    yield f"  today       {value}: {passing}, in the band with probability {today.chance:.2f}"


def _proposals(one: Calibration) -> Iterator[str]:
    first, *others = one.cuts
    if one.keep:
        yield "  keep        today's threshold: none of these trials' scores is much likelier to do better"
    yield f"  {'or' if one.keep else 'proposed':<11} {shown_threshold(first)}: {_passing(first, one.judged)}"
    if first.next_lower is not None:
        yield f"              anything above {first.next_lower:.6g} lets the same trials pass"
    for cut in others[:_MOST_OTHERS]:
        yield f"  or          {shown_threshold(cut)}: {_passing(cut, one.judged)}"
    if one.chosen_here:
        yield f"  careful     today's is the {_nth(one.chosen_here)} best of these very trials, which cannot judge it"
    else:
        yield f"  careful     these trials chose it: {first.rank} of these {one.judged} pass whatever the true rate is"
    if any(kind.by == "own" for kind in one.requirements):
        yield "  careful     a demand with a threshold of its own may move along, or bind: see above"
    if one.is_in_prompt:
        yield "  careful     the prompt names the threshold: a model that reads another one may act otherwise"
    yield f"  next        {'' if one.keep else 'set it, then '}play fresh seeds:"
    yield f"              {printable(one.fresh, 2000)}"


def _passing(cut: Cut, trials: int) -> str:
    return f"{cut.rank} of {trials} pass (the {_nth(cut.rank)} best), in the band with probability {cut.chance:.2f}"


def _nth(rank: int) -> str:
    ending = "th" if 10 <= rank % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"
