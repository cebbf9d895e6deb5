"""The fixture of the Claude tests."""

from __future__ import annotations

import pytest

from pytest_rltask.models import limiter
from tests.claude.desk import TrialPlayer
from tests.support.serving import serve  # noqa: F401 - a fixture


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> TrialPlayer:
    """Plays a trial of the desk against a script; waits between attempts take no time."""
    monkeypatch.setattr(limiter, "MAX_BACKOFF_S", 0.0)
    return TrialPlayer()
