"""What agents' code may import: whatever this interpreter imports, wherever it lies, but nobody's sources."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_rltask.sandbox import SandboxError, resolve_backend

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the backends are Linux's")

PYTEST = """
import json, sys
from pytest_rltask.sandbox import Sandbox, SandboxError, using_backend
backend, sources, code = json.loads(sys.argv[1])
try:
    with using_backend(backend, sources=sources), Sandbox(preload=["decimal"]) as sandbox:
        sandbox.write_file("script.py", code)
        result = sandbox.run_python("script.py")
        print(json.dumps({"stdout": result.stdout, "stderr": result.stderr}))
except SandboxError as error:
    print(json.dumps({"stdout": "", "stderr": str(error)}))
"""


@pytest.fixture(params=["bwrap", "landlock"])
def backend(request: pytest.FixtureRequest) -> str:
    try:
        return resolve_backend(request.param)
    except SandboxError as error:
        pytest.skip(str(error))


@dataclass
class User:
    """Somebody with a home, an environment laid over ours as ``uv run --with`` does it, and a project."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def project(self) -> Path:
        return self.home / "project"

    @property
    def packages(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self.home / "overlay" / "lib" / version / "site-packages"

    def add(self, path: Path, content: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def sandboxed(self, backend: str, code: str, *, sources: list[str] | None = None, cwd: str = "project") -> Any:
        """Run code in a sandbox that a process in this environment makes; return its output."""
        said = subprocess.run(
            [self.home / "overlay" / "bin" / "python", "-c", PYTEST, json.dumps([backend, sources or [], code])],
            cwd=self.home / cwd,
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), **self.variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.returncode == 0, said.stderr
        return json.loads(said.stdout)


@pytest.fixture
def user(tmp_path: Path) -> User:
    user = User(tmp_path / "home")
    venv.create(user.home / "overlay", symlinks=True, system_site_packages=True)
    user.add(user.project / "pyproject.toml", "")
    user.add(user.packages / "_overlay.pth", f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    user.add(user.packages / "_rltask.pth", str(Path(__file__).parents[3]))
    user.add(user.packages / "extra.py", "WHERE = 'overlay'")
    return user


def test_an_environment_laid_over_another_gives_the_packages_of_both(user: User, backend: str) -> None:
    said = user.sandboxed(backend, "import extra, pluggy, iniconfig; print(extra.WHERE)")

    assert said == {"stdout": "overlay\n", "stderr": ""}


def test_a_suite_installed_below_an_overlay_hides_itself_and_not_the_packages_beside_it(
    user: User, backend: str
) -> None:
    """As ``uv run --with`` does it where the project's environment holds pytest-rltask."""
    below = user.home / "project" / ".venv" / "lib" / "python" / "site-packages"
    task = user.add(below / "suite" / "task.py", "SECRET = 7")
    user.add(below / "beside.py", "WHERE = 'beside'")
    user.add(user.packages / "_below.pth", f"import site; site.addsitedir({str(below)!r})\n")

    code = f"import beside; print(beside.WHERE)\ntry: open({str(task)!r})\nexcept OSError: print('hidden')"
    said = user.sandboxed(backend, code, sources=[str(task)])

    assert said == {"stdout": "beside\nhidden\n", "stderr": ""}


def test_folders_of_the_python_path_and_of_the_user_are_there_too(user: User, backend: str) -> None:
    user.add(user.home / "libs" / "mine.py", "WHERE = 'PYTHONPATH'")
    user.add(user.home / ".local" / "/".join(user.packages.parts[-3:]) / "personal.py", "WHERE = 'user'")
    user.variables["PYTHONPATH"] = f"{user.home / 'libs'}:{user.project}:{user.home}"
    user.add(user.project / "grader.py", "SECRET = 7")
    paths = [str(user.project / "grader.py"), str(user.add(user.home / ".ssh" / "id", "private"))]

    said = user.sandboxed(
        backend,
        """
import mine, personal, sys
print(mine.WHERE, personal.WHERE)
for attempt in ("import grader", *(f"open({path!r})" for path in PATHS)):
    try: exec(attempt)
    except (ImportError, OSError): print("refused")
""".replace("PATHS", repr(paths)),
    )

    assert said == {"stdout": "PYTHONPATH user\nrefused\nrefused\nrefused\n", "stderr": ""}


def test_packages_that_an_installer_linked_from_its_cache_can_be_imported(user: User, backend: str) -> None:
    cached = user.home / ".cache" / "uv" / "archive" / "x1"
    for name in ("linked/__init__.py", "linked/data.txt", "linked-1.0.dist-info/METADATA"):
        user.add(cached / name, "")
        (user.packages / name).parent.mkdir(exist_ok=True)
        (user.packages / name).symlink_to(cached / name)

    said = user.sandboxed(
        backend, "import linked, os; print(open(os.path.dirname(linked.__file__) + '/data.txt').read())"
    )

    assert said == {"stdout": "\n", "stderr": ""}


def test_a_suite_that_an_installer_linked_from_its_cache_is_hidden_there_too(user: User, backend: str) -> None:
    cached = user.home / ".cache" / "uv" / "archive" / "x1"
    for name in ("suite/__init__.py", "suite/grader.py", "suite/tasks/__init__.py", "suite/tasks/task.py"):
        user.add(cached / name, "SECRET = 7")
        (user.packages / name).parent.mkdir(exist_ok=True)
        (user.packages / name).symlink_to(cached / name)
    user.add(cached / "suite-1.0.dist-info" / "METADATA", "")
    (user.packages / "suite-1.0.dist-info").mkdir()
    (user.packages / "suite-1.0.dist-info" / "METADATA").symlink_to(cached / "suite-1.0.dist-info" / "METADATA")
    paths = [str(folder / "suite" / "grader.py") for folder in (cached, user.packages)]
    code = f"for path in {paths}:\n    try: print(open(path).read())\n    except OSError: print('hidden')"

    said = user.sandboxed(backend, code, sources=[str(user.packages / "suite" / "tasks" / "task.py")])

    assert said == {"stdout": "hidden\nhidden\n", "stderr": ""}


@pytest.mark.parametrize("place", ["project", "other"])
@pytest.mark.parametrize("cwd", ["project", "."])
def test_a_link_to_sources_shows_none_of_them(user: User, backend: str, place: str, cwd: str) -> None:
    """As ``flit install --symlink`` makes it, or a person."""
    user.add(user.home / place / "pyproject.toml", "")
    grader = user.add(user.home / place / "src" / "suite" / "grader.py", "SECRET = 7")
    (user.packages / "suite").symlink_to(grader.parent)
    (user.packages / "single.py").symlink_to(grader)
    installed = user.add(user.packages / "hidden" / "task.py", "")  # so that what lies beside it is shown one by one

    said = user.sandboxed(
        backend,
        f"""
paths = {str(grader)!r}, {str(user.packages / "single.py")!r}
for attempt in ("import suite.grader", "import single", *(f"open({{path!r}})" for path in paths)):
    try: exec(attempt); print(attempt)
    except (ImportError, OSError): pass
""",
        cwd=cwd,
        sources=[str(installed)],
    )

    assert said == {"stdout": "", "stderr": ""}


def test_a_suite_that_is_installed_as_a_package_is_hidden(user: User, backend: str) -> None:
    task = user.add(user.packages / "suite" / "tasks" / "task.py", "SECRET = 7")
    user.add(user.packages / "suite" / "grader.py", "SECRET = 7")
    code = (
        f"import extra\ntry: print(open({str(task.parent.parent / 'grader.py')!r}).read())\nexcept OSError: print('no')"
    )

    assert user.sandboxed(backend, code, sources=[str(task)])["stdout"] == "no\n"
    assert user.sandboxed(backend, code)["stdout"] == "SECRET = 7\n"


def test_the_message_names_the_folder_that_is_missing_and_does_not_advise_to_do_without(user: User) -> None:
    user.add(user.home / "checkout" / "pyproject.toml", "")
    user.add(user.home / "checkout" / "src" / "pluggy" / "__init__.py", "")
    user.variables["PYTHONPATH"] = str(user.home / "checkout" / "src")

    said = user.sandboxed("auto", "")["stderr"]

    assert (
        f"imports from {user.home / 'checkout' / 'src' / 'pluggy'}: it lies in {user.home / 'checkout'}, which" in said
    )
    assert "none" not in said


def test_pytest_runs_without_the_plugins_that_it_cannot_read(user: User, backend: str) -> None:
    user.add(user.packages / "theirs-1.dist-info" / "entry_points.txt", "[pytest11]\ntheirs = theirs.plugin\n")
    user.add(user.packages / "theirs-1.dist-info" / "METADATA", "Name: theirs\nVersion: 1\n")
    user.add(user.packages / "visible-1.dist-info" / "entry_points.txt", "[pytest11]\nvisible = visible\n")
    user.add(user.packages / "visible-1.dist-info" / "METADATA", "Name: visible\nVersion: 1\n")
    user.add(user.packages / "visible.py", "def pytest_report_header(): return 'a plugin of the environment'")
    user.add(user.project / "theirs" / "plugin.py", "")
    user.add(user.packages / "theirs.pth", str(user.project))

    said = user.sandboxed(
        backend,
        """
import subprocess, sys
open("test_mine.py", "w").write("def test_mine(tmp_path): assert tmp_path.exists()")
print(subprocess.run([sys.executable, "-m", "pytest", "test_mine.py"], capture_output=True, text=True).stdout)
""",
    )

    assert "1 passed" in said["stdout"]
    assert "a plugin of the environment" in said["stdout"]
