"""Any program can be run as a script can: with what it is given, under the same limits, with the same words."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from pytest_rltask import Sandbox, SandboxError, SandboxLimits, ToolError
from pytest_rltask.sandbox import resolve_backend
from tests.sandbox.runs.running import MB, linux_only

LIMITS = SandboxLimits(wall_s=20, memory_bytes=512 * MB, file_bytes=8 * MB, disk_bytes=16 * MB, processes=30)


@pytest.fixture(params=["bwrap", "landlock", "none"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    try:
        backend = resolve_backend(request.param)
    except SandboxError as error:
        pytest.skip(str(error))
    with Sandbox(LIMITS, backend=backend) as sandbox:
        yield sandbox


def test_a_line_is_for_the_shell_and_a_list_is_not(sandbox: Sandbox) -> None:
    line = sandbox.run("echo $((1 + 2)) | cat; echo err >&2; exit 4")
    words = sandbox.run(["echo", "$((1 + 2))", "a b"])

    assert (line.status, line.exit_code, line.stdout, line.stderr) == ("exit", 4, "3\n", "err\n")
    assert words.stdout == "$((1 + 2)) a b\n"


@pytest.mark.parametrize(
    "given", ["some text", b"\x00\xff", "", "x" * 1_000_000], ids=["text", "bytes", "none", "long"]
)
def test_the_standard_input_is_what_is_given(sandbox: Sandbox, given: str | bytes) -> None:
    result = sandbox.run([sys.executable, "-c", "import sys; print(len(sys.stdin.buffer.read()))"], stdin=given)

    assert result.stdout == f"{len(given)}\n"


def test_input_that_nobody_reads_hinders_nothing(sandbox: Sandbox) -> None:
    assert sandbox.run("exec <&-; exit 0", stdin="x" * 1_000_000).ok
    assert sandbox.run("cat").stdout == ""


def test_variables_are_added_to_those_of_every_run(sandbox: Sandbox) -> None:
    result = sandbox.run('echo "$GREETING" $LANG; exec env -0', env={"GREETING": "good day", "PATH": "/usr/bin:/bin"})

    assert result.stdout.startswith("good day C.UTF-8\n")
    assert "ANTHROPIC" not in result.stdout


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["no-such-program"], 127, "no-such-program: not found\n"),
        (["./data.txt"], 126, "./data.txt: Permission denied\n"),
        ("no-such-program", 127, "not found"),
    ],
)
def test_what_is_no_program_ends_as_in_a_shell(
    sandbox: Sandbox, command: str | list[str], code: int, said: str
) -> None:
    sandbox.write_file("data.txt", "data")

    result = sandbox.run(command)

    assert (result.status, result.exit_code) == ("exit", code)
    assert said in result.stderr


def test_what_cannot_be_given_to_a_program_is_refused(sandbox: Sandbox) -> None:
    wrong: list[tuple[list[str], dict[str, str]]] = [
        ([], {}),
        (["a\0b"], {}),
        (["\ud800"], {}),
        (["echo", "x" * 2**17], {}),
    ]
    wrong += [(["true"], {"A=B": "1"}), (["true"], {"": "1"}), (["true"], {"A": "\0"})]
    for command, env in wrong:
        with pytest.raises(ToolError):
            sandbox.run(command, env=env)
    assert sandbox.run(["true"]).ok


def test_a_pipe_that_closes_ends_who_writes_to_it_as_anywhere(sandbox: Sandbox) -> None:
    assert sandbox.run("yes | head -n 1; echo ${PIPESTATUS:-done}").stderr == ""
    assert sandbox.run(["bash", "-c", "yes | head -n 1 > /dev/null; echo ${PIPESTATUS[0]}"]).stdout == "141\n"


def test_a_command_longer_than_can_be_asked_for_runs_all_the_same(sandbox: Sandbox) -> None:
    words = ["x" * 1000] * 100

    result = sandbox.run(
        [sys.executable, "-c", "import sys; print(len(sys.argv), sys.stdin.read())", *words], stdin="in"
    )

    assert result.stdout == "101 in\n"


@linux_only
@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("sleep 30", "timed out"),
        ("trap '' TERM INT; while :; do sleep 0.1; done", "timed out"),
        ("yes", "output"),
        ("for i in $(seq 60); do sleep 30 & done; wait", "processes"),
        ("for i in 1 2 3 4 5; do head -c 7000000 /dev/zero > file$i; done; sleep 30", "disk"),
        ("kill -9 $$", "exit"),
    ],
)
def test_its_limits_are_those_of_a_script(sandbox: Sandbox, command: str, status: str) -> None:
    result = sandbox.run(command, wall_s=1.5 if status == "timed out" else None)

    assert result.status == status, result
    assert result.exit_code == (-9 if status == "exit" else None)
    assert sandbox.run("ls").stdout == ""


def test_nothing_outlives_it(sandbox: Sandbox) -> None:
    sandbox.run(
        "(setsid sh -c 'while true; do touch beat; sleep 0.01; done' >&- 2>&- &); until [ -e beat ]; do :; done"
    )

    sandbox.run("rm beat; sleep 0.1")

    assert sandbox.files() == []


def test_what_one_leaves_in_the_folder_is_there_for_the_next(sandbox: Sandbox) -> None:
    sandbox.run("mkdir -p src; printf '#!/bin/sh\\necho hi' > src/hi; chmod +x src/hi; echo x > $TMPDIR/t")

    assert sandbox.run("cat $TMPDIR/t; ls src").stdout == "x\nhi\n"


@pytest.mark.slow
def test_pytest_runs_inside(sandbox: Sandbox) -> None:
    sandbox.write_files(
        {
            "test_it.py": "from lib import f\ndef test_it(): assert f() == 1\ndef test_bad(): assert f() == 2",
            "lib.py": "def f(): return 1",
        }
    )

    result = sandbox.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"])

    assert result.exit_code == 1
    assert "1 failed, 1 passed" in result.stdout
