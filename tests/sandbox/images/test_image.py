"""An image is what the agent sees: its programs, its Python, its variables, and nothing of this machine's."""

from __future__ import annotations

import os
import sys

import pytest

from pytest_rltask import DefinitionError, Sandbox, isolated_grade
from pytest_rltask.sandbox import using_backend
from tests.sandbox.containers.container import LIMITS
from tests.sandbox.images.conftest import NAMES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the container shares our kernel")


def test_its_programs_run_in_the_working_directory_as_an_ordinary_user(shell_box: Sandbox) -> None:
    shell_box.write_file("in/given.txt", "loud")

    result = shell_box.run("only-here; tr a-z A-Z < in/given.txt > out; pwd; id -u; echo $TASK_HOME $USER $HOME")

    said, place, user, variables = result.stdout.splitlines()
    assert (said, place) == ("only here", str(shell_box.path))
    assert int(user) == os.getuid() or (int(user) > 65535 and os.getuid() == 0)
    assert variables == f"/opt/tool agent {shell_box.path.parent}/tmp"
    assert shell_box.read_file("out", max_bytes=99) == b"LOUD"
    assert shell_box.run(["only-here"]).stdout == "only here\n"
    assert shell_box.run(["missing"]).exit_code == 127


def test_nothing_of_this_machine_is_seen_and_nothing_of_ours_can_be_entered(shell_box: Sandbox) -> None:
    result = shell_box.run(f"ls /; ls {sys.prefix}; ls /rltask; ls /rltask/python; cat /rltask/loader; ls /run/rltask")

    seen = {"usr", "opt", "etc", "data", "tmp", "proc", "dev", "sys", "rltask", "run"}
    assert set(result.stdout.split()) <= seen | {"lib", "lib64", "bin", ".dockerenv", "socket"}
    assert result.stderr.count("Permission denied") >= 3, result.stderr
    assert "No such file" in result.stderr
    assert shell_box.run("ls -ld /rltask").stdout.startswith("d---------"), "the agent may be the user that owns it"


def test_runs_are_forked_from_an_interpreter_in_there(shell_box: Sandbox) -> None:
    """It has imported all that it needs before it lost the right to read our modules."""
    parents = {shell_box.run("echo $PPID").stdout for _ in range(2)}

    assert len(parents) == 1


def test_its_files_and_volumes_are_read_only(shell_box: Sandbox) -> None:
    """What it declares as a volume would be written to without being counted, however many files that takes."""
    for folder in ("/", "/usr/bin", "/opt/tool", "/data", "/dev/mqueue"):
        assert not shell_box.run(f"touch {folder}/new").ok, folder
    assert shell_box.run("touch /tmp/new").ok


def test_its_users_are_known_beside_the_agent(shell_box: Sandbox) -> None:
    first, *others = shell_box.run("cat /etc/passwd").stdout.splitlines()

    assert first.startswith("agent:x:")
    assert [line.partition(":")[0] for line in others] == ["root", "postgres"]


def test_a_shell_keeps_its_state_there(shell_box: Sandbox) -> None:
    with shell_box.shell() as shell:
        shell.run("cd /opt/tool; greet() { ./only-here; }")

        assert shell.run("greet").stdout == "only here\n"


def test_a_command_too_long_for_a_message_runs_as_well(shell_box: Sandbox) -> None:
    result = shell_box.run(["sh", "-c", "echo $#; only-here", "sh", "x" * 100_000])

    assert result.stdout == "1\nonly here\n", result


def test_scripts_run_by_its_own_python(python_box: Sandbox) -> None:
    python_box.write_file("script.py", "import only_here, sys; print(only_here.NAME, sys.executable, sys.argv[1])")

    result = python_box.run_python("script.py", "argument")

    assert result.stdout == "a package of the image /opt/python/bin/python3 argument\n", result
    assert python_box.python == "/opt/python/bin/python3"


@pytest.mark.slow
def test_its_modules_can_be_preloaded(docker: None) -> None:
    with Sandbox(LIMITS, backend="docker", image=NAMES["python"], preload=["only_here"]) as sandbox:
        sandbox.write_file("script.py", "import sys; print('only_here' in sys.modules)")

        assert sandbox.run_python("script.py").stdout == "True\n"


@pytest.mark.slow
def test_code_is_graded_there_and_the_tests_run_with_our_pytest(python_box: Sandbox) -> None:
    python_box.write_file("solution.py", "import only_here\ndef name(): return only_here.NAME")
    tests = """
        import agent_code, solution
        def test_package(): assert solution.name() == "a package of the image"
        def test_program(): assert agent_code.run(["only-here"])[1] == "only here\\n"
        def test_wrong(): assert solution.name() == "another"
    """.replace("\n        ", "\n")

    grade = isolated_grade(python_box, {"test_solution.py": tests})

    assert (grade.passed, len(grade.tests)) == (2, 3), grade.code


def test_code_without_a_python_is_graded_by_a_command_of_the_image(shell_box: Sandbox) -> None:
    shell_box.write_file("answer", "41")

    grade = isolated_grade(shell_box, {"check": '[ "$(cat answer)" = 42 ]'}, ["sh", "check"], together=True)

    assert (grade.ok, grade.exit_code) == (False, 1)


def test_what_needs_a_python_is_refused_where_the_image_has_none(shell_box: Sandbox) -> None:
    shell_box.write_file("script.py", "")
    has = "needs a Python, and the image rltask-test-shell:1 has no python3 on its PATH; take an image that has it, or"

    with pytest.raises(DefinitionError, match=f"Sandbox.run_python {has} run the programs that it has"):
        shell_box.run_python("script.py")
    with pytest.raises(DefinitionError, match=f"isolated_grade {has}"):
        isolated_grade(shell_box, {"test_it.py": "def test_it(): pass"})
    with pytest.raises(DefinitionError, match="without a command needs a Python"):
        isolated_grade(shell_box, {"test_it.py": "def test_it(): pass"}, together=True)
    with pytest.raises(DefinitionError, match="preload"):
        Sandbox(backend="docker", image=NAMES["shell"], preload=["json"])


def test_a_run_knows_which_images_its_sandboxes_had(docker: None) -> None:
    with using_backend("docker") as choice, Sandbox(image=NAMES["shell"]) as sandbox:
        assert sandbox.backend == "docker"

    (image,) = choice.images.items()
    assert image[0] == NAMES["shell"]
    assert image[1].startswith("sha256:")
