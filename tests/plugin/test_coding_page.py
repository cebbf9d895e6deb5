"""The task that docs/coding.md shows, as it stands there: played, replayed and audited."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_rltask.sandbox import SandboxError, resolve_backend

PAGE = Path(__file__).parents[2] / "docs" / "coding.md"


@pytest.fixture
def shown(pytester: pytest.Pytester) -> pytest.Pytester:
    try:
        resolve_backend("auto")
    except SandboxError as error:
        pytest.skip(str(error))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    pytester.makepyfile(test_slugs=code)
    return pytester


@pytest.mark.slow
def test_its_solver_passes_and_can_be_replayed(shown: pytest.Pytester) -> None:
    played = shown.runpytest_subprocess("--model", "policy:solver", "--runs", "1", "--band", "90,100", "--log-dir", "l")
    (run,) = Path(shown.path, "l").glob("run_*")

    again = shown.runpytest_subprocess("--model", f"replay:{run}", "--runs", "1", "--band", "90,100", "--log-dir", "m")

    assert (played.ret, again.ret) == (0, 0), played.stdout.str() + again.stdout.str()
    assert '"bash_20250124"' in next(run.glob("trials.*.jsonl")).read_text()


@pytest.mark.slow
def test_it_is_sound(shown: pytest.Pytester) -> None:
    assert shown.runpytest_subprocess("--audit").ret == 0
