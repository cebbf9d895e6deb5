"""Tools as a server of the Messages API takes them: Claude knows some by a type, all others are told by a schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["sent_tools"]


def sent_tools(tools: Iterable[Mapping[str, Any]], *, native: bool) -> list[dict[str, Any]]:
    """Return a request's tools as a server takes them.

    Args:
        tools: as a record has them.
        native: whether the server knows Anthropic's own types.

    Example:
        >>> bash = {"name": "bash", "input_schema": {}, "native": {"type": "bash_20250124", "name": "bash"}}
        >>> sent_tools([bash], native=True)
        [{'type': 'bash_20250124', 'name': 'bash'}]
        >>> sent_tools([bash], native=False)
        [{'name': 'bash', 'input_schema': {}}]
    """
    return [dict(tool["native"]) if native and tool.get("native") else _without_native(tool) for tool in tools]


def _without_native(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tool.items() if key != "native"}
