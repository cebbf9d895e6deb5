"""A Python without the test extras, as `make bench` leaves it: what they bring is there, and cannot be imported."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDED_ANYWAY = {"numpy", "scipy"}
"""The tasks need these as well, scipy by way of scikit-learn."""

_HIDING = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}: it is a test extra", name=name)

sys.meta_path.insert(0, Hidden())
"""


def test_extras() -> set[str]:
    """Return the names of the packages that only tests need; their modules have the same names."""
    lines = (ROOT / "tests" / "requirements.txt").read_text().splitlines()
    names = {match[0] for line in lines if (match := re.match(r"[\w.-]+", line))}
    return names - NEEDED_ANYWAY


def hide_extras(folder: Path) -> str:
    """Return a folder for PYTHONPATH with which a Python cannot import them."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_HIDING.format(names=sorted(test_extras())))
    return str(folder)
