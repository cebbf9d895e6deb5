"""Tools as a server of the Messages API takes them: Claude knows some by a type, all others are told by a schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["sent_tools"]

_CLAUDE = "claude-"


def sent_tools(tools: Iterable[Mapping[str, Any]], model: str) -> list[dict[str, Any]]:
    """Return a request's tools for a model of a name.

    Example:
        >>> bash = {"name": "bash", "input_schema": {}, "native": {"type": "bash_20250124", "name": "bash"}}
        >>> sent_tools([bash], "claude-opus-5")
        [{'type': 'bash_20250124', 'name': 'bash'}]
        >>> sent_tools([bash], "qwen3")
        [{'name': 'bash', 'input_schema': {}}]
    """
    is_claude = model.startswith(_CLAUDE)
    return [dict(tool["native"]) if is_claude and tool.get("native") else _without_native(tool) for tool in tools]


def _without_native(tool: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in tool.items() if key != "native"}
