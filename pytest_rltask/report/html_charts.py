"""The drawings of the HTML report: SVGs coloured by its style sheet, that say in words what they show."""

from __future__ import annotations

import heapq
import math
import statistics
from collections import Counter, deque
from collections.abc import Iterable, Sequence

from pytest_rltask.report.html_markup import Html, element, join
from pytest_rltask.report.summary import Row
from pytest_rltask.run.record import Record, outcome_word

__all__ = ["rate_bar", "score_plot", "share_bar"]

WIDTH, MARGIN, DOT = 340, 14, 4
"""Width of the score plot, its margin left and right, and the radius of a dot, in pixels."""
STACK = 100
"""Height that a stack of dots may take; a higher one is drawn closer."""
LINE, CHARACTER = 14, 7.7
"""Height of a label and the most that one of its characters is wide, in pixels: labels are placed by that."""
COUNTABLE = 5
"""Equal scores that can be counted by eye even if their dots overlap."""
MOST_DOTS = 300
"""Scores up to which each dot is an element of its own, that tells its trial."""
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
    marks = _thresholds(thresholds, low, high)
    is_dense = step < 2 * DOT  # too close to be counted by eye
    top = LINE * (1 + max((lane for *_, lane in marks), default=0) + is_dense) + DOT
    floor = top + max(step * max(levels), DOT) + 2 * DOT + 2
    words = f"raw scores of {len(scores)} trials: lowest {scores[0]:g}, median {statistics.median(scores):g}, "
    words += f"highest {scores[-1]:g}" + "".join(f", threshold {threshold:g}" for threshold in thresholds)
    parts = [element("title", words), *_axis(low, high, floor)]
    parts += [_threshold(x, text, anchor, lane, floor) for x, text, anchor, lane in marks]
    heights = [floor - DOT - 1 - level * step for level in levels]
    parts += _dots([record for _, record in scored], places, heights)
    if is_dense:
        parts += _counts(places, heights)
    view = {"viewBox": f"0 0 {WIDTH} {floor + 18:.0f}"}  # no parameter's name, for its capital letter
    return element("svg", *parts, class_="scores", width=WIDTH, role="img", aria_label=words, **view)


def _levels(places: list[float]) -> list[int]:
    """Return how high each dot stands so that none touches another; the places ascend."""
    free: list[int] = []  # a heap of levels that have been taken
    taken: deque[tuple[float, int]] = deque()
    levels = []
    for x in places:
        while taken and x - taken[0][0] >= 2 * DOT:
            heapq.heappush(free, taken.popleft()[1])
        level = heapq.heappop(free) if free else len(taken)
        taken.append((x, level))
        levels.append(level)
    return levels


def _axis(low: float, high: float, floor: float) -> Iterable[Html]:
    yield element("line", class_="axis", x1=0, x2=WIDTH, y1=_px(floor), y2=_px(floor))
    yield _label(f"{low:.4g}", 0, floor + 14, anchor="start")
    yield _label(f"{high:.4g}", WIDTH, floor + 14, anchor="end")


def _thresholds(values: Sequence[float], low: float, high: float) -> list[tuple[float, str, str, int]]:
    """Return place, label and anchor of each threshold, and in which line its label stands clear of the others'."""
    ends: list[float] = []  # of the last label in each line
    marks = []
    for value in values:
        x, text = _x(_share(value, low, high)), f"threshold {value:g}"
        width = len(text) * CHARACTER
        anchor = "start" if x < WIDTH / 3 else "end" if x > WIDTH * 2 / 3 else "middle"
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        lane = next((lane for lane, end in enumerate(ends) if left >= end), len(ends))
        ends[lane : lane + 1] = [left + width]
        marks.append((x, text, anchor, lane))
    return marks


def _threshold(x: float, text: str, anchor: str, lane: int, floor: float) -> Html:
    y = LINE * (lane + 1) - 2
    return join(
        [
            element("line", class_="threshold", x1=_px(x), x2=_px(x), y1=_px(y + 4), y2=_px(floor)),
            _label(text, x, y, anchor=anchor),
        ]
    )


def _dots(records: Sequence[Record], places: Sequence[float], heights: Sequence[float]) -> Iterable[Html]:
    """Yield the dots: each by itself, or those of an outcome as one shape where there are very many."""
    dots = list(zip(records, places, heights, strict=True))
    if len(dots) <= MOST_DOTS:
        for record, x, y in dots:
            title = element("title", f"run-{record.run:02d}: {record.score:g}, {outcome_word(record.outcome)}")
            yield element("path", title, class_=f"dot {record.outcome}", d=_shape(record, x, y))
        return
    for outcome in dict.fromkeys(record.outcome for record in records):
        shapes = (_shape(record, x, y) for record, x, y in dots if record.outcome == outcome)
        yield element("path", class_=f"dot {outcome}", d="".join(shapes))


def _shape(record: Record, x: float, y: float) -> str:
    if record.outcome == "cheated":
        return f"M{_px(x)} {_px(y - 5)}l5 5l-5 5l-5 -5z"
    radius = DOT - 0.5
    return (
        f"M{_px(x - radius)} {_px(y)}a{radius} {radius} 0 1 0 {2 * radius} 0a{radius} {radius} 0 1 0 {-2 * radius} 0z"
    )


def _counts(places: Sequence[float], heights: Sequence[float]) -> Iterable[Html]:
    """Yield how many dots stand at one place, over the highest; of labels that would touch, that of the most dots."""
    tops = dict(zip(places, heights, strict=True))  # they rise
    count = Counter(places)
    taken: list[tuple[float, float, float]] = []
    for x, number in count.most_common():
        text, y = f"{number}", tops[x] - 2 * DOT + 1
        half = len(text) * CHARACTER / 2
        clear = all(abs(x - other) >= half + width or abs(y - height) >= LINE for other, width, height in taken)
        if number > COUNTABLE and clear:
            taken.append((x, half, y))
            yield _label(text, x, y)


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
