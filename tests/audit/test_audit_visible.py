"""Whether a number is stated in a text, or a hidden value can be read in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pytest_rltask.audit.visible import is_stated, is_visible


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.875, "accuracy >= 0.875."),
        (0.875, "(.875)"),
        (0.875, "87.5% of the rows"),
        (0.875, "87.5 percent"),
        (0.05, "5\u00a0%"),
        (1000, "1,000 rows"),
        (1_234_567, "1 234 567 rows"),
        (60, "within 60s, or"),
        (60.0, "60.0 s"),
        (1e-3, "a learning rate of 1e-3"),
        (8, "Eight guesses"),
        (-0.5, "above \u22120.5"),
        (5, "of 5-10"),
    ],
)
def test_usual_ways_to_state_a_number(value: float, text: str):
    assert is_stated(value, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.875, "0.8751"),
        (0.875, "87.5 rows"),
        (9, "feature_9"),
        (5, "1.5 and 15"),
        (8, "eighth, weight"),
        (0.5, "half"),
        (1, ""),
    ],
)
def test_what_states_another_number(value: float, text: str):
    assert not is_stated(value, text)


LABELS = np.random.default_rng(0).integers(2, size=200)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Oslo", "The answer is Oslo."),
        ('say "hi"\n', r'{"text": "say \"hi\"\n"}'),
        (b"\x00\xff", "key=00ff"),
        (b"swordfish", "swordfish"),
        (451, '{"code": 451}'),
        (np.float64(0.25), "at 0.25"),
        (np.array(7), "7"),
        (LABELS, str(LABELS.tolist())),
        (LABELS, "".join(map(str, LABELS))),
        (LABELS, "label\n" + "\n".join(map(str, LABELS)) + "\n"),
        (LABELS.astype(bool), str(LABELS)),
        (np.array([[0.5, 1.25], [2.5, 3.0]]), "0.5,1.25\n2.5,3.0\n"),
        (["Oslo", "Rome"], "In Rome"),
        ({"first": "Oslo"}, "Oslo"),
    ],
)
def test_a_value_that_can_be_read(value: Any, text: str):
    assert is_visible(value, text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Oslo", "OSLO"),
        ("", "anything"),
        (b"", "anything"),
        (b"\xffa", "a"),
        (None, "None"),
        (True, "True, 1"),
        (45, "451 45.5 a45"),
        (LABELS, str(LABELS.tolist()[1:])),
        (LABELS, str(LABELS.tolist()[:60])),
        (np.array([]), "1 2 3"),
        ([1, 2, 3], "1, 2, 4, 3"),
        ([12, 3], "1, 23"),
    ],
)
def test_a_value_that_cannot_be_read(value: Any, text: str):
    assert not is_visible(value, text)
