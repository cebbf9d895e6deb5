"""Would the tests notice a wrong operator? Changes one at a time, and shows those that no test of its module notices.

Run as `make mutants`. ``mutating`` makes the mutants: one operator, constant, condition, loop or return value differs.
Of each module of ``mutants_table`` a seeded sample is taken, and each mutant is played against the tests of its module,
up to the first red one; a mutant that hangs is noticed too. All that happens in copies of the tree. A mutant that
changes nothing anybody could see stands in the table with the reason, and is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.bench.mutants_table import EQUAL, MODULES, Module
from tests.bench.mutating import Mutant, mutants

ROOT = Path(__file__).parents[2]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv*", ".*_cache", ".hypothesis", "logs", "build", "dist")
GOAL = 0.95
"""Share of the mutants that have to be killed."""
MEMORY_KB = 6_000_000
"""What a mutant without end may take."""


def is_red(tree: Path, python: str, tests: Sequence[str], timeout_s: float | None) -> bool:
    """Say whether a tree's tests notice something: one fails, or they do not end."""
    options = ["-x", "-q", "--tb=no", "-m", "not slow", "-p", "no:cacheprovider", "--basetemp", f"{tree.parent}/tests"]
    limited = ["sh", "-c", f'ulimit -v {MEMORY_KB}; exec "$@"', "sh", python, "-m", "pytest", *tests, *options]
    given = {"PYTHONPATH": str(tree), "TMPDIR": str(tree.parent)}
    process = subprocess.Popen(
        limited,
        cwd=tree,
        env=os.environ | given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(timeout_s) != 0
    except subprocess.TimeoutExpired:
        return True
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_killed(mutant: Mutant, tree: Path, python: str, timeout_s: float) -> bool:
    """Play a mutant's tests in a tree, which is then as it was."""
    path = tree / mutant.module.path
    source, as_it_was = path.read_bytes(), path.stat()
    try:
        _forget_compiled(path)
        path.write_text(mutant.code, encoding="utf-8")
        return is_red(tree, python, tests_of(mutant.module, tree), timeout_s)
    finally:
        path.write_bytes(source)
        os.utime(path, ns=(as_it_was.st_atime_ns, as_it_was.st_mtime_ns))
        _forget_compiled(path)


def _forget_compiled(path: Path) -> None:
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        compiled.unlink()  # it is told from its source by size and second alone


def tests_of(module: Module, tree: Path) -> list[str]:
    """Return the test files of a module, in the order of the table."""
    found = [file for pattern in module.tests for file in sorted(tree.glob(pattern))]
    return [str(file.relative_to(tree)) for file in dict.fromkeys(found)]


@contextlib.contextmanager
def copies(count: int) -> Iterator[queue.SimpleQueue[Path]]:
    """Copy the tree so many times."""
    folder = Path(tempfile.mkdtemp(prefix="mutants-"))
    trees: queue.SimpleQueue[Path] = queue.SimpleQueue()
    try:
        for number in range(count):
            tree = folder / str(number) / "tree"
            shutil.copytree(ROOT, tree, symlinks=True, ignore=LEFT_OUT)
            trees.put(tree)
        yield trees
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Result:
    """What became of the mutants of a module."""

    sample: list[Mutant]
    places: int
    """Where the module could be mutated."""
    alive: list[Mutant]
    took_s: float

    @property
    def equal(self) -> int:
        """Mutants that stand in the table."""
        return sum(is_equal(mutant) for mutant in self.sample)

    def __str__(self) -> str:
        killed = len(self.sample) - self.equal - len(self.alive)
        columns = (self.sample[0].module.path, self.places, len(self.sample), self.equal, killed, len(self.alive))
        return f"| {' | '.join(map(str, columns))} | {self.took_s:.0f} |"


def is_equal(mutant: Mutant) -> bool:
    """Say whether the table knows a mutant as one that nobody could notice."""
    return (mutant.old, mutant.new) in EQUAL.get(mutant.module.path, {})


def played(module: Module, trees: queue.SimpleQueue[Path], pool: Executor, options: argparse.Namespace) -> Result:
    """Play a sample of a module's mutants.

    Raises:
        ValueError: its tests are not green without any mutant.
    """
    begin = time.monotonic()
    sample, places = mutants(module, ROOT, each=options.each, seed=options.seed)
    tree = trees.get()
    tests, before = tests_of(module, tree), time.monotonic()
    if is_red(tree, options.python, tests, None):
        raise ValueError(f"the tests of {module.path} are not green as it is: {' '.join(tests)}")
    limit_s = 20 + 4 * (time.monotonic() - before)
    trees.put(tree)

    def is_alive(mutant: Mutant) -> bool:
        tree = trees.get()
        try:
            return not is_killed(mutant, tree, options.python, limit_s)
        finally:
            trees.put(tree)

    differing = [mutant for mutant in sample if not is_equal(mutant)]
    alive = [mutant for mutant, lives in zip(differing, pool.map(is_alive, differing), strict=True) if lives]
    return Result(sample, places, alive, time.monotonic() - begin)


def main() -> None:
    """Play a sample of mutants, and print those that are alive; it is an error if they are more than a twentieth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has the tests' requirements")
    parser.add_argument("--only", default="", help="the modules whose paths contain this")
    parser.add_argument("--each", type=int, default=25, help="mutants of a module, at most")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    parser.add_argument("--in-flight", type=int, default=2, help="mutants at a time")
    options = parser.parse_args()
    options.python = str(Path(options.python).absolute())
    begin, results = time.monotonic(), list[Result]()
    print("| module | places | mutants | equal | killed | alive | seconds |", flush=True)
    print("|---|---|---|---|---|---|---|", flush=True)
    with copies(options.in_flight) as trees, ThreadPoolExecutor(options.in_flight) as pool:
        for module in MODULES:
            if options.only in module.path:
                results.append(played(module, trees, pool, options))
                print(results[-1], flush=True)
    alive = [mutant for result in results for mutant in result.alive]
    print("\n", *alive, sep="\n")
    count = sum(len(result.sample) - result.equal for result in results)
    killed, minutes = count - len(alive), (time.monotonic() - begin) / 60
    print(
        f"\n{killed} of {count} mutants that differ are killed, {100 * killed / count:.1f} %, in {minutes:.0f} minutes"
    )
    sys.exit(killed < GOAL * count)


if __name__ == "__main__":
    main()
