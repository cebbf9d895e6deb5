"""What does isolation add to a call? Wall and CPU time of one command, run bare and in a sandbox of each kind.

Run as `make bench-sandbox`. Each round does the same in turn, so that a busy machine hits all alike:

bare      by `subprocess.run`: no limits, no output cap, nothing killed;
none      by a `Sandbox` with limits and hygiene only;
landlock, bwrap and
docker    by the same with isolation, where it works.

First whole sandboxes: making one, a first run of `pass` or `import torch`, and closing it; trying the backend out,
which a process does once, does not count. `--cpu` has their processor time instead, which a busy machine does not
change. Then 200 short commands in one sandbox that is there: `true` by `Sandbox.run`, `pass` by `Sandbox.run_python`,
and `true` in a persistent shell, each above the same as a bare process in the same round. Bars: below 66 ms above
bare for a command, 30 ms the goal; 10 ms for a shell's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pytest_rltask.sandbox import Sandbox, SandboxError, resolve_backend

SCRIPTS = {"pass": "pass", "import torch": "import torch"}
BACKENDS = ("none", "landlock", "bwrap", "docker")
FIRST_MS, COMMAND_MS, SHELL_MS = 80, 30, 10
Ways = dict[str, Callable[[], None]]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40, help="sandboxes each way; a fifth of them import torch")
    parser.add_argument("--commands", type=int, default=200, help="short commands each way")
    parser.add_argument("--cpu", action="store_true", help="print CPU time of whole sandboxes instead")
    options = parser.parse_args()
    clock: Callable[[], float] = _cpu_s if options.cpu else time.perf_counter
    backends = list(_working())
    for label, code in SCRIPTS.items():
        ways: Ways = {"bare": lambda code=code: bare(code)}  # type: ignore[misc]
        ways |= {name: lambda code=code, name=name: sandboxed(code, name) for name in backends}  # type: ignore[misc]
        count = options.rounds if code == "pass" else max(1, options.rounds // 5)
        _print(f"a sandbox for one script: {label}", measure(ways, count, clock), "bare")
    print(f"target: `pass` in a sandbox of its own at most {FIRST_MS} ms above bare\n")
    commands(backends, options.commands)


def commands(backends: list[str], count: int) -> None:
    """Measure short commands in sandboxes that are there."""
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        Path(folder, "script.py").write_text("pass")
        script = [sys.executable, "script.py"]
        true: Ways = {"bare true": lambda: _bare(["true"], folder)}
        python: Ways = {"bare pass": lambda: _bare(script, folder)}
        for name in backends:
            sandbox = stack.enter_context(Sandbox(backend=name))
            sandbox.write_file("script.py", "pass")
            shell = sandbox.shell()
            true |= {
                f"{name} run": lambda sandbox=sandbox: _ok(sandbox.run(["true"])),  # type: ignore[misc]
                f"{name} run str": lambda sandbox=sandbox: _ok(sandbox.run("true")),  # type: ignore[misc]
                f"{name} shell": lambda shell=shell: _ok(shell.run("true")),  # type: ignore[misc]
            }
            python[f"{name} run_python"] = lambda sandbox=sandbox: _ok(sandbox.run_python("script.py"))  # type: ignore[misc]
        _print("short commands in one sandbox: true", measure(true, count, time.perf_counter), "bare true")
        _print("scripts in one sandbox: pass", measure(python, max(1, count // 4), time.perf_counter), "bare pass")
    print(f"targets above bare: a command {COMMAND_MS} ms, a shell's {SHELL_MS} ms")


def measure(ways: Ways, rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Return the seconds that each way took, round by round."""
    for way in ways.values():
        way()  # caches
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = clock()
            way()
            times[name].append(clock() - begin)
    return times


def bare(code: str) -> None:
    """Run code as a person would."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "script.py").write_text(code)
        _bare([sys.executable, "script.py"], folder)


def sandboxed(code: str, backend: str) -> None:
    """Run code in a fresh sandbox."""
    with Sandbox(backend=backend) as sandbox:
        sandbox.write_file("script.py", code)
        _ok(sandbox.run_python("script.py"))


def _bare(command: list[str], folder: str) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def _ok(result: object) -> None:
    assert result.ok, result  # type: ignore[attr-defined]


def _cpu_s() -> float:
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _working() -> list[str]:
    found = []
    for name in BACKENDS:
        try:
            found.append(resolve_backend(name))
        except SandboxError as error:
            print(error)
    return found


def _print(title: str, times: dict[str, list[float]], base: str) -> None:
    print(f"{title} (median of {len(times[base])}, in ms)")
    for name, taken in times.items():
        pairs = list(zip(taken, times[base], strict=True))
        above = statistics.median(one - other for one, other in pairs)
        ratio = statistics.median(one / other for one, other in pairs if other) if any(times[base]) else float("nan")
        print(
            f"  {name:20}{1000 * statistics.median(taken):8.1f}   above bare {1000 * above:+7.1f}   ratio {ratio:5.2f}"
            f"   least {1000 * min(taken):7.1f}"
        )


if __name__ == "__main__":
    main()
