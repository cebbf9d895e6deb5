"""What a trial needs of the machine that plays it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Resources"]


@dataclass(frozen=True)
class Resources:
    """What one trial needs of a machine; ``--engine ray`` starts it where there is as much.

    Raises:
        ValueError: a number is negative, or none.
    """

    cpus: float = 1.0
    """Cores; a part of one means that several trials share it."""
    memory_mb: int | None = None
    """Memory in MB of 10^6 bytes; None: it is not counted."""
    gpus: float = 0.0
    custom: Mapping[str, float] = field(default_factory=dict)
    """Further resources of the nodes, by the names that these were started with."""

    def __post_init__(self) -> None:
        if not all(0 <= value < math.inf for value in (self.cpus, self.memory_mb or 0, self.gpus)):
            raise ValueError(f"Resources are numbers from 0 on, got {self}")
