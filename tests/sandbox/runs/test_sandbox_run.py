"""Runs of honest and of hostile scripts: what they get, and what they do not."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pytest_rltask.sandbox import Sandbox
from pytest_rltask.tools import ToolError
from tests.sandbox.runs.running import Run, linux_only

# What an honest script gets


def test_it_returns_the_exit_code_and_both_streams(run: Run) -> None:
    result = run("import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)")

    assert (result.status, result.exit_code, result.stdout, result.stderr) == ("exit", 3, "out\n", "err\n")
    assert not result.ok


def test_it_passes_arguments(run: Run) -> None:
    result = run("import sys; print(sys.argv)", "--epochs", "3")

    assert result.ok
    assert result.stdout == "['script.py', '--epochs', '3']\n"


def test_a_script_imports_the_modules_next_to_it_and_works_in_the_working_directory(sandbox: Sandbox) -> None:
    sandbox.write_file("models/net.py", "import helper; open('seen.txt', 'w').write(helper.WORD)")
    sandbox.write_file("models/helper.py", "WORD = 'hidden layer'")

    result = sandbox.run_python("models/net.py")

    assert result.ok, result.stderr
    assert sandbox.read_file("seen.txt", max_bytes=100) == b"hidden layer"


@pytest.mark.parametrize("name", ["-c.py", "--help", "./a//b.py", "naïve ✓.py"])
def test_a_script_may_have_any_name(sandbox: Sandbox, name: str) -> None:
    sandbox.write_file(name, "print('it ran')")

    assert sandbox.run_python(name).stdout == "it ran\n"


def test_a_traceback_shows_the_script_only(run: Run) -> None:
    result = run("def f():\n    1 / 0\nf()")

    assert result.exit_code == 1
    assert result.stderr.count("File ") == 2
    assert result.stderr.count("script.py") == 2


def test_the_interpreter_is_ours_and_so_are_its_packages(run: Run) -> None:
    result = run("import sys, pytest; print(sys.prefix, pytest.__version__)")

    assert result.stdout.split() == [sys.prefix, pytest.__version__]


def test_many_runs_at_once_do_not_disturb_each_other(run: Run) -> None:
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda i: run("import sys; print(sys.argv[1])", str(i)), range(12)))

    assert [result.stdout for result in results] == [f"{i}\n" for i in range(12)]


# What it does not get


def test_its_environment_is_built_from_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary-1")
    monkeypatch.setenv("PYTHONPATH", "/canary-2")

    result = run("import json, os; print(json.dumps(dict(os.environ)))")

    environment = json.loads(result.stdout)
    assert "canary" not in result.stdout
    assert environment.pop("PYTHONPATH", "/rltask-").count("/rltask-") == 1  # a folder of ours, where there is one
    assert environment.keys() <= {
        *("PATH", "HOME", "USER", "TMPDIR", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
        *("OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "PYTHONUTF8", "PYTHONIOENCODING", "PYTHONHASHSEED"),
        *("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED", "PYTHONNOUSERSITE", "PYTEST_ADDOPTS"),
        "LOKY_MAX_CPU_COUNT",
        "__CF_USER_TEXT_ENCODING",
    }


@linux_only
def test_its_watcher_holds_no_secret_either(bare_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "canary")

    result = bare_run("""
        import os
        watcher = open(f"/proc/{os.getppid()}/status").read().split("PPid:")[1].split()[0]
        print(open(f"/proc/{watcher}/environ").read(), open(f"/proc/{watcher}/cmdline").read())
    """)

    assert "watcher/launcher.py" in result.stdout
    assert "canary" not in result.stdout


def test_temporary_files_do_not_litter_the_working_directory(sandbox: Sandbox) -> None:
    sandbox.write_file("script.py", "import tempfile, os; print(tempfile.mkstemp()[1], os.path.expanduser('~'))")

    temporary, home = sandbox.run_python("script.py").stdout.split()

    assert sandbox.files() == ["script.py"]
    assert Path(temporary).is_relative_to(sandbox.path.parent)
    assert Path(home).is_relative_to(sandbox.path.parent)


def test_standard_input_is_at_its_end(run: Run) -> None:
    assert run("import sys; print(repr(sys.stdin.read()))").stdout == "''\n"


def test_no_other_file_descriptor_reaches_it(run: Run, tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w") as secret:
        os.set_inheritable(secret.fileno(), True)

        result = run("""
            import os
            def is_open(fd):
                try: return bool(os.fstat(fd))
                except OSError: return False
            print([fd for fd in range(256) if is_open(fd)])
        """)

    assert result.stdout == "[0, 1, 2]\n"


def test_it_leads_its_own_session_and_yields_the_cpu_to_us(bare_run: Run) -> None:
    result = bare_run("import os; print(os.getsid(0) == os.getpid(), os.nice(0))")

    leads, niceness = result.stdout.split()
    assert leads == "True"
    assert int(niceness) > os.nice(0) or os.nice(0) == 19


@pytest.mark.parametrize("argument", ["a\0b", "\ud800"])
def test_an_argument_that_cannot_be_passed_is_refused(run: Run, argument: str) -> None:
    with pytest.raises(ToolError, match="argument"):
        run("", argument)


@pytest.mark.parametrize("name", ["missing.py", "folder", "link.py", "../script.py", "/etc/hostname", ""])
def test_only_a_plain_file_of_the_working_directory_is_run(sandbox: Sandbox, name: str) -> None:
    sandbox.write_file("folder/a.py", "")
    (sandbox.path / "link.py").symlink_to("folder/a.py")

    with pytest.raises(ToolError):
        sandbox.run_python(name)
