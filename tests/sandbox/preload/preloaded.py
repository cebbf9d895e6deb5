"""What the tests of preloading share: a module to preload, and runs with it."""

from __future__ import annotations

from collections.abc import Iterator
from textwrap import dedent

from pytest_rltask.sandbox import Sandbox, SandboxLimits, SandboxResult
from tests.sandbox.runs.running import Run

MODULE = "decimal"
"""What these tests preload: quickly imported, and no module that a cold start has loaded."""


def runs(*, backend: str | None) -> Iterator[Run]:
    opened: list[Sandbox] = []

    def run(code: str, *args: str, **limits: float) -> SandboxResult:
        limits = {"wall_s": 20, **limits}
        sandbox = Sandbox(SandboxLimits(**limits), backend=backend, preload=[MODULE])  # type: ignore[arg-type]
        opened.append(sandbox)
        sandbox.write_file("script.py", dedent(code))
        return sandbox.run_python("script.py", *args)

    yield run
    for sandbox in opened:
        sandbox.close()
