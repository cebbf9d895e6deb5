"""Plays the commands that the READMEs show, word for word, after `make bench` alone: no test extra is there yet.

Claude is a stand-in on this machine that only ever says a word, so that its trials are missed; the card payments are
drawn, in the format and of the size of the real ones. What is not played here is named below, with the reason; a
command of which nothing is known fails.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv" / "bin"
PAGES = ("README.md", "benchmarks/imbalance/README.md", "benchmarks/onnx_export/README.md")
ELSEWHERE = {
    "git clone <this repository> && cd pytest-rltask": "this is a clone",
    "make bench": "has been played",
    "pytest benchmarks --model policy:baseline --runs 10 --seed 120 -n 2": "is what make bench plays",
    "pytest benchmarks/onnx_export --model policy:baseline": "plays what make bench does, from another seed",
    "python -m benchmarks.imbalance.calibrate --seeds 20 --settings synthetic-0.03,synthetic-0.2,synthetic-0.01": (
        "takes ten minutes"
    ),
    "python -m benchmarks.imbalance.calibrate --portfolio --seed 30000 --settings synthetic-0.03": "takes ten minutes",
    "RLTASK_SECRET=00000000000000000000000000000000 python -m benchmarks.onnx_export.calibrate --seeds 100 --jobs 2": (
        "takes hours"
    ),
    "RLTASK_SECRET=00000000000000000000000000000000 python -m benchmarks.onnx_export.calibrate --portfolio --jobs 2": (
        "takes half an hour or more"
    ),
    "pip install git+<this repository>": "see install.py",
    "pip install .": "see install.py",
    "pip wheel --no-deps --wheel-dir dist . && pip install dist/pytest_rltask-*.whl": "see install.py",
    "pytest test_number.py --audit": "see install.py",
}
PLAYED = re.compile(r"(\.venv/bin/)?pytest |export ANTHROPIC_API_KEY=")
GATE = (0, 1)
"""A pass rate out of the band is no fault of the command."""


def commands() -> Iterator[str]:
    """Yield each command that the pages show, without its comment."""
    for page in PAGES:
        for block in re.findall(r"```console\n(.*?)```", (ROOT / page).read_text(), re.DOTALL):
            yield from (line.removeprefix("$ ").partition("#")[0].strip() for line in block.splitlines())


@contextlib.contextmanager
def claude() -> Iterator[str]:
    """Serve the Messages API, and give its address."""
    command = [str(BIN / "python"), "-m", "tests.bench.light_api", "--turns", "1", "--latency", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin
        assert server.stdout
        yield server.stdout.readline().strip()
        server.communicate()  # it ends with its input, and prints its journal


def card_payments(folder: str) -> None:
    """Draw the file that CREDITCARD_DATA_DIR is to have."""
    code = "import sys, pathlib; from tests.benchmarks.imbalance.fake_kaggle import creditcard_csv; "
    code += "pathlib.Path(sys.argv[1]).write_bytes(creditcard_csv(284_807, 492, 1081, seed=1))"
    subprocess.run([str(BIN / "python"), "-c", code, f"{folder}/creditcard.csv"], cwd=ROOT, check=True)


def play(command: str, environment: dict[str, str]) -> str:
    """Run a command at the root, and return what is wrong with how it ended."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    closing = next((line for line in reversed(done.stdout.splitlines()) if line.startswith("==")), "").strip("= ")
    print(f"    exit status {done.returncode}; {closing}", flush=True)
    if done.returncode not in GATE or "error" in closing or not closing:
        return f"{command}: exit status {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return ""


def main() -> int:
    """Play them all, and return 1 if one does not work."""
    faults = []
    with tempfile.TemporaryDirectory() as folder, claude() as address:
        card_payments(folder)
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "ANTHROPIC_BASE_URL": address, "CREDITCARD_DATA_DIR": folder}
        for command in dict.fromkeys(commands()):
            print(f"$ {command}", flush=True)
            if command in ELSEWHERE:
                print(f"    not played here: {ELSEWHERE[command]}")
            elif exported := re.fullmatch(r"export (\w+)=(.*)", command):
                environment[exported[1]] = shlex.split(exported[2])[0]
            elif PLAYED.match(command):
                began = time.monotonic()
                faults += filter(None, [play(command, environment)])
                print(f"    {time.monotonic() - began:.0f} s")
            else:
                faults.append(f"{command}: README shows a command that this script does not know")
    print("\n".join(faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
