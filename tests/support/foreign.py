"""What tests and plugins of others do to their process, as they do it. Inner suites get a copy of this file."""

from __future__ import annotations

import contextlib
import datetime
import sys
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

FROZEN_AT_S = 1_300_000_000.0
"""In March 2011."""
SPARED = ("threading", "multiprocessing", "queue", "selenium", "_pytest.terminal", "_pytest.runner")
"""Modules that freezegun leaves alone."""


class _FrozenDate(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return datetime.datetime.fromtimestamp(FROZEN_AT_S, tz)

    utcnow = now


@contextlib.contextmanager
def frozen_clock() -> Iterator[None]:
    """Do what ``freezegun.freeze_time`` does: replace clocks wherever a module holds them."""
    real = datetime.datetime
    fakes: dict[int, Any] = {id(real): _FrozenDate}
    for name in ("time", "monotonic", "perf_counter"):
        fakes[id(getattr(time, name))] = lambda: FROZEN_AT_S
        fakes[id(getattr(time, f"{name}_ns"))] = lambda: int(FROZEN_AT_S * 1e9)
    changed: list[tuple[ModuleType, str, Any]] = []
    for module in list(sys.modules.values()):
        if module.__name__.startswith(SPARED) or module is sys.modules[__name__]:
            continue
        for name, value in list(vars(module).items()):
            if id(value) in fakes:
                setattr(module, name, fakes[id(value)])
                changed.append((module, name, value))
    time_module = sys.modules["time"]
    try:
        assert time_module.monotonic() == FROZEN_AT_S
        yield
    finally:
        for module, name, value in changed:
            setattr(module, name, value)
