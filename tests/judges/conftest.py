"""The fixtures of the tests of judges."""

from __future__ import annotations

import pytest

from tests.conftest import Suite
from tests.judges.letters import suite_of
from tests.support.serving import serve  # noqa: F401 - a fixture


@pytest.fixture
def judged(pytester: pytest.Pytester) -> Suite:
    """A suite of one judged task."""
    suite = Suite(pytester)
    (pytester.path / "tasks.py").unlink()
    (pytester.path / "test_sum.py").unlink()
    return suite.write(test_letter=suite_of())
