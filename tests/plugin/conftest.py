"""The fixtures of several files here: suites that are resumed, played in sequence, audited, and served."""

from __future__ import annotations

import pytest

from tests.conftest import WAYS, WAYS_IDS, slow
from tests.plugin.resumed import Runs
from tests.plugin.tries import Tries
from tests.plugin.vault import Vault
from tests.support.serving import serve  # noqa: F401


@pytest.fixture(params=WAYS, ids=WAYS_IDS)
def any_runs(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Runs:
    return Runs(pytester, request.param)


@pytest.fixture
def runs(pytester: pytest.Pytester) -> Runs:
    return Runs(pytester)


@pytest.fixture(params=WAYS, ids=WAYS_IDS)
def tries(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Tries:
    """A suite played in one process and, in a second test, by two workers."""
    return Tries(pytester, request.param)


@pytest.fixture(params=[slow(("-n", "1")), ("-n", "2"), slow(("-n", "4"))], ids=["n1", "n2", "n4"])
def distributed(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Tries:
    """A suite played by one, two and four workers."""
    return Tries(pytester, request.param)


@pytest.fixture
def plain(pytester: pytest.Pytester) -> Tries:
    """A suite played in one process."""
    return Tries(pytester)


@pytest.fixture
def vault(pytester: pytest.Pytester) -> Vault:
    return Vault(pytester)
