"""How requests travel: by aiohttp where it is installed, which takes half of the CPU time of the SDK's default.

Both speak to the same server in the same way, and all faults of the API are tested through both. A proxy is left to
the default, which knows each kind and says what it refuses.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_rltask.models.reach import proxy_of
from pytest_rltask.models.settings import BASE_URL

if TYPE_CHECKING:
    import httpx2

__all__ = ["http_client"]

_API = "https://api.anthropic.com"


def http_client() -> httpx2.AsyncClient | None:
    """Return the client that the SDK shall send by; None for its own."""
    if find_spec("aiohttp") is None or proxy_of(os.environ.get(BASE_URL) or _API) is not None:
        return None
    from anthropic import DefaultAioHttpClient

    return DefaultAioHttpClient()
