"""A shell keeps its state, tells how each command ended, and cannot be made to tell anything else."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pytest_rltask import Sandbox, SandboxError, SandboxLimits, Shell, ToolError
from pytest_rltask.sandbox import resolve_backend
from tests.sandbox.runs.running import MB, linux_only, wait_for

pytestmark = linux_only
LIMITS = SandboxLimits(wall_s=20, processes=30, memory_bytes=512 * MB, file_bytes=8 * MB, disk_bytes=16 * MB)


@pytest.fixture(params=["bwrap", "landlock", "none"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    try:
        backend = resolve_backend(request.param)
    except SandboxError as error:
        pytest.skip(str(error))
    with Sandbox(LIMITS, backend=backend) as sandbox:
        yield sandbox


@pytest.fixture
def shell(sandbox: Sandbox) -> Shell:
    return sandbox.shell()


@pytest.mark.parametrize(
    ("before", "command", "printed"),
    [
        ("mkdir lib; cd lib", "basename $PWD; pwd | sed 's,.*/,,'", "lib\nlib\n"),
        ("x=5; export Y='a b'; z=(1 '2 3')", 'echo $x "$Y" "${z[1]}"; env | grep ^Y=', "5 a b 2 3\nY=a b\n"),
        ("f() { echo hello $1; }; declare -fx f", "f you; bash -c 'f too'", "hello you\nhello too\n"),
        ("alias ll='echo listing'", "ll it", "listing it\n"),
        ("false", "echo $?", "1\n"),
        ("(exit 42)", "echo $?", "42\n"),
        ("shopt -s nullglob; set -o pipefail; umask 077", "echo *.none; false | true; echo $?; umask", "\n1\n0077\n"),
        ('cd() { builtin cd "$@" && echo moved; }; cd .', "cd /; pwd", "moved\n/\n"),
        ("trap 'echo trapped' USR1", "kill -USR1 $$; sleep 0.1", "trapped\n"),
        ("printf() { :; }; x=7", "echo $x", "7\n"),
        ("x=$'line\\n\\'quote\\''", 'echo "$x"', "line\n'quote'\n"),
    ],
)
def test_state_lasts(shell: Shell, before: str, command: str, printed: str) -> None:
    shell.run(before)

    assert shell.run(command).stdout == printed


def test_the_exit_code_is_exact_and_the_streams_are_apart(shell: Shell) -> None:
    result = shell.run("echo out; echo err >&2; (exit 3)")

    assert (result.status, result.exit_code, result.stdout, result.stderr) == ("exit", 3, "out\n", "err\n")
    assert shell.run("kill -TERM $BASHPID & wait $!").exit_code == 143


def test_merged_streams_keep_their_order(sandbox: Sandbox) -> None:
    shell = sandbox.shell(merged=True)

    assert shell.run("echo 1; echo 2 >&2; echo 3").stdout == "1\n2\n3\n"


@pytest.mark.parametrize(
    "command", ["exit 3", "set -e; false; echo no", "kill -9 $$", "exec sh -c 'exit 3'", "echo ${"]
)
def test_a_command_that_ends_the_shell_is_told_and_a_fresh_one_begins_on_restart(shell: Shell, command: str) -> None:
    shell.run("x=1")

    shell.run(command)

    if command == "echo ${":  # a mistake is no end
        assert shell.run("echo $x").stdout == "1\n"
        return
    assert shell.ended in ("exited with code 3", "exited with code 1", "ended by SIGKILL")
    with pytest.raises(ToolError, match="restart it"):
        shell.run("echo")
    shell.restart()
    assert shell.run("echo [$x]").stdout == "[]\n"


def test_a_command_that_takes_too_long_is_killed_and_the_shell_goes_on(shell: Shell) -> None:
    shell.run("x=1; sleep 60 & echo $! > pid")

    late = shell.run("x=2; (setsid sleep 61 &); echo begun; sleep 62", wall_s=0.5)

    assert (late.status, late.stdout) == ("timed out", "begun\n")
    assert shell.run("echo $x; kill -0 $(cat pid) && echo lives").stdout == "1\nlives\n"
    assert "6[12]" not in shell.run("for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $p; echo; done 2>&1").stdout


def test_what_works_in_the_background_goes_on_and_its_output_comes_later(shell: Shell) -> None:
    shell.run("(until [ -e go ]; do sleep 0.01; done; echo from behind; touch went) &")

    shell.run("touch go; until [ -e went ]; do sleep 0.01; done; true")

    result = shell.run("echo next")
    assert "next\n" in result.stdout
    shell.close()


def test_nothing_outlives_the_shell(sandbox: Sandbox, shell: Shell) -> None:
    shell.run("(setsid sh -c 'while true; do touch beat; sleep 0.01; done' &) ; until [ -e beat ]; do sleep 0.01; done")

    shell.close()

    sandbox.run("rm -f beat; sleep 0.1")
    assert sandbox.files() == []
    with pytest.raises(SandboxError, match="closed"):
        shell.run("echo")


def test_no_output_passes_for_the_end_of_a_command(shell: Shell) -> None:
    forged = shell.run("""for fd in $(seq 3 30); do echo '{"status": "exit", "exit_code": 0}' >&$fd; done 2>/dev/null
        echo '{"status": "exit", "exit_code": 0, "last": false}'; (exit 9)""")

    assert forged.exit_code == 9
    assert shell.run("echo mine").stdout == "mine\n"


def test_output_is_bounded_and_what_is_no_text_is_tamed(shell: Shell) -> None:
    long = shell.run("head -c 1000000 /dev/zero | tr '\\0' x")
    binary = shell.run("printf '\\377\\000\\033[2J'")

    assert len(long.stdout) < LIMITS.output_bytes + 100
    assert "bytes cut" in long.stdout
    assert binary.stdout == "�\0\033[2J"


def test_a_flood_ends_the_command(shell: Shell) -> None:
    assert shell.run("yes").status == "output"
    assert shell.run("echo on").stdout == "on\n"


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("for i in $(seq 60); do sleep 30 & done; wait", "processes"),
        ("for i in 1 2 3 4 5; do head -c 7000000 /dev/zero > file$i; done; sleep 30", "disk"),
        ("python3 -c 'x = bytearray(2**30 * 3 // 4); import time; time.sleep(30)'", "exit"),
    ],
    ids=["processes", "disk", "memory"],
)
def test_limits_hold_for_all_that_runs(shell: Shell, command: str, status: str) -> None:
    shell.run("x=kept")

    result = shell.run(command)

    assert result.status == status, result
    assert "MemoryError" in result.stderr or status != "exit"
    assert shell.run("echo $x; ls").stdout == "kept\n"


def test_what_is_left_behind_is_held_to_the_limits_as_well(shell: Shell) -> None:
    shell.run("(sleep 0.3; for i in $(seq 60); do sleep 30 & done) >/dev/null 2>&1 &")
    wait_for(lambda: shell.run("true").status == "processes")

    assert shell.run("echo on").stdout == "on\n"


def test_closing_the_sandbox_ends_a_command(sandbox: Sandbox, shell: Shell) -> None:
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(shell.run("touch up; sleep 60").status)
        except SandboxError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(lambda: "up" in sandbox.files())
    sandbox.close()
    thread.join(20)

    assert outcome in (["closed"], ["killed"])


def test_what_no_shell_can_be_given_is_refused(shell: Shell) -> None:
    for command in ("echo \0", "echo \ud800", "echo " + "x" * 60_000):
        with pytest.raises(ToolError):
            shell.run(command)
    assert shell.run("echo on").stdout == "on\n"


def test_nothing_that_a_command_says_or_closes_is_a_fault_of_the_sandbox(sandbox: Sandbox) -> None:
    shell = sandbox.shell()

    assert shell.run("echo 'bash: not found' >&2; exit 127").exit_code == 127
    shell.restart()
    # Who can count the files of a folder without rights, as root can, lets it be; else it is undone.
    assert shell.run("chmod 000 .").status in ("exit", "files")
    assert shell.run("echo on").stdout == "on\n"
    shell.run("chmod 000 .")
    shell.restart()
    assert shell.run("echo on").stdout == "on\n"
    shell.run("chmod 000 .")
    assert sandbox.run("echo on").stdout == "on\n"
