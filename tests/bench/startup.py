"""What does the installed plugin cost a suite that has no task? CPU time of pytest with it and with `-p no:` it.

Run as `make bench-startup`. Both variants alternate, so that a noisy machine hits both alike; the median of the
paired differences is what counts. It also lists which heavy libraries the plugin loaded: there must be none.

Then `pytest benchmarks`, from typing it to the first request at a Messages API on this machine, beside all that a bare
pytest takes for one empty test, and a Python that imports the SDK; in turns as well, in seconds of wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODEL = "claude-haiku-4-5-20251001"
FIRST_REQUEST_S = 1.5
PLUGIN = "pytest_rltask.plugin"
HEAVY = ("torch", "anthropic", "numpy", "pandas", "pydantic", "sklearn", "onnxruntime", "genai_prices", "asyncio")
SHOW_MODULES = """
import sys

def pytest_unconfigure(config):
    with open("modules.txt", "w") as file:
        file.write("\\n".join(sys.modules))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=30, help="measurements of each variant")
    pairs = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder)
        (suite / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
        measure(suite, with_plugin=True)  # fills the byte-code caches
        with_plugin, without = [], []
        for _ in range(pairs):
            with_plugin.append(measure(suite, with_plugin=True))
            without.append(measure(suite, with_plugin=False))
        first_request(suite)
        firsts = [(first_request(suite), bare_pytest(suite), bare_import(suite)) for _ in range(max(3, pairs // 3))]
        loaded = heavy_modules(suite)
    differences = [a - b for a, b in zip(with_plugin, without, strict=True)]
    print(f"CPU of pytest with the plugin:    {statistics.median(with_plugin) * 1000:6.1f} ms (median of {pairs})")
    print(f"CPU of pytest without the plugin: {statistics.median(without) * 1000:6.1f} ms")
    print(f"the plugin costs:                 {statistics.median(differences) * 1000:6.1f} ms (target: at most 30)")
    print(f"heavy libraries loaded by it:     {', '.join(loaded) or 'none'} (target: none)")
    first_s, pytest_s, sdk_s = (statistics.median(side) for side in zip(*firsts, strict=True))
    print(f"pytest benchmarks, to the first request: {first_s:.2f} s (target: at most {FIRST_REQUEST_S})")
    print(f"a bare pytest: {pytest_s:.2f} s, import anthropic: {sdk_s:.2f} s")


def first_request(folder: Path) -> float:
    """Return the seconds from the start of `pytest benchmarks` to the first request that a server is sent."""
    serving = [sys.executable, "-m", "tests.bench.light_api", "--turns", "1", "--latency", "0"]
    words = ["benchmarks", "--model", MODEL, "--runs", "1", "--log-dir", str(folder / "logs")]
    with subprocess.Popen(serving, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        named = {"ANTHROPIC_BASE_URL": server.stdout.readline().strip(), "ANTHROPIC_API_KEY": "none"}
        begin = time.monotonic()
        subprocess.run(_words(*words), cwd=ROOT, env=os.environ | named, capture_output=True, check=False)
        server.stdin.close()
        return float(json.load(server.stdout)["first_s"]) - begin


def bare_pytest(suite: Path) -> float:
    """Return the seconds that pytest takes for an empty test without the plugin."""
    begin = time.monotonic()
    _pytest(suite, "-p", f"no:{PLUGIN}")
    return time.monotonic() - begin


def bare_import(folder: Path) -> float:
    """Return the seconds that a Python takes which imports the SDK and ends."""
    begin = time.monotonic()
    subprocess.run([sys.executable, "-c", "import anthropic"], cwd=folder, check=True)
    return time.monotonic() - begin


def measure(suite: Path, *, with_plugin: bool) -> float:
    """Return the CPU seconds of one pytest run on the suite."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _pytest(suite, *([] if with_plugin else ["-p", f"no:{PLUGIN}"]))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def heavy_modules(suite: Path) -> list[str]:
    """Return the heavy libraries that are loaded with the plugin and not without."""
    (suite / "conftest.py").write_text(SHOW_MODULES)
    loaded = []
    for arguments in ([], ["-p", f"no:{PLUGIN}"]):
        _pytest(suite, *arguments)
        loaded.append(set((suite / "modules.txt").read_text().split()))
    return [name for name in HEAVY if name in loaded[0] - loaded[1]]


def _pytest(suite: Path, *arguments: str) -> None:
    # Other plugins of this environment would only add noise, to both sides alike.
    subprocess.run(_words(*arguments), cwd=suite, check=True, capture_output=True)


def _words(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments]


if __name__ == "__main__":
    main()
