"""Tools as a server of the Messages API takes them: Anthropic's knows some by a type, any other is told schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["sent_tools"]


def sent_tools(tools: Iterable[Mapping[str, Any]], *, knows_types: bool) -> list[dict[str, Any]]:
    """Return a request's tools for a server that knows Anthropic's types of tools, or does not.

    Example:
        >>> bash = {"name": "bash", "input_schema": {}, "native": {"type": "bash_20250124", "name": "bash"}}
        >>> sent_tools([bash], knows_types=True)
        [{'type': 'bash_20250124', 'name': 'bash'}]
        >>> sent_tools([bash], knows_types=False)
        [{'name': 'bash', 'input_schema': {}}]
    """
    return [dict(tool["native"]) if knows_types and tool.get("native") else _plain(tool) for tool in tools]


def _plain(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tool.items() if key != "native"}
