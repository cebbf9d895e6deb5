"""What is measured against the bare SDK sends what the bare SDK sends."""

from __future__ import annotations

import asyncio

from tests.bench.overhead import check_same_requests


def test_a_trial_sends_the_requests_of_a_bare_loop() -> None:
    asyncio.run(check_same_requests(turns=3))
