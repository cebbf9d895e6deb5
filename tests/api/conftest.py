"""The SDK, as the scripted API's caller."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from tests.api.caller import Caller


@pytest.fixture(scope="module")
def http() -> Iterator[httpx2.Client]:
    # Shared by all clients of this module: building a pool is dear, and closing a client would close it.
    with httpx2.Client(timeout=10, trust_env=False) as client:
        yield client


@pytest.fixture
def caller(http: httpx2.Client) -> Caller:
    return Caller(http)
