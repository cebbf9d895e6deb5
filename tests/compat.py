"""The plugin's own tests on each Python, with the lowest versions, and beside plugins of others: `make compat`.

Each row of the table below is an environment of its own, made by uv. The tests of the shipped tasks are not played in
them: they need torch, and `make test` has them. A Python that this machine does not have is told in words at the end.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS_FAILED = 1
"""The exit status of a pytest whose tests all were played, some of which failed."""
HONEST = "--ignore=tests/sandbox/test_honest.py"
TESTS = ("tests", "--ignore=tests/benchmarks", HONEST, "-m", "not slow", "-k", "not xdist")
"""All but those of the tasks, those that take long, what honest programs do, and what two workers play once more."""


def _without(*names: str) -> tuple[str, ...]:
    return tuple(f"--ignore=tests/{name}" for name in names)


OF_OTHERS = _without("analysis", "commands", "export", "media", "report", "sandbox")
"""What no library that a user may have in another version takes part in."""
ON_EITHER_SIDE = _without("claude", "judges", "plugin", "sandbox", "suite")
"""What is pytest's and the API's, played on the versions on either side of this one alone."""
OURS_ALONE = _without("analysis", "commands", "export", "media", "report")
"""What is arithmetic and text of our own, played on two Pythons already."""
OF_THE_KERNEL = _without("sandbox/attacks", "sandbox/containers", "sandbox/test_honest_commands.py")
"""What kernel, containers and bash decide, whatever Python asks them: `.ci/run` plays it as root and as a user."""
ON_A_CLUSTER = (
    *("tests/engines/test_ray_engine.py", "tests/engines/test_travel.py"),
    *("-k", "policies or hosts or once or copy"),
)
"""What plays on nodes within a minute or two. The rest is played where Ray is installed: `make bench-ray` does that."""
SUITE = "tests/plugin/test_foreign_suite.py"
"""A suite under many plugins at once."""
FOREIGN = tuple(sorted({str(path.relative_to(ROOT)) for path in ROOT.glob("tests/plugin/test_foreign_*.py")} - {SUITE}))
"""What one plugin or library does to trials in flight; it is skipped where that is not installed."""


@dataclass(frozen=True)
class Environment:
    """A Python, what is installed for it, and what is played there."""

    name: str
    python: str
    lowest: bool = False
    """Whether what is named comes in the lowest version that is accepted, else as the constraints say."""
    pinned: bool = True
    """Whether the constraints count: what is there for the tasks does not go together with everything."""
    requirements: tuple[str, ...] = ("tests/requirements.txt",)
    extras: tuple[str, ...] = ()
    """Of the plugin's own."""
    alone: tuple[str, ...] = ()
    """Packages without what they need, of which a module is used that needs little of it."""
    tests: tuple[str, ...] = TESTS


ENVIRONMENTS = (
    Environment("lowest", "3.11", lowest=True, tests=(*TESTS, *OF_OTHERS)),
    Environment("python3.12", "3.12", tests=(*TESTS, *ON_EITHER_SIDE)),
    Environment("python3.13", "3.13", tests=(*TESTS, *OURS_ALONE, *OF_THE_KERNEL)),
    Environment(
        "plugins",
        "3.11",
        requirements=("tests/requirements.txt", "tests/plugins.txt"),
        tests=(SUITE, "-p", "no:randomly", "-o", "asyncio_default_fixture_loop_scope=function"),
    ),
    Environment(
        "fast",
        "3.11",
        requirements=("tests/requirements.txt", "tests/fast.txt"),
        tests=("tests/claude", "-m", "not slow"),
    ),
    Environment("ray", "3.12", extras=("ray",), tests=(*ON_A_CLUSTER, "-m", "slow or not slow")),
    Environment("beside", "3.11", requirements=("tests/requirements.txt", "tests/beside.txt"), tests=FOREIGN),
    Environment(
        "readers",
        "3.13",
        pinned=False,
        requirements=("tests/requirements.txt", "tests/readers.txt"),
        extras=("inspect",),
        alone=("harbor==0.26.0", "trl==1.16.0"),
        tests=("tests/export/test_foreign_readers.py",),
    ),
)


def find_python(version: str) -> str | None:
    """Return the program of a version of Python: on PATH, or where pyenv keeps those that are not."""
    return next((path for path in _candidates(version) if _version(path) == version), None)


def _candidates(version: str) -> Iterator[str]:
    for name in (f"python{version}", "python3"):
        if path := shutil.which(name):
            yield path
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(root.glob(f"versions/{version}.*/bin/python")))


def _version(program: str) -> str:
    """Ask it: a program of pyenv's may be there without its Python."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    return subprocess.run([program, "-c", code], capture_output=True, text=True, check=False).stdout.strip()


@dataclass(frozen=True)
class Compat:
    """Where environments are made, and where results go."""

    folder: Path
    constraints: str
    reports: str

    def make(self, environment: Environment) -> str:
        """Make an environment, and return why its tests cannot be played; empty if they can."""
        python = find_python(environment.python)
        if python is None:
            return f"NOT PLAYED: there is no Python {environment.python} on this machine"
        return "" if self._install(environment, python) else "FAILED: its packages could not be installed"

    def play(self, environment: Environment, made: Future[str]) -> str:
        """Play the tests of an environment as soon as it is made, and return what became of it."""
        began = time.monotonic()
        if problem := made.result():
            return problem
        status = self._test(environment)
        minutes = (time.monotonic() - began) / 60
        return f"{'passed' if status == 0 else f'FAILED with exit status {status}'} in {minutes:.1f} minutes"

    def _python(self, environment: Environment) -> str:
        return str(self.folder / environment.name / "bin" / "python")

    def _install(self, environment: Environment, python: str) -> bool:
        words = ["--no-build"]  # the lowest version that there is a wheel of
        if environment.lowest:
            words += ["--resolution", "lowest-direct"]
        elif self.constraints and environment.pinned:
            words += ["--constraints", self.constraints]
        for requirements in ("pyproject.toml", *environment.requirements):
            words += ["--requirements", requirements]
        words += [word for extra in environment.extras for word in ("--extra", extra)]
        install = ("pip", "install", "--python", self._python(environment))
        return (
            self._uv("venv", "--clear", "--python", python, str(self.folder / environment.name))
            and self._uv(*install, *words)
            and self._uv(*install, "--no-deps", *environment.alone, "--editable", ".")
        )

    def _uv(self, *words: str) -> bool:
        """Run uv; it keeps its cache with the environments, and downloads no Python."""
        own = {"UV_CACHE_DIR": str(self.folder / "cache"), "UV_PYTHON_DOWNLOADS": "never", "UV_LINK_MODE": "copy"}
        command = [str(self.folder / "uv" / "bin" / "uv"), "--quiet", *words]
        return subprocess.run(command, cwd=ROOT, env=os.environ | own, check=False).returncode == 0

    def _test(self, environment: Environment) -> int:
        """Play its tests, and what fails once more by itself; return the exit status."""
        remembered = ("-o", f"cache_dir={self.folder / environment.name / 'cache'}")
        command = [self._python(environment), "-m", "pytest", *environment.tests, *remembered]
        status = self._pytest([*command, "-n", "2"], f"compat-{environment.name}")
        if status == TESTS_FAILED:
            last_failed = ("--last-failed", "--last-failed-no-failures=none")
            status = self._pytest([*command, *last_failed], f"compat-{environment.name}~again")
        return status

    def _pytest(self, command: list[str], report: str) -> int:
        if self.reports:
            command = [*command, f"--junitxml={self.reports}/{report}.xml"]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


def main() -> int:
    """Play the environments that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(each.name for each in ENVIRONMENTS))
    parser.add_argument("--folder", type=Path, required=True, help="where uv is, and environments are to be made")
    parser.add_argument("--constraints", default="", help="a file of versions; without one, the newest are taken")
    parser.add_argument("--reports", default="", help="where JUnit XML goes")
    options = parser.parse_args()

    compat = Compat(options.folder.resolve(), options.constraints, options.reports)
    wanted = [each for each in ENVIRONMENTS if not options.names or each.name in options.names]
    became = {}
    with ThreadPoolExecutor(1) as ahead:  # while tests are played, the next environment is downloaded
        made = [ahead.submit(compat.make, environment) for environment in wanted]
        try:
            for environment, future in zip(wanted, made, strict=True):
                print(f"compat: {environment.name}", flush=True)
                became[environment.name] = compat.play(environment, future)
        finally:
            ahead.shutdown(cancel_futures=True)
    for name, result in became.items():
        print(f"compat: {name}: {result}")
    return 1 if any(result.startswith("FAILED") for result in became.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
