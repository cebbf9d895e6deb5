"""A Python without the test extras, as `make bench` leaves it: what they bring is there, and cannot be imported."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NEEDED_ANYWAY = {"numpy", "scipy"}
"""The tasks need these as well, scipy by way of scikit-learn."""


def test_extras() -> set[str]:
    """Return the names of the packages that only tests need; their modules have the same names."""
    lines = (ROOT / "tests" / "requirements.txt").read_text().splitlines()
    names = {match[0] for line in lines if (match := re.match(r"[\w.-]+", line))}
    return names - NEEDED_ANYWAY


def hide_extras(folder: Path) -> str:
    """Return a folder for PYTHONPATH with which a Python cannot import them."""
    folder.mkdir()
    for name in test_extras():  # modules and no finder: pytest's own, which rewrites assertions, would go before that
        text = f"raise ModuleNotFoundError({f'{name} is a test extra'!r}, name=__name__)\n"
        (folder / f"{name}.py").write_text(text)
    return str(folder)
