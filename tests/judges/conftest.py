"""The fixtures of the tests of judges."""

from __future__ import annotations

from tests.support.serving import serve  # noqa: F401 - a fixture
