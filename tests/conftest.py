"""Fixtures of the whole suite: a small task suite that an inner pytest plays.

pytest loads this file for the benchmarks' own commands too: an option of the root's ``conftest.py`` is unknown to it at
its start, so it looks for more of them in every folder ``test*``. Hence nothing here may need the test extras.
"""

from __future__ import annotations

import functools
import importlib
import json
import pkgutil
import shlex
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.run.load import Run, load_run

pytest_plugins = ["pytester"]


def pytest_collect_file() -> None:
    """Set Hypothesis up before the first file of this folder is imported."""
    load_profile()


@functools.cache
def load_profile() -> None:
    """Ask for the same examples in every run, and for no verdict on how fast a busy machine makes them."""
    from hypothesis import HealthCheck, settings

    settings.register_profile("suite", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("suite")


ANEW = (
    *(
        "_pytest.stepwise",
        "annotated_types",
        "ctypes",
        "docstring_parser",
        "email.parser",
        "pydantic._internal._dataclasses",
    ),
    *("pydantic.fields", "pydantic.json_schema", "pydantic.plugin._loader", "pydantic.type_adapter"),
)
"""What of others an inner pytest that plays a trial imports."""

# A task whose trials pass for chosen seeds, and policies that misbehave in every way the harness must stand.
SUITE = '''
from dataclasses import dataclass
import pytest
from pytest_rltask import Episode, Grade, Limits, Task, ToolError, call, tool

class SumEpisode(Episode):
    def __init__(self, task, seed):
        self.task, self.seed, self.answer = task, seed, None
    @property
    def prompt(self):
        return f"How much is {self.seed} and 1? Submit it."
    @property
    def done(self):
        return self.answer is not None
    @tool
    def submit(self, number: int) -> str:
        """Submit the sum.

        Args:
            number: The sum.
        """
        self.answer = number
        return "submitted"
    @tool
    def shout(self, text: str, times: int = 1) -> str:
        """Repeat a text."""
        return text * times
    @tool
    def refuse(self) -> str:
        """Refuse."""
        raise ToolError("not today")
    @tool
    def crash(self) -> str:
        """Crash."""
        raise KeyError("a bug of the task")
    def grade(self):
        if self.answer == -1:
            return Grade(1.0, threshold=1.0, cheated=True, label="negative sum", reason="submitted -1")
        if self.answer == -2:
            return Grade(float("nan"), threshold=1.0)
        score = float(self.answer == self.seed + 1)
        return Grade(score, threshold=self.task.threshold, reason="" if score else f"submitted {self.answer}")

def knows(*seeds):
    def policy(view):
        yield call("submit", number=view.seed + 1 if view.seed in seeds else 0)
    return policy

def says(number):
    def policy(view):
        yield call("submit", number=number)
    return policy

def crash(view):
    yield call("crash")

def broken(view):
    raise RuntimeError("a bug of the policy")
    yield

def sometimes_crash(view):
    yield call("crash") if view.seed == 43 else call("submit", number=0)

@dataclass(frozen=True)
class Sum(Task):
    threshold: float | None = 1.0
    policies = {
        "solver": lambda view: (yield call("submit", number=view.seed + 1)),
        "null": lambda view: (yield "no idea"),
        "baseline": knows(43, 46, 49),
        "cheat": says(-1), "nan": says(-2), "crash": crash, "broken": broken, "sometimes_crash": sometimes_crash,
    }
    def open(self, seed):
        return SumEpisode(self, seed)
'''

TEST = """
from tasks import *

@pytest.mark.rltask(task=Sum())
def test_sum(trial):
    assert trial.score >= 1.0, trial.reason
"""


def slow(*values: object) -> Any:
    """Have the parameters of a test be played by ``make test-slow`` alone: others guard the same in ``make test``."""
    return pytest.param(*values, marks=pytest.mark.slow)


WAYS = [(), slow(("-n", "2"))]
"""What is added to the command of an inner pytest: nothing, and two workers, which start three interpreters."""
WAYS_IDS = ["plain", "xdist"]


def workers_at_once(fixture: str) -> pytest.MarkDecorator:
    """Have a test's second run, by two workers, be none of the slow ones: it guards what only workers can break."""
    return pytest.mark.parametrize(fixture, [(), ("-n", "2")], ids=WAYS_IDS, indirect=True)


class Suite:
    """A task suite in a folder of its own, and what an inner pytest makes of it."""

    def __init__(self, pytester: pytest.Pytester, workers: tuple[str, ...] = ()) -> None:
        self.pytester = pytester
        self.workers = workers
        pytester.makepyfile(tasks=SUITE, test_sum=TEST)

    def write(self, **files: str) -> Suite:
        """Write further test files, or others in place of those there are."""
        self.pytester.makepyfile(**files)
        return self

    def run(self, *arguments: str, model: str | None = "policy:baseline") -> pytest.RunResult:
        """Run the inner pytest."""
        played = ("--model", model) if model else ()
        return self.pytester.runpytest(*played, *self.workers, *arguments)

    @property
    def run_dirs(self) -> list[Path]:
        """The run directories, oldest first."""
        return sorted((self.pytester.path / "logs").glob("run_*"), key=lambda path: path.stat().st_mtime_ns)

    def last_run(self) -> Run:
        """Load the newest run directory."""
        return load_run(self.run_dirs[-1])

    def report(self) -> dict[str, Any]:
        """Load the newest run's ``report.json``."""
        data: dict[str, Any] = json.loads((self.run_dirs[-1] / "report.json").read_text())
        return data


def next_words(result: pytest.RunResult) -> list[str]:
    """Return the words of the command that a run names as the next, which may take several lines."""
    at = next(number for number, line in enumerate(result.outlines) if line.startswith("next: "))
    lines = result.outlines[at:]
    end = next(number for number, line in enumerate(lines) if not line.endswith(" \\"))
    return shlex.split(" ".join(line.removesuffix("\\") for line in lines[: end + 1]).removeprefix("next: "))


def unwrapped(result: pytest.RunResult) -> str:
    """Return what a run wrote as one line, so that it does not matter where the terminal's ended."""
    return " ".join(result.stdout.str().split())


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test may find a key, or a server, of whoever runs it."""
    for name in ("API_KEY", "AUTH_TOKEN", "PROFILE", "BASE_URL"):
        monkeypatch.delenv(f"ANTHROPIC_{name}", raising=False)
    # Nor may CI be told of runs that are tests.
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    # What plugins of others cost each inner pytest and each of its workers: a second, and a seventh of its start.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:hypothesispytest -p no:anyio")


@pytest.fixture(scope="session")
def _imported() -> None:
    """Import what every inner pytest would import anew, since pytester forgets what a run of it has imported."""
    for name in ANEW:
        importlib.import_module(name)
    for part in ("audit", "engines", "judges", "models", "report", "suite", "trial"):
        package = importlib.import_module(f"pytest_rltask.{part}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


@pytest.fixture
def pytester(_imported: None, pytester: pytest.Pytester) -> pytest.Pytester:
    """Return pytest's own, behind whose back nothing is imported again."""
    return pytester


@pytest.fixture
def suite(pytester: pytest.Pytester) -> Suite:
    """A task suite played in one process."""
    return Suite(pytester)


@pytest.fixture(params=WAYS, ids=WAYS_IDS)
def any_suite(request: pytest.FixtureRequest, pytester: pytest.Pytester) -> Suite:
    """A task suite played in one process and, in a second test, by two workers."""
    return Suite(pytester, request.param)
