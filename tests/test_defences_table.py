"""That each defence of `make bench-defences` can be removed: the text to be replaced is there, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.defences_table import DEFENCES, Defence

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.name)
def test_what_removes_a_defence_applies(defence: Defence):
    for name, old, _ in defence.edits:
        assert (ROOT / name).read_text().count(old) == 1, f"{name}: {old!r}"


@pytest.mark.parametrize("defence", DEFENCES, ids=lambda defence: defence.name)
def test_what_is_to_go_red_is_there(defence: Defence):
    for test in defence.selection:
        file, _, name = test.partition("::")
        if name:
            assert f"{name.partition('[')[0]}" in (ROOT / file).read_text(), test
