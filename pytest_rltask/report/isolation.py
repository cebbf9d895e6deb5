"""Whether a run's agents were isolated, told wherever there are results."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["NONE", "warning"]

NONE = "none"
"""Name of the backend that isolates nothing."""


def warning(backends: Mapping[str, int]) -> str:
    """Return what reports say of trials without isolation, given how many had which backend; empty if all had one."""
    count = backends.get(NONE, 0)
    trials = "1 trial" if count == 1 else f"{count} trials"
    return f"sandbox none: agents' code ran with your own rights in {trials}" if count else ""
