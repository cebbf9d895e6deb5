"""The drawings of the HTML report: SVGs coloured by its style sheet, that say in words what they show."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

from pytest_rltask.report.html_markup import Html, element, join
from pytest_rltask.report.summary import Row
from pytest_rltask.run.record import Record

__all__ = ["rate_bar", "score_plot", "share_bar"]

WIDTH, MARGIN, DOT = 340, 14, 4
"""Width of the score plot, its margin left and right, and the radius of a dot, in pixels."""
STACK = 100
"""Height that a stack of dots may take; a higher one is drawn closer."""
TOP = 22
"""Where the dots begin, below the threshold's label."""
COUNTABLE = 5
"""Equal scores that can be counted by eye even if their dots overlap."""
MAX_THRESHOLDS = 3
"""Trials of one task may have thresholds of their own; more than these are not drawn."""


def rate_bar(row: Row, words: str) -> Html:
    """Draw a pass rate from 0 to 100 %: the band shaded, the exact interval as a line, the rate as a dot."""
    band, verdict = row.band, row.verdict
    parts = [
        element("rect", class_="band", x=_percent(band.low), width=_percent(band.high - band.low), y=0, height="100%"),
        element("line", class_="axis", x1="0%", x2="100%", y1="50%", y2="50%"),
    ]
    if verdict.interval and verdict.rate is not None:
        low, high = (_percent(bound) for bound in verdict.interval)
        parts.append(element("line", class_="interval", x1=low, x2=high, y1="50%", y2="50%"))
        parts += [element("line", class_="interval", x1=x, x2=x, y1="32%", y2="68%") for x in (low, high)]
        parts.append(element("circle", class_="rate", cx=_percent(verdict.rate), cy="50%", r=5))
    return element("svg", element("title", words), *parts, class_="bar", role="img", aria_label=words)


def share_bar(count: int, total: int) -> Html:
    """Draw a count's share of a total; the count stands beside it, so it is hidden from screen readers."""
    width = _percent(count / total if total else 0)
    return element("svg", element("rect", width=width, height="100%", rx=2), class_="share", aria_hidden="true")


def score_plot(records: Iterable[Record]) -> Html | None:
    """Draw each raw score as a dot over its axis, with the threshold; None without a score.

    A passed trial is a full dot, a failed one a ring, a cheated one a diamond. Dots stand exactly at their score,
    so none seems to be on the wrong side of the threshold, and rise where they would touch.
    """
    scored = [(record.score, record) for record in records if record.score is not None and math.isfinite(record.score)]
    if not scored:
        return None
    scored.sort(key=lambda pair: (pair[0], pair[1].outcome, pair[1].run))
    scores = [score for score, _ in scored]
    thresholds = sorted({record.threshold for _, record in scored if record.threshold is not None})[:MAX_THRESHOLDS]
    low, high = _domain([*scores, *thresholds])
    places = [_x(_share(score, low, high)) for score in scores]
    levels = _levels(places)
    step = min(2 * DOT + 1, STACK / (max(levels) + 1))
    floor = TOP + max(step * max(levels), DOT) + 2 * DOT + 2
    words = f"raw scores of {len(scores)} trials: lowest {scores[0]:g}, median {statistics.median(scores):g}, "
    words += f"highest {scores[-1]:g}" + "".join(f", threshold {threshold:g}" for threshold in thresholds)
    parts = [element("title", words), *_axis(low, high, floor)]
    parts += [_threshold(_x(_share(value, low, high)), value, floor) for value in thresholds]
    dots = zip(scored, places, levels, strict=True)
    parts += [_dot(record, x, floor - DOT - 1 - level * step) for (_, record), x, level in dots]
    if step < 2 * DOT:  # too close to be counted by eye
        tops = {x: level for x, level in zip(places, levels, strict=True) if places.count(x) > COUNTABLE}
        parts += [_label(f"{places.count(x)}", x, floor - 3 * DOT - level * step) for x, level in tops.items()]
    view = {"viewBox": f"0 0 {WIDTH} {floor + 18:.0f}"}  # no parameter's name, for its capital letter
    return element("svg", *parts, class_="scores", width=WIDTH, role="img", aria_label=words, **view)


def _levels(places: list[float]) -> list[int]:
    """Return how high each dot stands so that none touches another; the places ascend."""
    last: list[float] = []
    levels = []
    for x in places:
        level = next((level for level, taken in enumerate(last) if x - taken >= 2 * DOT), len(last))
        last[level : level + 1] = [x]
        levels.append(level)
    return levels


def _axis(low: float, high: float, floor: float) -> Iterable[Html]:
    yield element("line", class_="axis", x1=0, x2=WIDTH, y1=_px(floor), y2=_px(floor))
    yield _label(f"{low:.4g}", 0, floor + 14, anchor="start")
    yield _label(f"{high:.4g}", WIDTH, floor + 14, anchor="end")


def _threshold(x: float, value: float, floor: float) -> Html:
    anchor = "start" if x < WIDTH / 3 else "end" if x > WIDTH * 2 / 3 else "middle"
    return join(
        [
            element("line", class_="threshold", x1=_px(x), x2=_px(x), y1=_px(TOP - 6), y2=_px(floor)),
            _label(f"threshold {value:g}", x, TOP - 10, anchor=anchor),
        ]
    )


def _dot(record: Record, x: float, y: float) -> Html:
    title = element("title", f"run-{record.run:02d}: {record.score:g}, {record.outcome}")
    kind = f"dot {record.outcome}"
    if record.outcome == "cheated":
        shape = f"M{_px(x)} {_px(y - 5)} l5 5 l-5 5 l-5 -5 z"
        return element("path", title, class_=kind, d=shape)
    return element("circle", title, class_=kind, cx=_px(x), cy=_px(y), r=DOT - 0.5)


def _label(text: str, x: float, y: float, *, anchor: str = "middle") -> Html:
    return element("text", text, x=_px(x), y=_px(y), text_anchor=anchor)


def _domain(values: Sequence[float]) -> tuple[float, float]:
    """Return the axis: as far as the values go, or 0 to 1 where they take up at least half of it."""
    low, high = min(values), max(values)
    if low >= 0 and high <= 1 and high - low >= 0.5:
        return 0.0, 1.0
    if low < high:
        return low, high
    return (0.0, 1.0) if 0 <= low <= 1 else (low - 1, high + 1)


def _share(value: float, low: float, high: float) -> float:
    """Return where a value lies between two others, in [0, 1]; halved, so that no difference overflows."""
    width = high / 2 - low / 2
    return min(max((value / 2 - low / 2) / width, 0.0), 1.0) if width else 0.5


def _x(share: float) -> float:
    return MARGIN + share * (WIDTH - 2 * MARGIN)


def _px(value: float) -> str:
    return f"{value:.1f}"


def _percent(share: float) -> str:
    return f"{share * 100:.2f}%"
