"""Many calls at once, some of them hostile: a small version of ``make bench-storm``."""

from __future__ import annotations

import sys

import pytest

from pytest_rltask.sandbox import SandboxError
from pytest_rltask.sandbox.choice import resolve
from tests.bench.storm import MB, storm


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("backend", ["bwrap", "landlock"])
def test_hostile_calls_leave_nothing_behind_and_disturb_no_honest_one(backend: str) -> None:
    try:
        resolve(backend)
    except SandboxError as error:
        pytest.skip(str(error))

    told = storm(calls=40, hostile=8, in_flight=8, backend=backend, warm_up=40)

    assert (told.honest, told.failures, told.hostile.total()) == (32, [], 8)
    assert (told.processes, told.files, told.descriptors, told.threads) == ([], [], 0, 0)
    assert told.memory < 2 * MB
