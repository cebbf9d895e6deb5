"""The JSON schemas that requests of the Messages API must meet: those of the anthropic SDK's own types."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jsonschema
from jsonschema.exceptions import best_match


def violations_of(validator: Any, value: object, where: str) -> Iterator[str]:
    """Yield what a schema has against a value, each with the path to it."""
    for error in validator.iter_errors(value):
        deepest = best_match([error])
        path = ".".join(filter(None, [where, *map(str, deepest.absolute_path)]))
        yield f"{path}: {deepest.message}" if path else deepest.message


@dataclass(frozen=True)
class Schemas:
    """The schemas of a request's parts."""

    body: Any
    """Validator of the parameters, messages and tools left out."""
    params: Mapping[str, Any]
    """Parameter names, and their schemas."""
    own_tool: Any
    any_tool: Any
    blocks: Mapping[str, Any]
    """Validator for each block type: far quicker, and clearer in its errors, than the union of all."""


@cache
def schemas() -> Schemas:
    """Return them, made of the SDK's own types and closed against unknown keys."""
    # Imported late: the SDK takes a second to import.
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
    from pydantic import TypeAdapter

    schema = TypeAdapter(MessageCreateParamsNonStreaming).json_schema()
    _close(schema)
    definitions = schema["$defs"]

    def validator(part: Mapping[str, Any]) -> Any:
        return jsonschema.Draft202012Validator({**part, "$defs": definitions})

    blocks: dict[str, Any] = {}
    for reference in definitions["UserMessageParam"]["properties"]["content"]["anyOf"][1]["items"]["anyOf"]:
        part = definitions[reference["$ref"].rsplit("/", 1)[1]]
        # Parameter types come before the response types of the same name, which the API does not take.
        blocks.setdefault(part["properties"]["type"]["const"], validator(part))
    required = [name for name in schema["required"] if name != "messages"]
    return Schemas(
        body=validator({**schema, "required": required}),
        params={name: part for name, part in schema["properties"].items() if name != "messages"},
        own_tool=validator(definitions["ToolParam"]),
        any_tool=validator(schema["properties"]["tools"]["items"]),
        blocks=blocks,
    )


def _close(part: object) -> None:
    """Make unknown keys errors, as they are for the API; a tool's own input schema stays open."""
    if isinstance(part, dict):
        if part.get("type") == "object" and "properties" in part and part.get("title") != "InputSchemaTyped":
            part.setdefault("additionalProperties", False)
        for value in part.values():
            _close(value)
    elif isinstance(part, list):
        for value in part:
            _close(value)
