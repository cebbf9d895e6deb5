"""Does another CPU move a trial over the line? The baseline on several CPU capabilities, each proved from inside.

Run as `make bench-capabilities` (20 minutes or more). It plays `make bench` once for each of :data:`VARIANTS`: all
trials must end alike, and the smallest distance from the thresholds is shown on either side. What a variant sets counts
in two places: in pytest and its workers, where data are drawn and the task imbalance computes, and inside the
sandboxes, whose environment is built from nothing. For the latter this module is a plugin:

    python -m pytest benchmarks -p tests.bench.capability --inside ATEN_CPU_CAPABILITY=default --model policy:baseline

Its header says what the libraries make of the variables, in either place.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.onnx_export.grader import PRINT_TOLERANCE
from benchmarks.onnx_export.task import OnnxExport
from pytest_rltask.run.load import load_run
from pytest_rltask.run.record import Record

ROOT = Path(__file__).parents[2]
PROOF = """
import json, os
import torch
from threadpoolctl import threadpool_info

blas = {info["architecture"] for info in threadpool_info() if info["internal_api"] == "openblas"}
said = {"torch": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
print(json.dumps(said | {"OpenBLAS": ", ".join(sorted(blas)), "cores": len(os.sched_getaffinity(0))}))
"""
_PROVED = re.compile(r"^(outside|inside) \((\w+)\): (\{.*\})$", re.MULTILINE)


@dataclass(frozen=True)
class Variant:
    """A machine to pretend."""

    name: str
    outside: Mapping[str, str] = field(default_factory=dict)
    """Variables of pytest and its workers."""
    inside: Mapping[str, str] = field(default_factory=dict)
    """Variables of sandboxed code; the number of threads is fixed there."""
    prefix: tuple[str, ...] = ()
    """What the command begins with."""
    capability: str = ""
    """What torch must call it, in both places; empty: anything."""
    threads: int = 0
    """How many torch must have outside; 0: any number."""


AVX2 = {"ATEN_CPU_CAPABILITY": "avx2"}
DEFAULT = {"ATEN_CPU_CAPABILITY": "default"}
OLDEST = DEFAULT | {"OPENBLAS_CORETYPE": "Prescott", "MKL_CBWR": "COMPATIBLE"}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
VARIANTS = (
    Variant("native"),
    Variant("avx2", AVX2, AVX2, capability="AVX2"),
    Variant("default", DEFAULT, DEFAULT, capability="DEFAULT"),
    Variant("oldest", OLDEST, OLDEST, capability="DEFAULT"),  # OpenBLAS and MKL without newer instructions as well
    Variant("1 thread", dict.fromkeys(THREADS, "1"), threads=1),
    # Unless told not to, MKL takes no more threads than there are cores; OpenBLAS never does.
    Variant("4 threads", dict.fromkeys(THREADS, "4") | {"MKL_DYNAMIC": "FALSE"}, threads=4),
    Variant("1 core", prefix=("taskset", "-c", "0")),
)


def margin(record: Record) -> float:
    """Return by how much a trial passes, or fails if negative, in the task's own measure; -inf if by what it lacks.

    It fails by the demand that it misses most, and passes by the one that it meets least.
    """
    metrics = record.metrics
    if record.label in ("no model.onnx", "export rejected", "accuracies not printed", "never started"):
        return -math.inf
    if "test_accuracy" not in metrics:
        assert record.score is not None
        assert record.threshold is not None
        return record.score - record.threshold
    task = OnnxExport()
    reached = min(metrics["test_accuracy"] - task.min_accuracy, metrics["fresh_accuracy"] - task.min_unseen_accuracy)
    right = PRINT_TOLERANCE - max(
        abs(metrics[f"printed_{name}_accuracy"] - metrics[f"{name}_accuracy"]) for name in ("train", "test")
    )
    return float(min(reached, right) if right < PRINT_TOLERANCE / 2 else reached)


# As a plugin


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--inside``."""
    parser.addoption("--inside", action="append", default=[], metavar="NAME=VALUE", help="set it inside sandboxes")


def pytest_configure(config: pytest.Config) -> None:
    """Add variables to the environment of the sandboxes of this process; workers of ``-n`` do the same."""
    from pytest_rltask.sandbox import environment

    added = dict(given.split("=", 1) for given in config.getoption("inside"))
    plain = environment._of_all
    environment._of_all = lambda scratch, python: plain(scratch, python) | added
    config.add_cleanup(lambda: setattr(environment, "_of_all", plain))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Prove what is computed with, outside and inside."""
    from pytest_rltask import Sandbox

    done = subprocess.run([sys.executable, "-c", PROOF], capture_output=True, text=True, check=True)
    with Sandbox(backend=config.getoption("rltask_sandbox")) as box:
        box.write_file("proof.py", PROOF)
        result = box.run_python("proof.py")
        assert result.ok, result
        return [f"outside (pytest): {done.stdout.strip()}", f"inside ({box.backend}): {result.stdout.strip()}"]


# As a program


@dataclass(frozen=True)
class Played:
    """What a variant came to."""

    status: int
    """Exit status of pytest."""
    proof: Mapping[str, Mapping[str, object]]
    """What computes outside and inside."""
    records: Mapping[str, Record]
    """By trial."""


def main() -> None:
    """Play and compare; exit with 1 if a trial ends otherwise or a capability is not what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--variants", default=",".join(variant.name for variant in VARIANTS), help="(%(default)s)")
    parser.add_argument("--seed", required=True, help="of the first run")
    parser.add_argument("--runs", default="10", help="of each task (%(default)s)")
    parser.add_argument("--sandbox", default="auto", help="(%(default)s)")
    options = parser.parse_args()
    wanted = [variant for variant in VARIANTS if variant.name in options.variants.split(",")]
    played: dict[str, Played] = {}
    problems = []
    for variant in wanted:
        if variant.prefix and not shutil.which(variant.prefix[0]):
            print(f"{variant.name}: left out, since there is no {variant.prefix[0]}")
            continue
        ended = played[variant.name] = play(variant, options)
        print(f"{variant.name}: exit status {ended.status}")
        for where, said in ended.proof.items():
            print(f"  {where}: {json.dumps(said)}")
            if variant.capability not in ("", said["torch"]):
                problems.append(f"{variant.name}: {where}, torch computes by {said['torch']}")
            if where.startswith("outside") and variant.threads not in (0, said["threads"]):
                problems.append(f"{variant.name}: {where}, torch has {said['threads']} threads")
        problems += [f"{variant.name}: exit status {ended.status}"] if ended.status else []
        problems += [f"{variant.name}: {line}" for line in differences(played[wanted[0].name], ended)]
    print("\n" + "\n".join(table(played)))
    print("\n" + ("\n".join(problems) or "all trials end alike"))
    sys.exit(bool(problems))


def play(variant: Variant, options: argparse.Namespace) -> Played:
    """Play the baseline as `make bench` does."""
    inside = [f"--inside={name}={value}" for name, value in variant.inside.items()]
    with tempfile.TemporaryDirectory() as folder:
        command = [*variant.prefix, sys.executable, "-m", "pytest", "benchmarks", "-p", "tests.bench.capability"]
        command += [*inside, "--model", "policy:baseline", "--runs", options.runs, "--seed", options.seed, "-n", "2"]
        command += ["--sandbox", options.sandbox, "--log-dir", folder]
        environment = os.environ | {"RLTASK_SECRET": "0" * 32} | variant.outside
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        proof = {f"{where} ({name})": json.loads(said) for where, name, said in _PROVED.findall(done.stdout)}
        (run_dir, *_) = [*Path(folder).glob("run_*"), None]
        if len(proof) < 2 or run_dir is None:
            sys.exit(done.stdout + done.stderr)
        return Played(done.returncode, proof, load_run(run_dir).records)


def differences(first: Played, other: Played) -> list[str]:
    """Name the trials that ended otherwise."""
    pairs = [(name, first.records.get(name), record) for name, record in other.records.items()]
    return [
        f"{name}: {before and _ending(before)} at first, now {_ending(now)}"
        for name, before, now in pairs
        if before is None or _ending(before) != _ending(now)
    ]


def table(played: Mapping[str, Played]) -> list[str]:
    """Return a line a trial with its margin in each variant, and the smallest ones of each task."""
    first = next(iter(played.values()))
    lines = [_line("trial", played, "ended")]
    for name, record in sorted(first.records.items()):
        found = [margin(ended.records[name]) for ended in played.values()]
        lines.append(_line(name.rpartition("::")[2], map(_shown, found), _ending(record)))
    for task in sorted({record.task for record in first.records.values()}):
        for outcome in ("passed", "failed"):
            least = [
                _shown(
                    closest(
                        record for record in ended.records.values() if (record.task, record.outcome) == (task, outcome)
                    )
                )
                for ended in played.values()
            ]
            lines.append(_line(f"{task}, closest that {outcome}", least, ""))
    return lines


def closest(records: Iterable[Record]) -> float:
    """Return the margin that is closest to 0."""
    return min(map(margin, records), key=abs, default=-math.inf)


def _ending(record: Record) -> str:
    return record.outcome if record.outcome == "passed" else f"{record.outcome}: {record.label}"


def _shown(value: float) -> str:
    return f"{value:+.4f}" if math.isfinite(value) else "-"


def _line(name: str, cells: Iterable[str], ending: str) -> str:
    return f"{name:45}" + "".join(f"{cell:>10}" for cell in cells) + f"  {ending}"


if __name__ == "__main__":
    main()
