"""What the tests of `--resume` share: a suite that notes what it plays, how it is resumed, and what it then says."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.run.load import load_run
from tests.conftest import SUITE, Suite

# Policies that say in a file what they play, and that files can make misbehave.
NOTED = (
    SUITE
    + """
import pathlib, time

def note(view):
    with open("plays.txt", "a") as file:
        file.write(f"{view.seed}\\n")

def noted(view):
    note(view)
    yield from knows(43, 46, 49)(view)

def slow(view):
    note(view)
    while view.seed >= 45 and not pathlib.Path("go").exists():
        time.sleep(0.02)
    yield from knows(43, 46, 49)(view)

def moody(view):
    note(view)
    if view.seed in (43, 45) and not pathlib.Path("mended").exists():
        yield call("crash")
    yield from knows(43, 46, 49)(view)

Sum.policies |= {"noted": noted, "slow": slow, "moody": moody}
"""
)


class Runs(Suite):
    """A suite whose run is resumed, and what is played by whom."""

    def __init__(self, pytester: pytest.Pytester, workers: tuple[str, ...] = ()) -> None:
        super().__init__(pytester, workers)
        self.write(tasks=NOTED)
        self.side_file = pytester.path / "plays.txt"

    def play(self, *arguments: str, model: str | None = "policy:noted") -> pytest.RunResult:
        """Run the inner pytest."""
        return self.run("--conv-steps", "5", *arguments, model=model)

    def begin(self, *arguments: str) -> None:
        """Play, always in one process, a run that is to be resumed: what several wrote is resumed elsewhere."""
        workers, self.workers = self.workers, ()
        self.play(*arguments)
        self.workers = workers

    def resume(self, *arguments: str, model: str | None = "policy:noted") -> pytest.RunResult:
        """Resume the only run."""
        (path,) = self.run_dirs
        return self.play("--resume", f"logs/{path.name}", *arguments, model=model)

    def plays(self) -> Counter[int]:
        """Return how often each seed was played."""
        return Counter(map(int, self.side_file.read_text().split())) if self.side_file.exists() else Counter()

    def change(self, old: str, new: str, name: str = "tasks") -> None:
        """Change a file's text; a compiled one is taken for unchanged if its length and its second are the same."""
        path = self.pytester.path / f"{name}.py"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new) + "#" * (len(old) == len(new)))

    def lines(self) -> dict[str, bytes]:
        """Return what processes that played trials of the only run have written."""
        return {path.name: path.read_bytes() for path in self.trial_files}

    @property
    def trial_files(self) -> list[Path]:
        """The files of the only run in which there are trials."""
        files = sorted(self.run_dirs[0].glob("trials.*.jsonl"))
        return [path for path in files if b'"type": "trial"' in path.read_bytes()]

    def lose(self, *runs: int) -> None:
        """Make runs of the only run directory such as were never played to their end."""
        for file in self.run_dirs[0].glob("trials.*.jsonl"):
            kept = [line for line in file.read_text().splitlines() if json.loads(line).get("run") not in runs]
            file.write_text("".join(f"{line}\n" for line in kept))


def headline(result: pytest.RunResult) -> str:
    """Return the line that says what is reused and played."""
    lines = [line for line in result.outlines if line.startswith("rltask: resuming ")]
    assert len(lines) == 1, result.stdout.str()
    return re.sub(r"logs/run_\w+", "logs/RUN", lines[0])


def refused(result: pytest.RunResult) -> str:
    """Return the one line of a usage error."""
    text = f"{result.stdout.str()}\n{result.stderr.str()}"
    assert result.ret == pytest.ExitCode.USAGE_ERROR, text
    assert "Traceback" not in text
    assert "pass rates" not in text
    (line,) = {line for line in text.splitlines() if line.startswith("ERROR: ")}
    assert text.count(line) == 1, text
    return re.sub(r"logs/run_\w+", "logs/RUN", line)


def rows(run_dir: Path) -> list[dict[str, Any]]:
    """Return what a report says, times aside."""
    data = json.loads((run_dir / "report.json").read_text())
    return [{**row, "seconds": 0} for row in data["rows"]]


def trials(run_dir: Path) -> dict[str, tuple[str, float | None, int]]:
    return {trial: (r.outcome, r.score, r.seed) for trial, r in sorted(load_run(run_dir).records.items())}


def wait_until(holds: Any) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)
