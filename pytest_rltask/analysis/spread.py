"""How scores are spread: five numbers, and a histogram that fits into a line of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median_high, median_low

from pytest_rltask.run.record import Record

__all__ = ["BINS", "drawn", "edges_of", "five_numbers", "histogram", "scores_of"]

BINS = 20
_LEVELS = "▁▂▃▄▅▆▇█"
_PLAIN = ".:-=+*#@"


def scores_of(judged: Iterable[Record]) -> list[float]:
    """Return the scores that tell of skill: of passed and failed trials. What a cheat scored says nothing of it."""
    scores = [record.score for record in judged if record.outcome != "cheated" and record.score is not None]
    return [score for score in scores if math.isfinite(score)]  # a file that others wrote may hold anything


def five_numbers(scores: Sequence[float]) -> tuple[float, ...]:
    """Return the least score, the quartiles and the best one; nothing without scores.

    The quartiles are the medians of the halves, without the middle score (Moore & McCabe).

    Example:
        >>> five_numbers([1, 2, 3, 4, 5, 6, 7])
        (1, 2, 4, 6, 7)
    """
    known = sorted(scores)
    if not known:
        return ()
    half = len(known) // 2
    low, high = (known[:half], known[-half:]) if half else (known, known)
    return (known[0], _median(low), _median(known), _median(high), known[-1])


def _median(known: Sequence[float]) -> float:
    low, high = median_low(known), median_high(known)
    if low == high:
        return low
    middle = (low + high) / 2
    return middle if math.isfinite(middle) else low / 2 + high / 2  # a sum of huge scores may be infinite


def edges_of(*samples: Sequence[float]) -> tuple[float, float]:
    """Return the ends of the histograms of samples that are shown side by side: 0 to 1 where all lie within."""
    known = [score for scores in samples for score in scores]
    low, high = min(known, default=0.0), max(known, default=1.0)
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def histogram(scores: Iterable[float], low: float, high: float, bins: int = BINS) -> list[int]:
    """Count scores by bins of equal width, the last of which has both its ends.

    Example:
        >>> histogram([0.0, 0.1, 0.9, 1.0], 0.0, 1.0, bins=4)
        [2, 0, 0, 2]
    """
    counts = [0] * bins
    for score in scores:
        share = (score / 2 - low / 2) / (high / 2 - low / 2) if high > low else 0.0  # halved: the width may be infinite
        counts[min(int(share * bins), bins - 1)] += 1
    return counts


def drawn(counts: Sequence[int], *, unicode: bool = True) -> str:
    """Draw a histogram as a line of characters; an empty bin is a space, and one score is to be seen.

    Example:
        >>> drawn([0, 1, 8, 4])
        ' ▁█▄'
    """
    levels, most = (_LEVELS if unicode else _PLAIN), max(counts, default=0)
    return "".join(levels[-(-count * len(levels) // most) - 1] if count else " " for count in counts)
