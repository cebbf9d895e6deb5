"""Which client carries the requests: aiohttp's where it is installed, unless a proxy is in the way."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from pytest_rltask.models import transport


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_aiohttp_the_sdk_sends_by_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "find_spec", lambda name: None)
    assert transport.http_client() is None


@pytest.mark.skipif(find_spec("aiohttp") is None, reason="needs aiohttp, as `make compat` has it")
def test_aiohttp_sends_where_it_is_installed_and_no_proxy_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "aiohttp" in type(transport.http_client()._transport).__module__
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert transport.http_client() is None
    monkeypatch.setenv("NO_PROXY", "api.anthropic.com")
    assert transport.http_client() is not None
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:8000")
    assert transport.http_client() is not None, "the proxy is for https alone"
