"""Hands a conversation to the SDK: as a text that is ready to travel, where its client speaks to the API itself.

The SDK copies a conversation block by block before it encodes it, each time anew, which takes a third of the CPU of
a request. What is sent here is JSON already, so its public way for texts of one's own serves: the address, headers,
credentials, timeouts, hooks and errors stay the SDK's. A client of a cloud, which signs and rewrites what it sends, one
of the user's own, and one that is watched by OpenTelemetry go the long way.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic

__all__ = ["Answer", "send"]

PATH = "/v1/messages"
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


class Answer(NamedTuple):
    """An answer as it came."""

    content: bytes
    headers: Mapping[str, str]
    request_id: str | None


async def send(client: AsyncAnthropic, fields: Mapping[str, Any], extras: Mapping[str, Any], timeout: Any) -> Answer:
    """Send a request once, and return its answer.

    Args:
        client: of the SDK, which does not retry.
        fields: of the request, as `messages.create` names them.
        extras: further ones, which go before those.
        timeout: as the SDK takes it.
    """
    if not _takes_text(client, str(fields["model"])):
        raw = await client.messages.with_raw_response.create(extra_body=dict(extras), timeout=timeout, **fields)
        return Answer(raw.http_response.content, raw.headers, raw.request_id)
    import httpx2

    content = _ENCODE({**fields, **extras}).encode()
    base = str(client.base_url)
    address = PATH if "?" in base else f"{base.rstrip('/')}{PATH}"  # whole, it need not be put together each time
    response = await client.post(address, cast_to=httpx2.Response, content=content, options={"timeout": timeout})
    return Answer(response.content, response.headers, response.headers.get("request-id"))


def _takes_text(client: AsyncAnthropic, model: str) -> bool:
    from anthropic import AsyncAnthropic
    from anthropic.resources.messages import DEPRECATED_MODELS

    # The long way makes spans of what is sent, and warns of models that are about to go.
    return type(client) is AsyncAnthropic and "opentelemetry.sdk" not in sys.modules and model not in DEPRECATED_MODELS
