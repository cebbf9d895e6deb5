"""What a project's modules are called elsewhere: a fresh process imports them from a copy."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = """
import pickle, sys
from pathlib import Path
import pytest

class Saves:
    def pytest_collection_finish(self, session):
        from pytest_rltask.engines.travel import described
        from pytest_rltask.suite.items import settled
        task = settled(session.items[0]).task
        project = described(session.config.rootpath, Path.cwd())
        Path(sys.argv[1]).write_bytes(pickle.dumps((project, pickle.dumps(task))))

sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[2:]], plugins=[Saves()]))
"""
NODE = """
import pickle, sys
from pathlib import Path
from pytest_rltask.engines.travel import installed
project, task = pickle.loads(Path(sys.argv[1]).read_bytes())
print(installed(project))
task = pickle.loads(task)
print(sys.modules[type(task).__module__].__file__, task.open(1).prompt, Path.cwd())
"""
TASK = """
from dataclasses import dataclass
import pytest
from conftest import WORDS
from lib.deep.words import MORE
from pytest_rltask import Episode, Grade, Task

class OneEpisode(Episode):
    prompt = WORDS + MORE
    def grade(self):
        return Grade(1.0, threshold=1.0)

@dataclass(frozen=True)
class One(Task):
    needs_tools = False
    def open(self, seed):
        return OneEpisode()

@pytest.mark.rltask(task=One())
def test_one(trial): pass
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["prepend", "importlib"])
@pytest.mark.parametrize("has_init", [True, False])
def test_a_task_of_a_test_module_is_found_in_a_copy(tmp_path: Path, mode: str, has_init: bool):
    here, there, packed = tmp_path / "here", tmp_path / "there", tmp_path / "packed"
    for name, text in {
        "pytest.ini": "[pytest]\npythonpath = src .\n",
        "conftest.py": "WORDS = 'one '\n",
        "src/lib/deep/words.py": "MORE = 'two'\n",  # without __init__.py
        "tasks/deeper/test_one.py": TASK,
        **dict.fromkeys(["tasks/__init__.py", "tasks/deeper/__init__.py"] * has_init, ""),
    }.items():
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(text)

    words = [sys.executable, "-c", DRIVER, str(packed), f"--import-mode={mode}", "--model=human"]
    collected = subprocess.run(words, cwd=here, capture_output=True, text=True, check=False)
    assert packed.exists(), collected.stdout + collected.stderr
    shutil.move(here, there)
    said = subprocess.run(
        [sys.executable, "-c", NODE, str(packed)], cwd=there, capture_output=True, text=True, check=False
    )

    assert said.stdout.splitlines() == [str(there), f"{there}/tasks/deeper/test_one.py one two {there}"], said.stderr
