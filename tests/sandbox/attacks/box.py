"""The box in which an attack runs, and how the tests of attacks look at what came of it.

An attack that could hurt the machine if a layer were missing first makes sure that the layer is there
(``refuse_unless``), and fails instead of starting.
"""

from __future__ import annotations

import secrets
import time

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxLimits, SandboxResult
from tests.sandbox.probes import MB, processes_with

LIMITS = {"wall_s": 20.0, "memory_bytes": 512 * MB, "file_bytes": 8 * MB, "processes": 40}
PROMPT_S = 60.0
"""Far above what a kill takes, far below how long what is killed would live."""


class Box:
    """Runs attacks, each in a sandbox of its own under a name that its processes carry, and looks what is left."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.name = f"probe-{secrets.token_hex(8)}.py"
        self._sandboxes: list[Sandbox] = []

    def __call__(self, code: str, told: str = "{}", **limits: float) -> SandboxResult:
        box = self.open(**limits)
        box.write_file(self.name, code)
        result = box.run_python(self.name, told)
        assert processes_with(self.name) == [], "a process outlived its run"
        return result

    def open(self, **limits: float) -> Sandbox:
        box = Sandbox(SandboxLimits(**{**LIMITS, **limits}), backend=self.backend)  # type: ignore[arg-type]
        self._sandboxes.append(box)
        return box

    @property
    def last(self) -> Sandbox:
        return self._sandboxes[-1]

    def close(self) -> None:
        for box in self._sandboxes:
            box.close()
            assert not box.path.parent.exists(), "a folder outlived its sandbox"


def refuse_unless(held: bool, layer: str) -> None:
    if not held:
        pytest.fail(f"not started, since it could hurt this machine: {layer} is missing", pytrace=False)


def said(result: SandboxResult) -> str:
    return f"{result.summary}\n{result.stdout}\n{result.stderr}"


DAEMON = """
def beat():
    os.setsid()
    for fd in (0, 1, 2) if {silent} else ():
        os.close(fd)
    while True:
        pathlib.Path("beat.txt").write_text(str(time.monotonic()))
        time.sleep(0.01)
if os.fork() == 0:
    if os.fork() == 0:
        beat()
    os._exit(0)
while not os.path.exists("beat.txt"):
    time.sleep(0.01)
"""


def until(holds: object) -> None:
    deadline = time.monotonic() + PROMPT_S
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
