"""Does each defence matter? Removes one at a time, and shows which test or audit goes red.

Run as `make bench-defences`. Each defence of ``defences_table`` is a small edit of a copy of the tree, and the few
tests that are to notice. First all those tests must be green without any edit; then each removal must turn one red.
A probe that could harm the machine refuses to start where its layer is missing, and a backend that no longer isolates
is refused by its own trial run: both count as red. An edit whose text is no longer found exactly once is an error.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench.defences_table import DEFENCES, Defence

ROOT = Path(__file__).parents[2]
TREE = ("pytest_rltask", "benchmarks", "tests", "conftest.py", "pyproject.toml")
TIMEOUT_S = 120.0
BENCH_DATA = {"RLTASK_SECRET": "0" * 32}
"""As in the Makefile: audits see the same data on every machine."""
_RED = re.compile(r"^(?:FAILED|ERROR) \S*?::(.+?)(?: - .*)?$", re.MULTILINE)
_NO_DOCKER = "docker: (?:Cannot connect|docker is not installed)"  # so it is without any removal
_REFUSED = re.compile(rf"^SKIPPED .*?: no isolation works here \((?!{_NO_DOCKER})(.+?)\); ", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What a run of pytest said."""

    red: tuple[str, ...]
    """The tests that failed, or why a backend was refused."""
    ran: bool
    """Whether anything passed or failed."""
    problem: str = ""
    """Why it says nothing: a test that does not exist, say."""
    took_s: float = 0.0


def run_pytest(tree: Path, selection: Sequence[str], *options: str) -> Outcome:
    """Run tests or audits of a tree."""
    audit = ["--audit", "--seed", "120"] if selection[0].startswith("benchmarks/") else []
    basetemp = ["-p", "no:cacheprovider", "--basetemp", str(tree.parent / "basetemp")]
    command = [sys.executable, "-m", "pytest", *selection, *audit, "-q", "-rfEs", "--tb=no", *basetemp, *options]
    # Wide, so that no name in the summary is cut.
    given = {"PYTHONPATH": str(tree), "TMPDIR": str(tree.parent), "COLUMNS": "1000"} | BENCH_DATA
    environment = {name: value for name, value in os.environ.items() if name != "CI"} | given
    started = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:  # its sandboxes die with it
        return Outcome((f"did not end in {TIMEOUT_S:g} s",), ran=True, took_s=TIMEOUT_S)
    took_s = time.monotonic() - started
    red = tuple(
        dict.fromkeys([*_RED.findall(done.stdout), *(f"refused: {why}" for why in _REFUSED.findall(done.stdout))])
    )
    if done.returncode not in (0, 1):
        return Outcome((), ran=False, problem=f"exit {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")
    return Outcome(red, ran=bool(re.search(r"\d (passed|failed|error)", done.stdout)), took_s=took_s)


@contextlib.contextmanager
def copied(tree: Path) -> Iterator[Path]:
    """Copy a tree into a folder of /tmp that other users may enter, as agents with a user of their own must."""
    folder = Path(tempfile.mkdtemp(prefix="defences-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        copy = folder / "tree"
        copy.mkdir()
        for name in TREE:
            take = shutil.copytree if (tree / name).is_dir() else shutil.copy2
            take(tree / name, copy / name)
        yield copy
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove(defence: Defence, tree: Path) -> None:
    """Apply a defence's edits.

    Raises:
        ValueError: the tree holds one of the texts never, or more than once.
    """
    for name, old, new in defence.edits:
        path = tree / name
        text = path.read_text(encoding="utf-8")
        if (count := text.count(old)) != 1:
            raise ValueError(f"{defence.name}: {name} holds {old!r} {count} times, not once")
        path.write_text(text.replace(old, new), encoding="utf-8")
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink()  # it is told from its source by size and second alone


def removed(defence: Defence, tree: Path) -> Outcome:
    """Play a defence's tests without it."""
    with copied(tree) as copy:
        remove(defence, copy)
        return run_pytest(copy, defence.selection, "-n", "0")


def baseline(tree: Path, defences: Sequence[Defence]) -> list[Outcome]:
    """Play all tests without any removal, the audits apart."""
    selected = list(dict.fromkeys(test for defence in defences for test in defence.selection))
    audits = [test for test in selected if test.startswith("benchmarks/")]
    tests = [test for test in selected if test not in audits]
    return [run_pytest(tree, selection, "-n", "2") for selection in (tests, audits) if selection]


def main() -> None:
    """Remove each defence, and print what went red."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="the defences whose names contain this")
    parser.add_argument("--in-flight", type=int, default=2, help="removals at a time")
    arguments = parser.parse_args()
    defences = [defence for defence in DEFENCES if arguments.only in defence.name]
    started = time.monotonic()
    with copied(ROOT) as tree:
        for outcome in baseline(tree, defences):
            if outcome.problem or outcome.red:
                sys.exit(f"not green as it is: {outcome.problem or '; '.join(outcome.red)}")
        print(f"as it is: all green ({time.monotonic() - started:.0f} s)\n", flush=True)
        print("| defence | what goes red without it |\n|---|---|", flush=True)
        failed = 0
        with ThreadPoolExecutor(arguments.in_flight) as pool:
            for defence, outcome in zip(defences, pool.map(lambda one: removed(one, tree), defences), strict=True):
                told, is_shown = tell(outcome)
                failed += not is_shown
                print(f"| {defence.name} | {told}{f' ({defence.note})' if defence.note else ''} |", flush=True)
    print(f"\n{len(defences)} removals, {failed} without a red test, in {time.monotonic() - started:.0f} s")
    sys.exit(failed > 0)


def tell(outcome: Outcome) -> tuple[str, bool]:
    """Return what a removal showed, in words, and whether that is what it has to show."""
    if outcome.problem:
        return f"NOTHING RAN: {outcome.problem}", False
    if outcome.red:
        more = f" and {len(outcome.red) - 2} more" if len(outcome.red) > 2 else ""
        return "; ".join(outcome.red[:2]) + more, True
    if not outcome.ran:
        return "not shown on this machine: its tests are skipped", True
    return "NOTHING: ALL GREEN", False


if __name__ == "__main__":
    main()
