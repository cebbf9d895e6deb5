"""What does the installed plugin cost a suite that has no task? CPU time of pytest with it and with `-p no:` it.

Run as `make bench-startup`. Both variants alternate, so that a noisy machine hits both alike; the median of the
paired differences is what counts. It also lists which heavy libraries the plugin loaded: there must be none.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

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
        loaded = heavy_modules(suite)
    differences = [a - b for a, b in zip(with_plugin, without, strict=True)]
    print(f"CPU of pytest with the plugin:    {statistics.median(with_plugin) * 1000:6.1f} ms (median of {pairs})")
    print(f"CPU of pytest without the plugin: {statistics.median(without) * 1000:6.1f} ms")
    print(f"the plugin costs:                 {statistics.median(differences) * 1000:6.1f} ms (target: at most 30)")
    print(f"heavy libraries loaded by it:     {', '.join(loaded) or 'none'} (target: none)")


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
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", *arguments]
    subprocess.run(command, cwd=suite, check=True, capture_output=True)


if __name__ == "__main__":
    main()
