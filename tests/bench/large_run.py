"""How long do the answers take where a run holds thousands of trials? Seconds, beside a Python that does nothing.

Run as `make bench-large`. Two policies play 5,000 trials each of a task whose conversations are some 7 kB long; then
each command of `rltask` that reads such a run is timed, what `--resume` takes until it says what is missing (nothing
is), and the last report.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUITE = '''
from dataclasses import dataclass
from typing import ClassVar
import random
import pytest
from pytest_rltask import Episode, Grade, Limits, Task, call, tool


class Reading(Episode):
    def __init__(self, task, seed):
        self.task, self.random = task, random.Random(seed)
        self.best = 0.0

    @property
    def prompt(self):
        return "Read until you have seen enough. " * 20

    @tool
    def read(self, page: int) -> str:
        """Read a page."""
        self.best = max(self.best, self.random.random())
        return f"page {page}: " + "words and more words " * 50

    def grade(self):
        return Grade(self.best, threshold=self.task.threshold, label="too little seen")


def reads(pages):
    def policy(view):
        for page in range(pages):
            yield call("read", page=page)
        yield "That is enough."
    return policy


@dataclass(frozen=True)
class Read(Task):
    threshold: float = 0.95
    limits: ClassVar = Limits(turns=12)
    policies: ClassVar = {"baseline": reads(5), "naive": reads(4)}

    def open(self, seed):
        return Reading(self, seed)


@pytest.mark.rltask(task=Read())
def test_read(trial):
    assert trial.passed
'''


def main() -> None:
    """Play, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="large-") as folder:
        suite = Path(folder)
        (suite / "test_read.py").write_text(SUITE)
        pytest = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
        for name in ("baseline", "naive"):
            play = (*pytest, "--runs", str(options.trials), "--model", f"policy:{name}", f"--log-dir={name}")
            tell(f"{options.trials} trials by policy:{name}", play, suite)
        (one,), (other,) = (sorted((suite / name).glob("run_*")) for name in ("baseline", "naive"))
        size = sum(file.stat().st_size for file in one.rglob("*") if file.is_file())
        print(f"{'its run directory':<46}{size / 1e6:8.1f} MB, of it report.html {_mb(one / 'report.html'):.1f} MB")
        tell("python -c pass", (sys.executable, "-c", "pass"), suite)
        rltask = (sys.executable, "-m", "pytest_rltask")
        trial = f"{options.trials // 2}"
        for words in (
            ("list", "--log-dir=baseline"),
            ("show", str(one)),
            ("show", str(one), f"run-{trial}"),
            ("show", str(one), "--grep", "page 4.*words"),
            ("compare", str(one), str(other)),
            ("calibrate", str(one)),
            ("stats", str(one), str(other)),
            ("export", str(one), "--to", "jsonl", "--out", "lines.jsonl"),
        ):
            shown = " ".join(word.replace(str(suite), "") for word in words if "/run_" not in word)
            tell(f"rltask {shown}", (*rltask, *words), suite)
        going_on = ("--runs", str(options.trials), "--model", "policy:baseline", f"--resume={one}")
        tell("pytest --resume, of which nothing is missing", (*pytest, *going_on, "--collect-only"), suite)
        tell("the same, with its last report", (*pytest, *going_on), suite)


def tell(what: str, command: tuple[str, ...], cwd: Path) -> None:
    """Run a command and print its seconds."""
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - begin
    odd = (
        ""
        if done.returncode in (0, 1) and "Traceback" not in done.stderr
        else f"   exit {done.returncode}: {(done.stderr or done.stdout)[-200:]!r}"
    )
    print(f"{what:<46}{seconds:8.2f} s{odd}", flush=True)


def _mb(file: Path) -> float:
    return file.stat().st_size / 1e6


if __name__ == "__main__":
    main()
