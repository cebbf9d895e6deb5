"""Installs the plugin in each way that README shows, into an environment of its own, and plays README's task with it.

The wheel must hold the package and nothing else, and promise nothing that was not played.
"""

from __future__ import annotations

import email
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
PLAYED_ON = {"3.11", "3.12", "3.13"}
"""What `make compat` plays."""
EXTRAS = {"bedrock", "completion", "fast", "inspect", "ray", "vertex"}
"""What serves the package itself; what tasks and tests of the repository need is in no wheel, and so no extra."""
INSTALLS = re.compile(r"^\$ (pip .*pytest_rltask.*|pip install \.|pip install git\+.*)$", re.MULTILINE)


def check_wheel(path: Path) -> None:
    """Compare what a wheel holds and promises with what it should."""
    listed = subprocess.check_output(["git", "ls-files", "pytest_rltask"], cwd=ROOT, text=True).split()
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        (info,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
        assert {name for name in names if not name.startswith(info)} == set(listed), names
        metadata = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
        assert "pytest_rltask.plugin = pytest_rltask.plugin" in wheel.read(f"{info}/entry_points.txt").decode()
    classifiers = metadata.get_all("Classifier", [])
    assert set(re.findall(r"Python :: (3\.\d+)", "\n".join(classifiers))) == PLAYED_ON, classifiers
    assert [each for each in classifiers if each.startswith("Operating")] == ["Operating System :: POSIX :: Linux"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS, (
        "an extra is offered for what the wheel does not hold, or one is missing"
    )
    for needed in metadata.get_all("Requires-Dist", []):
        if extra := re.search(r"extra == .(\w+)", needed):
            assert "<" in needed.partition(";")[0], f"{needed} of the extra {extra[1]} has no upper bound"
    print(f"{path.name}: {len(listed)} files of the package, {len(metadata.get_all('Requires-Dist', []))} requirements")


def play(way: str, folder: Path) -> None:
    """Install by README's command in a clone, then play README's task in a folder of its own."""
    clone, home = folder / "clone", folder / "own"
    home.mkdir(parents=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    path = f"{folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    own = {"PATH": path, "PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def run(command: str, where: Path) -> None:
        print(f"$ {command}", flush=True)
        subprocess.run(["bash", "-c", command], cwd=where, env=os.environ | own, check=True)

    run(way.replace("pip ", "pip --quiet ").replace("<this repository>", clone.as_uri()), clone)
    for wheel in clone.glob("dist/*.whl"):
        check_wheel(wheel)
    (block,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (home / "test_number.py").write_text(block)
    run("pytest -q test_number.py --model policy:baseline", home)
    run("pytest -q test_number.py --audit", home)
    run("rltask list && rltask show last 0 --no-pager", home)
    run("rltask init hello && pytest -q tasks/hello --audit", home)


def main() -> None:
    """Play each way."""
    ways = INSTALLS.findall(README)
    assert len(ways) == 3, ways
    with tempfile.TemporaryDirectory() as folder:
        for number, way in enumerate(ways):
            play(way, Path(folder) / str(number))


if __name__ == "__main__":
    main()
