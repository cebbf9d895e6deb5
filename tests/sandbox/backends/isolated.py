"""What the tests of backends share: limits, and a run that is to succeed."""

from __future__ import annotations

import os
from textwrap import dedent

from pytest_rltask.sandbox import Sandbox, SandboxLimits

LIMITS = SandboxLimits(wall_s=60)
IS_ROOT = os.geteuid() == 0


def run(sandbox: Sandbox, code: str, *args: str) -> str:
    """Run code that is to succeed, and return what it printed."""
    sandbox.write_file("script.py", dedent(code))
    result = sandbox.run_python("script.py", *args)
    assert result.ok, result
    return result.stdout
