"""Does anything leak, or any honest call fail, when many runs are under way and some of them are hostile?

Run as `make bench-storm`: 200 calls of run_python, 8 in flight, 20 of them hostile, with each backend that works here.
A tenth of that is a test. The hostile scripts attack only what the sandbox gave them; their bombs are bounded.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import dedent

from pytest_rltask.sandbox import Sandbox, SandboxError, SandboxLimits
from pytest_rltask.sandbox.choice import resolve
from pytest_rltask.sandbox.watcher import proc

MB = 2**20
MODULE = "decimal"
LIMITS = SandboxLimits(
    wall_s=120, memory_bytes=256 * MB, disk_bytes=16 * MB, disk_files=200, processes=32, open_files=64
)
HOSTILE_S = 3.0
CALLS_OF_A_SANDBOX = 5

HONEST = f"""
    import {MODULE}, os, subprocess, sys, tempfile
    with open(f"result-{{sys.argv[1]}}", "w") as file: file.write(str({MODULE}.Decimal(sys.argv[1]) ** 2))
    with tempfile.TemporaryFile() as file: file.write(os.urandom(2**16))
    assert subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, check=True).stdout == b"42\\n"
    print(open(f"result-{{sys.argv[1]}}").read())
"""
DEEDS = {
    "fork bomb": "for _ in range(300):\n    if os.fork() == 0: time.sleep(60); os._exit(0)\ntime.sleep(60)",
    "session bomb": "for _ in range(300):\n    if os.fork() == 0: os.setsid(); time.sleep(60); os._exit(0)",
    "daemon": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(60)\n    os._exit(0)",
    "memory": "m = mmap.mmap(-1, 400 * 2**20)\nfor i in range(0, len(m), 4096): m[i] = 1\ntime.sleep(60)",
    "flood": "while True: os.write(1, bytes(65536))",
    "suspend itself": "os.kill(os.getpid(), signal.SIGSTOP)",
    "suspend its parent": "os.kill(os.getppid(), signal.SIGSTOP); time.sleep(60)",
    "kill its group": "os.killpg(0, signal.SIGKILL)",
    "kill its parent": "os.kill(os.getppid(), signal.SIGKILL); time.sleep(60)",
    "descriptors": "files = []\nwhile True: files.append(os.dup(1))",
    "disk": "for i in range(64): open(str(i), 'wb').write(os.urandom(2**20))\ntime.sleep(60)",
    "depth": "for _ in range(500): os.mkdir('d'); os.chdir('d')\ntime.sleep(60)",
}
LAST = ("disk", "depth")
"""What leaves the sandbox over a limit, so that nothing can be run in it any more."""


@dataclass
class Told:
    """What a storm left behind, and what became of its calls."""

    honest: int = 0
    hostile: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    """The honest calls that failed."""
    processes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    descriptors: int = 0
    threads: int = 0
    memory: int = 0
    """Growth of this process in bytes."""
    seconds: float = 0.0


def storm(*, calls: int, hostile: int, in_flight: int, backend: str, warm_up: int = 80) -> Told:
    """Play the calls, a few of them in each sandbox and every other sandbox preloaded, and look what is left."""
    told, lock = Told(), threading.Lock()
    episodes = plan(calls, hostile)
    others = {str(pid) for pid in proc.descendants(os.getpid())}
    with private_folder() as folder, ThreadPoolExecutor(in_flight) as pool:
        list(pool.map(lambda episode: play(episode, backend, Told(), lock), plan(warm_up, warm_up // 10)))
        before = state()
        started = time.perf_counter()
        list(pool.map(lambda episode: play(episode, backend, told, lock), episodes))
        told.seconds = time.perf_counter() - started
        after = state()
        told.files = os.listdir(folder)
        told.processes = [pid for pid in left_in(folder) if pid not in others]
    told.descriptors, told.threads, told.memory = (b - a for a, b in zip(before, after, strict=True))
    return told


Episode = tuple[bool, list[str]]
"""Whether to preload, and the calls: a deed's name, or a number for an honest one."""


def plan(calls: int, hostile: int) -> list[Episode]:
    """Distribute the hostile calls over the sandboxes, each deed in turn, with and without preloading."""
    episodes: list[Episode] = []
    names = list(DEEDS)
    for i in range(calls // CALLS_OF_A_SANDBOX):
        plays = [str(CALLS_OF_A_SANDBOX * i + k) for k in range(CALLS_OF_A_SANDBOX)]
        if i < hostile:
            name = names[i % len(names)]
            plays[-1 if name in LAST else 2] = name
        episodes.append(((i + i // len(names)) % 2 == 0, plays))
    return episodes


def play(episode: Episode, backend: str, told: Told, lock: threading.Lock) -> None:
    """Make the calls of one sandbox."""
    preload, calls = episode
    with Sandbox(LIMITS, backend=backend, preload=(MODULE,) if preload else ()) as sandbox:
        for call in calls:
            if call in DEEDS:
                outcome = attack(sandbox, call)
                with lock:
                    told.hostile[outcome] += 1
                continue
            sandbox.write_file("honest.py", dedent(HONEST))
            try:
                result = sandbox.run_python("honest.py", call)
                problem = "" if result.stdout == f"{int(call) ** 2}\n" else str(result)
            except SandboxError as error:
                problem = repr(error)
            with lock:
                told.honest += 1
                told.failures += [f"{call} of {calls}, preload={preload}: {problem}"] if problem else []


def attack(sandbox: Sandbox, deed: str) -> str:
    """Run a hostile script, and say what ended it."""
    sandbox.write_file("hostile.py", f"import mmap, os, signal, time\n{DEEDS[deed]}\n")
    try:
        result = sandbox.run_python("hostile.py", wall_s=HOSTILE_S)
    except SandboxError:
        return f"{deed}: sandbox error"  # without isolation it can kill the watcher
    return f"{deed}: {result.status}" + (f" {result.exit_code}" if result.status == "exit" else "")


@contextmanager
def private_folder() -> Iterator[str]:
    """Have sandboxes made in a folder of their own."""
    ordinary = tempfile.tempdir
    folder = tempfile.mkdtemp(prefix="storm-")
    os.chmod(folder, 0o755)
    tempfile.tempdir = folder
    try:
        yield folder
    finally:
        tempfile.tempdir = ordinary
        shutil.rmtree(folder, ignore_errors=True)


def left_in(folder: str) -> list[str]:
    """Return the processes below this one, or with the folder in their environment."""
    found = [str(pid) for pid in proc.descendants(os.getpid())]
    for file in Path("/proc").glob("[0-9]*/environ"):
        try:
            if os.fsencode(folder) in file.read_bytes():
                found.append(file.parent.name)
        except OSError:
            continue  # it ended, or is somebody else's
    return found


def state() -> tuple[int, int, int]:
    """Return how many descriptors and threads this process has, and its resident memory."""
    gc.collect()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task")), resident


def working_backends() -> Sequence[str]:
    """Return the backends that work here."""
    working = []
    for name in ("bwrap", "landlock", "docker", "none"):
        try:
            working.append(resolve(name))
        except SandboxError as error:
            print(f"{name}: left out, since {error}")
    return working


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--hostile", type=int, default=20)
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--sandbox", action="append", help="a backend; by default each that works")
    arguments = parser.parse_args()
    for backend in arguments.sandbox or working_backends():
        told = storm(calls=arguments.calls, hostile=arguments.hostile, in_flight=arguments.in_flight, backend=backend)
        print(f"{backend}: {told.honest} honest and {told.hostile.total()} hostile calls in {told.seconds:.1f} s")
        print(f"  honest calls that failed: {len(told.failures)}", *told.failures, sep="\n    ")
        print(f"  left behind: processes {told.processes}, files {told.files}, descriptors {told.descriptors:+d}")
        print(f"  threads {told.threads:+d}, memory {told.memory / MB:+.2f} MB (target: less than 1)")
        print("  hostile calls:", ", ".join(f"{name} ({count})" for name, count in sorted(told.hostile.items())))


if __name__ == "__main__":
    main()
