"""What commands print for programs: one JSON object that every reader takes."""

from __future__ import annotations

import json
from typing import Any

from pytest_rltask.export.conversation import plain

__all__ = ["print_json"]


def print_json(data: Any) -> None:
    """Print data as one JSON object: what is no finite number is null, and no text holds half a character."""
    print(json.dumps(plain(data), indent=1, allow_nan=False))
