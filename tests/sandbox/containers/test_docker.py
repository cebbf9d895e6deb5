"""Containers as sandboxes, by a Docker daemon where one answers, and by a stand-in for it where bubblewrap works.

The table of attacks (``tests/sandbox/attacks``) is run with the daemon alone.
"""

from __future__ import annotations

import io
import os
import secrets
import signal
import socket
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from pytest_rltask.sandbox import Sandbox, SandboxError, resolve_backend
from pytest_rltask.sandbox.backends import mounts, roots
from pytest_rltask.sandbox.backends import view as view_module
from tests.sandbox.containers.container import LIMITS, MODULE, put_docker, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the container shares our kernel")


# What a run finds


def test_it_runs_with_our_interpreter_and_packages_alone_in_its_folder(sandbox: Sandbox) -> None:
    said = run(
        sandbox,
        """
        import os, sys, numpy
        open("left", "w").close()
        print(sys.executable, os.getcwd(), os.getuid() != 0, sorted(os.listdir()))
        """,
    )

    assert said == f"{sys.executable} {sandbox.path} True ['left', 'script.py']\n"
    assert sandbox.files() == ["left", "script.py"]


def test_its_environment_is_built_from_nothing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")

    names = run(sandbox, "import os; print(*sorted(os.environ))").split()

    assert "DOCKER_HOST" not in names
    assert "ANTHROPIC_API_KEY" not in names
    assert "HOSTNAME" not in names


def test_output_exit_codes_and_statuses_are_told_as_everywhere(sandbox: Sandbox) -> None:
    sandbox.write_file("fails.py", "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
    sandbox.write_file("killed.py", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    sandbox.write_file("endless.py", "while True: pass")

    failed, killed = sandbox.run_python("fails.py"), sandbox.run_python("killed.py")
    endless = sandbox.run_python("endless.py", wall_s=0.5)

    assert (failed.status, failed.exit_code, failed.stdout, failed.stderr) == ("exit", 7, "out\n", "err\n")
    assert (killed.status, killed.exit_code) == ("exit", -signal.SIGSEGV)
    assert endless.status == "timed out"


def test_a_folder_with_a_long_and_strange_name_will_do(
    docker: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A comma or a quote would end a field of --mount; and a socket's path may have 107 bytes."""
    folder = tmp_path / ('a, "b": c' + "x" * 150)
    folder.mkdir(parents=True)
    for path in (folder, *folder.parents):
        path.chmod(path.stat().st_mode | 0o011)
    monkeypatch.setattr("tempfile.tempdir", str(folder))

    with Sandbox(LIMITS, backend="docker") as sandbox:
        assert run(sandbox, "print(open('script.py').read()[:5])") == "print\n"


def test_preloaded_runs_are_forked_in_the_container(docker: None) -> None:
    with Sandbox(LIMITS, backend="docker", preload=[MODULE]) as sandbox:
        said = {run(sandbox, f"import os, sys; print({MODULE!r} in sys.modules, os.getppid())") for _ in range(3)}

    assert len(said) == 1
    assert said.pop().startswith("True ")


def test_many_descriptors_of_ours_do_not_confuse_those_of_a_run(sandbox: Sandbox) -> None:
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(200)]
    try:
        assert run(sandbox, "import os; print(os.read(0, 1), len(os.listdir('/proc/self/fd')))") == "b'' 4\n"
        low, high = held[0], held[-1]
        for fd in held[1:-1]:
            os.close(fd)
        held = [low, high]
        assert run(sandbox, "print('again')") == "again\n"
    finally:
        for fd in held:
            os.close(fd)


def test_it_reaches_neither_the_watcher_nor_the_network(sandbox: Sandbox) -> None:
    name = f"rltask-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0{name}")  # of what has no path, the network's namespace alone decides
        listener.listen()
        said = run(
            sandbox,
            """
            import os, socket, sys
            def attempt(what):
                try: print("GOT", what())
                except OSError as error: print(type(error).__name__)
            watcher = int(open(f"/proc/{os.getppid()}/status").read().split("PPid:")[1].split()[0])
            for path in ("/rltask", "/run/rltask", "/proc/1/fd", f"/proc/{watcher}/fd", f"/proc/{os.getppid()}/fd"):
                attempt(lambda: os.listdir(path))
            for path in ("/proc/1/environ", "/proc/1/mem", "/rltask/pytest_rltask/sandbox/backends/container.py"):
                attempt(lambda: open(path, "rb").read(1))
            attempt(lambda: os.kill(1, 9))
            attempt(lambda: os.kill(watcher, 9))
            attempt(lambda: socket.socket(socket.AF_UNIX).connect("\\0" + sys.argv[1]))
            """,
            name,
        )

    *refused, network = said.split()
    assert set(refused) == {"PermissionError"}
    assert network == "ConnectionRefusedError"


def test_temporary_folders_can_be_written_to(sandbox: Sandbox) -> None:
    said = run(
        sandbox,
        """
        import multiprocessing
        for folder in ("/tmp", "/dev/shm"):
            with open(f"{folder}/mine", "w") as file:
                file.write("x")
        multiprocessing.Lock().acquire()
        print("done")
        """,
    )

    assert said == "done\n"


def test_what_is_mounted_below_the_packages_is_read_only_too(monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_module.View(
        python="/opt/env/bin/python", readable=("/usr/lib", "/opt/env"), hidden=("/opt/env/lib/ours",), aliases=()
    )
    points = {"/", "/usr", "/usr/lib", "/usr/lib/a volume", "/opt/env/lib/ours/volume", "/opt/environment"}
    monkeypatch.setattr(mounts, "_mount_points", lambda: points)

    read_only = [word for word in mounts.of_view(view) if word.startswith("type=bind")]

    assert [word.split(",")[1] for word in read_only] == [
        "source=/usr/lib",
        "source=/opt/env",
        "source=/usr/lib/a volume",
    ]
    assert all(word.endswith(",readonly") for word in read_only)


def test_mount_points_are_read_whatever_their_names(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount")
    folder = tmp_path / "a b\\c"
    folder.mkdir()
    code = "from pytest_rltask.sandbox.backends import mounts; import sys; print(sys.argv[1] in mounts._mount_points())"
    script = 'mount -t tmpfs none "$1" && exec "$0" -c "$2" "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, sys.executable, str(folder), code]

    seen = subprocess.run(command, capture_output=True, text=True, check=False)

    if "mount" in seen.stderr or "unshare" in seen.stderr:
        pytest.skip(seen.stderr)
    assert seen.stdout == "True\n"


# The image


def test_the_image_is_named_by_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    view = view_module.view_of_python()
    first, second = roots._content(view), roots._content(view)
    programs = dict(list(roots._programs().items())[1:])
    monkeypatch.setattr(roots, "_programs", lambda: programs)

    assert first == second
    assert first != roots._content(view)
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        files = {entry.name: entry.mode for entry in tar if entry.isfile()}
        folders = {entry.mode for entry in tar if entry.isdir()}
    assert all(name.startswith("rltask/pytest_rltask/") for name in files)
    assert (set(files.values()), folders) == ({0o600}, {0o700, 0o1777})


# What cannot isolate


def refusal() -> str:
    with pytest.raises(SandboxError) as caught:
        resolve_backend("docker")
    return str(caught.value)


def test_without_docker_it_is_refused(fresh: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/missing")

    assert refusal() == (
        "no isolation works here (docker: docker is not installed); write --sandbox auto, for the first that works"
    )


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (
            "import sys; sys.exit('Cannot connect.\\n\\nRun \\'docker info --help\\' for more information')",
            "Cannot connect.",
        ),
        ("print()", "says '' when asked"),
        ("print('windows []')", "says 'windows' when asked"),
        ("print('linux [name=seccomp,profile=default name=rootless]')", "maps users"),
    ],
)
def test_a_daemon_that_cannot_isolate_is_refused(
    program: str, told: str, fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_docker(tmp_path / "bin", monkeypatch, program)

    assert f"(docker: {told}" in refusal().replace("its daemon ", "")


def test_a_daemon_on_another_machine_is_refused(fresh: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its containers start, but nothing in them reaches our socket."""
    answers = {"info": "linux []", "images": "1234", "run": "5678", "inspect": "false", "rm": ""}
    put_docker(tmp_path / "bin", monkeypatch, f"import sys; print({answers!r}[sys.argv[1]])")

    assert "its container does not reach us: the daemon must run on this machine" in refusal()
