"""What of a replay's answers may differ from what the model was answered."""

from __future__ import annotations

import pytest

from pytest_rltask.analysis.regrade import _alike


@pytest.mark.parametrize(
    ("was", "now", "again", "alike"),
    [
        ("took 0.31 s", "took 12 s", None, True),
        ("W1128 18:37:22.431000 3 on 2026-11-28", "W1129 07:01:02.5 3 on 2026-11-29", None, True),
        ("score 0.5", "score 0.6", None, False),
        ("in /tmp/a1, score 0.5", "in /tmp/b2, score 0.5", "in /tmp/c3, score 0.5", True),
        ("in /tmp/a1, score 0.5", "in /tmp/b2, score 0.6", "in /tmp/c3, score 0.6", False),
        ("score 0.5", "1 2, score 0.6", "1 2 3, score 0.6", False),
    ],
    ids=["duration", "time of day", "result", "varying name", "varying name and result", "varying length"],
)
def test_only_durations_and_what_varies_by_itself_may_differ(was: str, now: str, again: str | None, alike: bool):
    assert _alike(was, now, again) == alike
