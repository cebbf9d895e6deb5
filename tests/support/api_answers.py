"""The answers of the scripted Messages API as bytes: head and body, with the ids and headers that the API sends."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from tests.support.api_connection import SeenRequest
from tests.support.api_steps import Raw, Reply, Status, ratelimit_headers


class Answers:
    """Makes answers, each with ids of its own."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)

    def render(self, seen: SeenRequest, step: Reply | Status | Raw) -> tuple[bytes, bytes]:
        """Return the head and the body of an answer."""
        request_id, code, content_type = f"req_{next(self._ids):024d}", 200, "application/json"
        headers: Mapping[str, str] = {}
        if isinstance(step, Raw):
            code, content_type, body = step.code, step.content_type, step.body
        elif isinstance(step, Status):
            code, headers = step.code, step.headers
            error: dict[str, Any] = {"type": step.error_type, "message": step.message}
            if step.details:
                error["details"] = step.details
            body = _encode({"type": "error", "error": error, "request_id": request_id})
        else:
            seen.message = self._message(step, seen.body["model"])
            body = _encode(seen.message)
        lines = {
            "content-type": content_type,
            "content-length": str(len(body)),
            "request-id": request_id,
            **ratelimit_headers(),
            **headers,
        }
        phrase = HTTPStatus(code).phrase if code in HTTPStatus._value2member_map_ else "Overloaded"
        head = f"HTTP/1.1 {code} {phrase}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"{head}\r\n".encode("latin-1"), body

    def _message(self, step: Reply, model: str) -> dict[str, Any]:
        content = [
            {**block, "id": f"toolu_{next(self._ids):022d}"} if block.get("id", "") is None else dict(block)
            for block in step.blocks
        ]
        return {
            "id": f"msg_{next(self._ids):022d}",
            "type": "message",
            "role": "assistant",
            "model": step.model or model,
            "content": content,
            "stop_reason": step.stop_reason,
            "stop_sequence": None,
            "stop_details": step.stop_details,
            "usage": dict(step.usage),
        }


def _encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
