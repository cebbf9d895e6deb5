"""What the tests of onnx_export share: a sandbox that is kept from one reading of a model to the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.onnx_export import grader
from pytest_rltask import Sandbox, SandboxLimits
from pytest_rltask.sandbox.watcher import removal


class KeptSandbox:
    """Stands for the fresh sandbox of each reading, which takes longer to start than most models to be read."""

    def __init__(self) -> None:
        self._box: Sandbox | None = None

    def __call__(self, limits: SandboxLimits, *, prefix: str) -> KeptSandbox:
        assert limits == grader.WORKER_LIMITS, "it has those limits"
        return self

    def __enter__(self) -> Sandbox:
        self._box = self._box or Sandbox(grader.WORKER_LIMITS, prefix="rltask-grade-", preload=["numpy"])
        return self._box

    def __exit__(self, *exception: object) -> None:
        """Clear it, so that the next reading finds nothing."""
        assert self._box
        if not self._box.path.is_dir():  # a model has removed it
            self.close()
            return
        for folder in (self._box.path, self._box.path.with_name("tmp")):
            removal.remove_since(folder, {})
        assert not any(self._box.path.iterdir())

    def close(self) -> None:
        if self._box:
            self._box.close()
        self._box = None


@pytest.fixture(scope="module")
def _kept() -> Iterator[KeptSandbox]:
    kept = KeptSandbox()
    yield kept
    kept.close()


@pytest.fixture
def kept_sandbox(_kept: KeptSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have models be read in one sandbox, one after the other; that each has its own is tested without this."""
    monkeypatch.setattr(grader, "Sandbox", _kept)
