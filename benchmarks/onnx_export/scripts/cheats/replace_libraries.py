# ruff: noqa: D100, T201
# mypy: ignore-errors
# Could the libraries that grade be replaced? Only asks: a file of its own is made and removed, none is touched.
import os
import sysconfig
from importlib.util import find_spec
from pathlib import Path

folders = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib", "stdlib", "scripts")}
for name in ("numpy", "onnxruntime", "pytest", "pytest_rltask", "benchmarks"):
    try:
        spec = find_spec(name)
    except ImportError:
        continue
    folders |= {Path(folder) for folder in (spec and spec.submodule_search_locations) or ()}
for folder in sorted(folders):
    probe = folder / f"rltask-probe-{os.getpid()}"
    try:
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        probe.unlink()
    except OSError:
        continue
    print(f"hole: {folder} can be written to")
