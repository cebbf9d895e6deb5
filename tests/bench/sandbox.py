"""What does isolation add to a call? Wall time of one script, run bare and in a sandbox of each kind.

Run as `make bench-sandbox`. Each round starts the same script in turn

bare      by `subprocess.run([sys.executable, script])`: no limits, no output cap, nothing killed;
none      by `Sandbox.run_python` with limits and hygiene only;
landlock, bwrap and
docker    by the same with isolation, where it works,

so that a busy machine hits all alike. Making and closing the sandbox counts; trying the backend out, which a process
does once, does not. Of `pass` the target is at most 80 ms above bare; of `import torch` the ratio is what counts.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pytest_rltask.sandbox import Sandbox, SandboxError, resolve_backend

SCRIPTS = {"pass": "pass", "import torch": "import torch"}
TARGET_MS = 80


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="runs of `pass` each way; a fifth of them import torch")
    rounds = parser.parse_args().rounds
    ways: dict[str, Callable[[str], None]] = {"bare": bare}
    for name in ("none", "landlock", "bwrap", "docker"):
        try:
            resolve_backend(name)
        except SandboxError as error:
            print(error)
        else:
            ways[name] = lambda code, name=name: sandboxed(code, name)
    for label, code in SCRIPTS.items():
        times = measure(ways, code, rounds if code == "pass" else max(1, rounds // 5))
        print(f"{label} (median of {len(times['bare'])}, in ms)")
        for name, taken in times.items():
            above = [one - base for one, base in zip(taken, times["bare"], strict=True)]
            ratio = statistics.median(one / base for one, base in zip(taken, times["bare"], strict=True))
            print(
                f"  {name:9}{1000 * statistics.median(taken):8.0f}   above bare {1000 * statistics.median(above):+6.0f}"
                f"   ratio {ratio:5.2f}   least {1000 * min(taken):6.0f}"
            )
    print(f"target: `pass` in a sandbox at most {TARGET_MS} ms above bare")


def measure(ways: dict[str, Callable[[str], None]], code: str, rounds: int) -> dict[str, list[float]]:
    """Return the seconds that each way took, round by round."""
    for way in ways.values():
        way(code)  # caches
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way(code)
            times[name].append(time.perf_counter() - begin)
    return times


def bare(code: str) -> None:
    """Run code as a person would."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "script.py").write_text(code)
        subprocess.run([sys.executable, "script.py"], cwd=folder, check=True, capture_output=True)


def sandboxed(code: str, backend: str) -> None:
    """Run code in a fresh sandbox."""
    with Sandbox(backend=backend) as sandbox:
        sandbox.write_file("script.py", code)
        assert sandbox.run_python("script.py").ok


if __name__ == "__main__":
    main()
