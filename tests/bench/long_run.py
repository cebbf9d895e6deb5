"""Does a run of 100,000 trials stay flat? Memory of the driver, the start of a resume, the report.

Run as `make bench-long`. Two parts, each with the stub task of `ray_nodes` (two tool calls a trial):

* `--played` trials are played by a Ray cluster of four nodes, while the memory of the process that runs pytest is
  sampled; beside it a pytest that has as many empty items. What is left is ours: a line each for the start, and for
  what a trial adds.
* The run directory of a run of `--trials` is filled: a run is begun and interrupted, and the records of the trials that
  it has not played are written as the run log writes them, one by one. Then it is resumed, with a handful left to play.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pytest_rltask.run.lines import Lines
from pytest_rltask.run.load import load_plan
from tests.bench.ray_nodes import STUB, pytest_command
from tests.support.cluster import Cluster, why_no_cluster

ROOT = Path(__file__).parents[2]
BARE = """
import pytest

@pytest.mark.parametrize("trial", range({trials}))
def test_bare(trial):
    pass
"""
LEFT = 20
"""Trials that a resumed run has yet to play."""


def watched(process: subprocess.Popen[str], pid: int, *, every_s: float = 1.0) -> list[float]:
    """Wait for a process, and return the megabytes that one of its own held, sampled."""
    samples = []
    while process.poll() is None:
        if found := re.search(r"VmRSS:\s+(\d+)", _read(f"/proc/{pid}/status")):
            samples.append(int(found[1]) / 1024)
        time.sleep(every_s)
    return samples


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def told(samples: list[float]) -> str:
    """Return samples in words: at some moments, and the most."""
    at = [samples[min(len(samples) - 1, len(samples) * tenth // 10)] for tenth in (2, 4, 6, 8)]
    return f"{', '.join(f'{mb:.0f}' for mb in at)} MB at 20, 40, 60, 80 % of the time, at most {max(samples):.0f}"


def bare(folder: Path, trials: int) -> None:
    """Tell what pytest's own items take."""
    (folder / "test_bare.py").write_text(BARE.format(trials=trials))
    begin = time.monotonic()
    process = _pytest(folder, "test_bare.py", "-p", "no:pytest_rltask.plugin")
    samples = watched(process, process.pid, every_s=0.2)
    print(f"pytest alone, {trials:,} empty items: {time.monotonic() - begin:.0f} s, {told(samples)}", flush=True)


def played(folder: Path, trials: int) -> None:
    """Play on a cluster, and tell how much memory the driver takes meanwhile."""
    (folder / "test_add.py").write_text(STUB)
    with Cluster(4, environment={"PYTHONPATH": str(ROOT)}) as cluster:
        command = pytest_command("test_add.py", f"--runs={trials}", "--model=policy:baseline", "--engine=ray")
        begin = time.monotonic()
        driver = cluster.start(command, cwd=folder, env={"PYTHONPATH": str(ROOT)})
        samples = watched(driver, driver.pid)
        said = cluster.said(driver)
    cpu = re.search(r"^cpu ([\d.]+)", said, re.MULTILINE)
    assert cpu, said
    print(f"driver of {trials:,} trials on four nodes: {time.monotonic() - begin:.0f} s, {told(samples)}")
    print(f"    CPU of the driver, all included: {float(cpu[1]) / trials * 1000:.2f} ms a trial", flush=True)


def filled(folder: Path, trials: int) -> Path:
    """Return a run directory that lacks a few of its records: begun by pytest, the other lines written here."""
    (folder / "test_add.py").write_text(STUB)
    begin = time.monotonic()
    process = _pytest(folder, "test_add.py", f"--runs={trials}", "--model=policy:baseline", "--log-dir=long")
    while not (found := _judged(folder)):
        assert process.poll() is None
        time.sleep(0.2)
    print(f"first record of {trials:,} planned trials after {time.monotonic() - begin:.0f} s", flush=True)
    process.send_signal(signal.SIGINT)
    process.wait()
    (run_dir,) = (folder / "long").glob("run_*")
    found = _judged(folder)
    like = next(iter(found.values()))
    begin, log = time.monotonic(), Lines(run_dir / "trials.filled.jsonl")
    for trial in [trial for trial in load_plan(run_dir) if trial.trial_id not in found][LEFT:]:
        log.append(_line({"type": "started", "trial_id": trial.trial_id, "at": like["started"]}), durable=False)
        log.append(_line({**like, "trial_id": trial.trial_id, "run": trial.run, "seed": trial.seed}), durable=True)
    size = sum(file.stat().st_size for file in run_dir.glob("trials.*"))
    print(f"run log: {time.monotonic() - begin:.0f} s for all records, one fsync each; {size / 1e6:.0f} MB", flush=True)
    return run_dir


def _line(entry: dict[str, object]) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def _judged(folder: Path) -> dict[str, dict[str, object]]:
    found = {}
    for file in folder.glob("long/run_*/trials.main.jsonl"):
        for line in file.read_bytes().splitlines():
            if line.startswith(b'{"type": "trial"'):
                entry = json.loads(line)
                found[entry["trial_id"]] = entry
    return found


def resumed(folder: Path, run_dir: Path, trials: int) -> None:
    """Resume, and tell how long it takes to the first trial, to the last, and for the report."""
    lines = run_dir / "trials.main.jsonl"
    before, begin = lines.stat().st_size, time.monotonic()
    process = _pytest(
        folder, "test_add.py", f"--runs={trials}", "--model=policy:baseline", f"--resume={run_dir}", "--log-dir=long"
    )
    first_s, samples = 0.0, []
    while process.poll() is None:
        if not first_s and lines.stat().st_size > before:
            first_s = time.monotonic() - begin
        if found := re.search(r"VmRSS:\s+(\d+)", _read(f"/proc/{process.pid}/status")):
            samples.append(int(found[1]) / 1024)
        time.sleep(0.2)
    ended_s, said = time.monotonic() - begin, process.stdout.read() if process.stdout else ""
    assert process.returncode in (0, 1), said
    report = run_dir / "report.html"
    print(
        f"resume of {trials:,} trials, {LEFT} left: the first begins after {first_s:.0f} s; {ended_s:.0f} s with all "
        f"items and the report; {told(samples)}; report.html {report.stat().st_size / 1e6:.1f} MB"
    )
    code = (
        "import resource, sys, time; from pathlib import Path; from pytest_rltask.report.files import report_on\n"
        "begin = time.perf_counter(); report_on(Path(sys.argv[1]), 'point', stop_early=False)\n"
        "print(f'{time.perf_counter() - begin:.0f} s, at most', resource.getrusage(0).ru_maxrss // 1024, 'MB')"
    )
    made = subprocess.run([sys.executable, "-c", code, str(run_dir)], capture_output=True, text=True, check=True)
    print(f"its report alone, in a process of its own: {made.stdout.strip()}", flush=True)


def _pytest(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = pytest_command(*arguments)
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE if "--resume" in " ".join(arguments) else subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100_000, help="of the run that is resumed")
    parser.add_argument("--played", type=int, default=20_000, help="of the run on a cluster; 0: none")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="long-") as name:
        folder = Path(name)
        if options.played and (why := why_no_cluster()):
            print(f"no cluster: {why}")
        elif options.played:
            bare(folder, options.played)
            played(folder, options.played)
        if options.trials:
            bare(folder, options.trials)
            resumed(folder, filled(folder, options.trials), options.trials)


if __name__ == "__main__":
    os.nice(5)
    main()
