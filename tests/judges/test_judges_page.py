"""The two tasks of docs/judges.md, as they stand there, are sound and played without a key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Suite

PAGE = Path(__file__).parents[2] / "docs" / "judges.md"


def test_the_tasks_of_the_page_are_sound_and_solved(judged: Suite):
    (judged.pytester.path / "test_letter.py").unlink()
    letter, desk = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    judged.write(test_letters=letter, test_desk=desk)

    audit = judged.run("--audit", "-q", model=None)
    result = judged.run("--runs", "2", "--band", "90,100", model="policy:solver")

    assert audit.ret == pytest.ExitCode.OK, audit.stdout.str()
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    assert [(row["passed"], row["judged"]) for row in judged.report()["rows"]] == [(2, 2), (2, 2)]
