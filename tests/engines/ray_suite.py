"""A suite whose tasks lean on all that a project has, for nodes that cannot see it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.cluster import Cluster

FILES = {
    "pytest.ini": "[pytest]\npythonpath = src\n",
    "src/lib/__init__.py": "",
    "src/lib/target.py": "TARGET = 5\n",
    "conftest.py": """
from pytest_rltask import Episode
class Base(Episode, abstract=True):
    prompt = "Say the number."
""",
    "tasks/__init__.py": "",
    "tasks/words.py": "from pathlib import Path\nOK = Path(__file__).with_name('ok.txt').read_text()\n",
    "tasks/ok.txt": "fine",
    "tasks/test_number.py": '''
import os, platform, signal, time
from dataclasses import dataclass
from pathlib import Path
import pytest
from conftest import Base
from lib.target import TARGET
from pytest_rltask import Grade, Resources, Task, call, tool
from tasks.words import OK

class NumberEpisode(Base):
    def __init__(self, task, seed):
        self.task, self.seed, self.said = task, seed, None
    @property
    def info(self):
        return {"folder": os.getcwd(), "pid": os.getpid(), "secret": os.environ.get("RLTASK_OF_TEST", "")}
    @property
    def done(self):
        return self.said is not None
    @tool
    def say(self, number: int) -> str:
        """Say it.

        Args:
            number: The number.
        """
        self.said = number
        return OK
    @tool
    def look(self) -> str:
        """Look around."""
        return OK
    @tool
    def die(self) -> str:
        """Kill the process, if that has not been done as often as the task says."""
        for n in range(self.task.deaths):
            mark = Path(self.task.marks) / f"{self.seed}-{n}"
            try:
                mark.touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)
        return OK
    def artifacts(self):
        return {"said": str(self.said), "large": "x" * 200_000}
    def grade(self):
        return Grade(float(self.said == TARGET + self.seed % 2), threshold=1.0)

def baseline(view):
    yield call("say", number=5)

def dies(view):
    yield call("die")
    yield call("say", number=5)

def sleeps(view):
    for _ in range(1000):
        time.sleep(0.1)
        yield call("look")

@dataclass(frozen=True)
class Number(Task):
    deaths: int = 0
    marks: str = ""
    policies = {"baseline": baseline, "dies": dies, "sleeps": sleeps}
    resources = Resources(cpus=0.5)
    @property
    def carried_environment(self):
        return {"RLTASK_OF_TEST": "travels"}
    def open(self, seed):
        return NumberEpisode(self, seed)

def make(config):
    return Number(config.getoption("deaths"), config.getoption("marks"))

@pytest.mark.rltask(task=make, band=(0.3, 0.7))
def test_number(trial):
    assert trial.passed
''',
}
OPTIONS = """
def pytest_addoption(parser):
    parser.addoption("--deaths", type=int, default=0)
    parser.addoption("--marks", default="")
"""


class RaySuite:
    """The suite in a folder, and a cluster that plays it."""

    def __init__(self, folder: Path, cluster: Cluster) -> None:
        self.folder, self.cluster = folder, cluster
        for name, text in FILES.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + OPTIONS * (name == "conftest.py"))

    def start(self, *words: str, env: Mapping[str, str] | None = None) -> Any:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
        return self.cluster.start(command, cwd=self.folder, env={"ANTHROPIC_API_KEY": "", **(env or {})})

    def play(self, *words: str, env: Mapping[str, str] | None = None, status: int = 0) -> str:
        process = self.start(*words, env=env)
        ended, said = process.wait(timeout=240), self.cluster.said(process)
        assert ended == status, said
        return said

    def lines(self, kind: str = "trial") -> list[dict[str, Any]]:
        return [line for line in self.all_lines() if line["type"] == kind]

    def all_lines(self) -> list[dict[str, Any]]:
        (path,) = self.folder.glob("logs/run_*/trials.main.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()]

    def interrupt(self, process: Any) -> None:
        """Send Ctrl-C to pytest, which runs within what entered the namespace."""
        for pid in self.cluster.alive(process):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"pytest" in words and os.path.basename(words[0]).startswith(b"python"):
                os.kill(pid, signal.SIGINT)
