"""The agent's interpreter may be another than pytest's: then its packages are those, and nobody can change them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_rltask import DefinitionError, Sandbox
from pytest_rltask.sandbox import SandboxError, resolve_backend
from pytest_rltask.sandbox.backends.view import view_of_python
from pytest_rltask.sandbox.choice import using_backend


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with a package of its own, made as an author makes one."""
    folder = tmp_path_factory.mktemp("other") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (store,) = folder.glob("lib/python3*/site-packages")
    (store / "only_here.py").write_text("NAME = 'only here'")
    return folder


@pytest.fixture(params=["bwrap", "landlock", "none"])
def sandbox(request: pytest.FixtureRequest, env: Path) -> Iterator[Sandbox]:
    try:
        backend = resolve_backend(request.param)
    except SandboxError as error:
        pytest.skip(str(error))
    with Sandbox(backend=backend, python=env) as sandbox:
        yield sandbox


def test_its_packages_are_seen_instead_of_pytests(sandbox: Sandbox, env: Path) -> None:
    sandbox.write_file("script.py", "import only_here, sys; print(only_here.NAME, sys.prefix)")

    assert sandbox.run_python("script.py").stdout == f"only here {env}\n"
    assert sandbox.run("python -c 'import sys; print(sys.executable)'").stdout == f"{env}/bin/python\n"
    assert sandbox.run("python -c 'import pytest'").exit_code == 1
    assert sandbox.shell().run("python -c 'import only_here; print(only_here.NAME)'").stdout == "only here\n"


def test_it_cannot_be_changed(sandbox: Sandbox, env: Path) -> None:
    if sandbox.backend == "none":
        pytest.skip("without isolation it can")
    (module,) = env.glob("lib/python3*/site-packages/only_here.py")

    assert not sandbox.run(f"echo >> {module}").ok
    assert not sandbox.run(f"touch {env}/bin/new").ok
    if Path(sys.prefix) != Path(sys.base_prefix):
        assert not sandbox.run(f"ls {sys.prefix}/lib").ok, "pytest's own environment is not seen"


@pytest.mark.parametrize("backend", ["bwrap", "landlock"])
def test_a_second_copy_of_the_suite_in_it_is_hidden(backend: str, env: Path, tmp_path: Path) -> None:
    try:
        resolve_backend(backend)
    except SandboxError as error:
        pytest.skip(str(error))
    (store,) = env.glob("lib/python3*/site-packages")
    task, copy = tmp_path / "src/some_suite/deep/task.py", store / "some_suite/deep/task.py"
    for file in (task, copy):
        file.parent.mkdir(parents=True)
        file.write_text("ANSWER = 42")
    try:
        with using_backend(backend, sources=[str(task)]), Sandbox(python=env) as sandbox:
            assert not sandbox.run(f"cat {copy}").ok
            assert sandbox.run("python -c 'import only_here'").ok
        view = view_of_python(env)
        assert view.shows(str(copy)), "nobody else's suite is hidden"
    finally:
        shutil.rmtree(store / "some_suite")


def test_a_task_that_is_installed_as_a_module_is_refused(env: Path, tmp_path: Path) -> None:
    (store,) = env.glob("lib/python3*/site-packages")
    for folder in (tmp_path, store):
        (folder / "some_task.py").write_text("ANSWER = 42")
    try:
        with (
            using_backend("none", sources=[str(tmp_path / "some_task.py")]),
            pytest.raises(DefinitionError, match="installed where agents read packages, with its grader; uninstall it"),
        ):
            Sandbox(python=env)
    finally:
        (store / "some_task.py").unlink()


def test_modules_of_it_can_be_preloaded(env: Path) -> None:
    with Sandbox(python=env / "bin" / "python", preload=["only_here"]) as sandbox:
        sandbox.write_file("script.py", "import sys; print('only_here' in sys.modules)")

        assert sandbox.run_python("script.py").stdout == "True\n"


def test_the_one_of_pytest_is_the_usual_one() -> None:
    with Sandbox(python=sys.prefix) as sandbox:
        assert sandbox.run("python -c 'import pytest'").ok


def others() -> list[str]:
    names = {f"3.{minor}" for minor in range(10, 16)} - {f"3.{sys.version_info.minor}"}
    found = [str(path) for path in Path(sys.base_prefix).parent.glob("3.*/bin/python3")]
    found += [path for name in sorted(names) if (path := shutil.which(f"python{name}"))]
    return [path for path in found if any(f"/{name}." in path or path.endswith(name) for name in names)]


@pytest.mark.slow
def test_one_of_another_version_works() -> None:
    usable = [path for path in others() if subprocess.run([path, "-c", ""], capture_output=True).returncode == 0]
    if not usable:
        pytest.skip("no other Python is installed")
    for path in usable:
        version = subprocess.run([path, "-V"], capture_output=True, text=True, check=True).stdout
        with Sandbox(python=path) as sandbox:
            assert sandbox.run("python3 -V").stdout == version
            assert sandbox.shell().run("python3 -V").stdout == version


def old_python(folder: Path) -> Path:
    answer = '{"version": [3, 9], "import_path": ["/x"], "prefixes": ["/x"], "paths": []}'
    path = folder / "python"
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def no_python(folder: Path) -> Path:
    path = folder / "python"
    path.write_text("#!/bin/sh\necho hello\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "missing", r"missing does not exist; make an environment by .uv venv tasks/env."),
        (lambda folder: folder, "is a folder without bin/python"),
        (lambda folder: Path(__file__), "is no program"),
        (no_python, "does not answer as a Python does"),
        (old_python, "is Python 3.9; 3.10 is the oldest that works"),
    ],
    ids=["missing", "a folder", "a file", "another program", "too old"],
)
def test_what_is_none_is_told_with_what_to_write(tmp_path: Path, make: object, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        Sandbox(python=make(tmp_path))  # type: ignore[operator]


FOUND = """
import shutil, subprocess, sys
said = [subprocess.check_output([shutil.which(name), "-c", "import sys; print(sys.prefix)"], text=True) for name in
        ("python", "python3")]
print(set(said) == {sys.prefix + "\\n"})
"""


def test_the_python_that_is_looked_for_is_the_one_that_runs(sandbox: Sandbox) -> None:
    # Also in a folder that is closed to the agent's user, such as /root.
    sandbox.write_file("script.py", FOUND)

    assert sandbox.run_python("script.py").stdout == "True\n"
    assert sandbox.run(["bash", "-c", "type -P python3 >/dev/null && python3 script.py"]).stdout == "True\n"
    assert sandbox.shell().run("python3 script.py").stdout == "True\n"
