"""What does preloading gain? The time of a run that imports torch: cold, and forked from a preloaded interpreter.

Run as `make bench-preload`. Both variants alternate, so that a noisy machine hits both alike. It also measures the
memory that a preloaded interpreter holds while it waits, and how long it takes to start.
"""

from __future__ import annotations

import argparse
import statistics
import time

from pytest_rltask.sandbox import Sandbox, SandboxLimits
from pytest_rltask.sandbox.watcher import proc

SCRIPT = "import torch\nx = torch.randn(64, 64, requires_grad=True)\n(x @ x).sum().backward()\n"
LIMITS = SandboxLimits(wall_s=120)
MODULES = ("torch",)
TARGET = 3.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=8, help="runs of each variant")
    parser.add_argument("--sandbox", default="auto", help="the backend")
    arguments = parser.parse_args()
    with (
        Sandbox(LIMITS, backend=arguments.sandbox) as cold,
        Sandbox(LIMITS, backend=arguments.sandbox, preload=MODULES) as preloaded,
    ):
        run(cold)  # fills the caches
        started = time.perf_counter()
        run(preloaded)
        first_s = time.perf_counter() - started
        cold_s, preloaded_s = [], []
        for _ in range(arguments.runs):
            cold_s.append(run(cold))
            preloaded_s.append(run(preloaded))
        memory = held_by(preloaded)
    ratio = statistics.median(cold_s) / statistics.median(preloaded_s)
    print(f"sandbox: {cold.backend}; median of {arguments.runs} runs, and the fastest")
    print(f"a cold run that imports torch:   {statistics.median(cold_s):6.3f} s  {min(cold_s):6.3f} s")
    print(f"the first run when preloading:   {first_s:6.3f} s, with the start of the interpreter")
    print(f"each further one:                {statistics.median(preloaded_s):6.3f} s  {min(preloaded_s):6.3f} s")
    print(f"which is faster by a factor of   {ratio:6.1f}    (target: at least {TARGET:g})")
    print(f"memory of an interpreter:        {memory / 2**20:6.0f} MB, each shared page divided by who share it")


def run(sandbox: Sandbox) -> float:
    """Run the script, and return the seconds it took."""
    if "script.py" not in sandbox.files():
        sandbox.write_file("script.py", SCRIPT)
    started = time.perf_counter()
    result = sandbox.run_python("script.py")
    assert result.ok, result
    return time.perf_counter() - started


def held_by(sandbox: Sandbox) -> int:
    """Return the bytes that a sandbox's processes hold, its watcher included."""
    server = sandbox._runner.server
    assert server is not None
    watcher = server._watcher.process.popen.pid
    return sum(map(proc.memory_of, [watcher, *proc.descendants(watcher)]))


if __name__ == "__main__":
    main()
