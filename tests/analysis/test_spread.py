"""How scores are shown: five numbers and a line of bars."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from pytest_rltask.analysis.spread import drawn, edges_of, five_numbers, histogram

SCORES = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=30)


@given(SCORES)
def test_every_score_is_in_a_bin_and_every_bin_with_one_is_seen(scores: list[float]) -> None:
    counts = histogram(scores, *edges_of(scores))
    assert sum(counts) == len(scores)
    for unicode in (True, False):
        assert [char != " " for char in drawn(counts, unicode=unicode)] == [count > 0 for count in counts]


@example([8.988465674311579e307, 8.98846567431158e307])
@given(SCORES)
def test_five_numbers_ascend_from_the_least_to_the_best(scores: list[float]) -> None:
    found = five_numbers(scores)
    assert (found[0], found[-1]) == (min(scores), max(scores))
    assert list(found) == sorted(found)


def test_shares_are_shown_from_0_to_1_and_others_from_end_to_end() -> None:
    assert edges_of([0.2, 0.3], []) == (0.0, 1.0)
    assert edges_of([0.2], [-3.0, 7.0]) == (-3.0, 7.0)
    assert histogram([5.0], 5.0, 5.0, bins=2) == [1, 0]


def test_half_as_many_are_half_as_high() -> None:
    assert drawn([8, 4, 1, 0]) == "█▄▁ "
    assert drawn([8, 4, 1, 0], unicode=False) == "@=. "
